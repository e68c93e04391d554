//! Names of generated objects and containers.

use crate::limits;

/// Deployment, ServiceAccount, Role and RoleBinding of a Runtime.
#[must_use]
pub fn runtime_object(runtime: &str) -> String {
    format!("runtime-{runtime}")
}

/// The Runtime Server's container.
pub const RUNTIME_CONTAINER: &str = "runtime";
/// The sidecar's container.
pub const RUNTIMED_CONTAINER: &str = "runtimed";
/// Default image of the sidecar.
pub const RUNTIMED_IMAGE: &str = "kruntimes-runtimed:latest";
/// Volume mounted in both containers, and where.
pub const WORKSPACE_VOLUME: &str = "workspace";
/// Path of the workspace volume.
pub const WORKSPACE_PATH: &str = "/workspace";
/// Volume with the journal and the control token.
pub const CONTROL_VOLUME: &str = "kruntimes-control";
/// Path of the control volume.
pub const CONTROL_PATH: &str = "/var/run/kruntimes";
/// Where runtimed has the Secrets and ConfigMaps that its Runs may use: `secrets/<name>`, `configmaps/<name>`.
pub const SOURCES_PATH: &str = "/etc/kruntimes";

/// Whether a Secret or ConfigMap can have this name, so that it may be a part of a path.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    (1..=limits::OBJECT_NAME_CHARS as usize).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        && !name.starts_with('.')
}

/// Whether a Secret or ConfigMap can have this key, so that it may be a file name.
#[must_use]
pub fn is_object_key(key: &str) -> bool {
    (1..=limits::OBJECT_NAME_CHARS as usize).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && key != "."
        && !key.starts_with("..")
}

/// Default port of a Runtime Server.
pub const RUNTIME_PORT: i32 = 9091;
/// runtimed's gRPC port.
pub const STATUS_PORT: u16 = 9093;
/// runtimed's health port.
pub const HEALTH_PORT: u16 = 9094;

/// Lease of the controllers' leader. The domain is the public API's.
pub const CONTROLLER_LEASE: &str = "kruntimes-controller.kruntimes.com";
/// Lease of the schedulers' leader.
pub const SCHEDULER_LEASE: &str = "kruntimes-scheduler.kruntimes.com";

//! Names of generated objects and containers.

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
/// Default port of a Runtime Server.
pub const RUNTIME_PORT: i32 = 9091;
/// runtimed's gRPC port.
pub const STATUS_PORT: u16 = 9093;
/// runtimed's health port.
pub const HEALTH_PORT: u16 = 9094;

//! Names of generated objects and containers.

use crate::limits;
use std::path::{Path, PathBuf};

/// Deployment, ServiceAccount, Role, RoleBinding and NetworkPolicy of a Runtime.
#[must_use]
pub fn runtime_object(runtime: &str) -> String {
    format!("runtime-{runtime}")
}

/// The Runtime Server's container.
pub const RUNTIME_CONTAINER: &str = "runtime";
/// The sidecar's container.
pub const RUNTIMED_CONTAINER: &str = "runtimed";
/// Image that holds every role: the default of the sidecar. Its entrypoint is `krt`.
pub const ROLES_IMAGE: &str = concat!("ghcr.io/kruntimes/kruntimes:", env!("CARGO_PKG_VERSION"));
/// The user and the group of a pod whose template names none: those of the images. Both containers need the same, for
/// the control token is readable by its owner alone.
pub const POD_USER: i64 = 65_532;
/// Volume mounted in both containers, and where.
pub const WORKSPACE_VOLUME: &str = "workspace";
/// Path of the workspace volume.
pub const WORKSPACE_PATH: &str = "/workspace";
/// Prefix of the volumes that the controller adds: a template has none with it.
pub const VOLUME_PREFIX: &str = "kruntimes-";
/// Volume with the artifact store.
pub const ARTIFACTS_VOLUME: &str = "artifact-store";
/// Where the volume of an artifact store is mounted, in runtimed and the maintainer alone.
pub const ARTIFACTS_PATH: &str = "/var/lib/kruntimes/artifacts";
/// What stands for a PersistentVolumeClaim in a local home.
#[must_use]
pub fn local_volume(home: &Path, namespace: &str, claim: &str) -> PathBuf {
    home.join(LOCAL_VOLUMES).join(namespace).join(claim)
}

/// Directory of a local home with what stands for volumes.
pub const LOCAL_VOLUMES: &str = "volumes";
/// Secret that says where the maintainer of a local home gives out what is kept: `address` and `token`.
pub const LOCAL_DOOR: &str = "kruntimes-maintainer";
/// Its namespace.
pub const LOCAL_DOOR_NAMESPACE: &str = "default";
/// Volume with the control token: runtimed writes it, the Runtime Server reads it.
pub const CONTROL_VOLUME: &str = "kruntimes-control";
/// Path of the control volume.
pub const CONTROL_PATH: &str = "/var/run/kruntimes";
/// Volume with the journal and the logs, which runtimed alone mounts.
pub const STATE_VOLUME: &str = "kruntimes-state";
/// Path of the state volume.
pub const STATE_PATH: &str = "/var/lib/kruntimes/state";
/// Volume with the pod's service-account token, which runtimed alone mounts.
pub const TOKEN_VOLUME: &str = "kruntimes-api-access";
/// Path of the token volume: where clients inside a cluster look.
pub const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// ConfigMap with the API server's certificate authority, which every namespace has.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// Volume with the credentials of a bucket, which runtimed and the maintainer alone mount.
pub const CREDENTIALS_VOLUME: &str = "kruntimes-artifact-credentials";
/// Directory below [`SOURCES_PATH`] with the credentials of a bucket: `<Secret>/<key>`.
pub const CREDENTIALS_DIRECTORY: &str = "artifact-credentials";
/// Where the credentials of a bucket are mounted that this Secret has.
#[must_use]
pub fn credentials_path(secret: &str) -> String {
    format!("{SOURCES_PATH}/{CREDENTIALS_DIRECTORY}/{secret}")
}

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
/// runtimed's port for metrics.
pub const METRICS_PORT: u16 = 9090;
/// runtimed's gRPC port.
pub const STATUS_PORT: u16 = 9093;
/// runtimed's health port.
pub const HEALTH_PORT: u16 = 9094;

/// The scheduler, as its Events name it.
pub const SCHEDULER: &str = "kruntimes-scheduler";
/// The controller, as its Events name it.
pub const CONTROLLER: &str = "kruntimes-controller";

/// Lease of the controllers' leader. The domain is the public API's.
pub const CONTROLLER_LEASE: &str = "kruntimes-controller.kruntimes.com";
/// Lease of the schedulers' leader.
pub const SCHEDULER_LEASE: &str = "kruntimes-scheduler.kruntimes.com";

/// Variable by which a Runtime Server of ours is told `spec.isolation` of its Runtime.
pub const ISOLATION_VARIABLE: &str = "KRUNTIMES_ISOLATION";

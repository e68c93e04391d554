//! Labels, annotations and other fixed keys.

/// Pod label with the name of the Runtime.
pub const RUNTIME: &str = "runtime";
/// Pod label `kruntimes-<runtime>`.
pub const APP: &str = "app";
/// Prefix of [`APP`]'s value.
pub const APP_PREFIX: &str = "kruntimes-";
/// Prefix of the pod annotations that carry capacity: `kruntimes.io/capacity.runs`.
pub const CAPACITY_PREFIX: &str = "kruntimes.io/capacity.";
/// Pod annotation with the number of Runs that the pod takes at once.
pub const CAPACITY_RUNS: &str = "kruntimes.io/capacity.runs";
/// The built-in resource of `spec.capacity.resources`.
pub const RUNS_RESOURCE: &str = "runs";
/// Run annotation: the client's time of submission (RFC 3339, microseconds). Shown, never trusted.
pub const SUBMITTED_AT: &str = "kruntimes.io/submitted-at";
/// Pod annotation: the token for runtimed's port 9093.
pub const CONTROL_TOKEN: &str = "kruntimes.io/control-token";
/// Annotation of a pod: how its Runtime Server keeps Runs apart, in the words of the gRPC metadata `kruntimes-isolation`.
pub const ISOLATION: &str = "kruntimes.io/isolation";
/// Pod annotation of the local home: a JSON array, the command of the `runtime` container.
pub const LOCAL_COMMAND: &str = "kruntimes.io/local-command";
/// Prefix of every reserved annotation and label.
pub const RESERVED_PREFIX: &str = "kruntimes.io/";
/// Annotation of what the controller makes: a hash of what it wanted when it last wrote the object.
pub const SPEC_HASH: &str = "kruntimes.io/spec-hash";
/// Label of a pod's Lease that the controller broke: the pod took too long to renew it.
pub const BROKEN: &str = "kruntimes.io/broken";
/// Label of what the controller makes: `kruntimes`.
pub const NAME: &str = "app.kubernetes.io/name";
/// Its value on all that is made here.
pub const PRODUCT: &str = "kruntimes";
/// Label of what the controller makes: `runtimed`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Finalizer of a Run with artifacts: they go first.
pub const ARTIFACT_FINALIZER: &str = "kruntimes.io/artifact-cleanup";
/// Label of a Run with artifacts: which store has them.
pub const ARTIFACT_STORE_HASH: &str = "kruntimes.io/artifact-store-hash";

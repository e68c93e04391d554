//! Where a Runtime keeps artifacts, and the references to them in the status of a Run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where artifacts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactDriver {
    /// On a volume.
    Filesystem,
    /// In a bucket. Not served yet.
    S3,
}

/// Where artifacts are kept: the block of the driver, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStore {
    /// filesystem: on a PersistentVolumeClaim; in a local home, a directory of it. s3 is not served yet.
    pub driver: ArtifactDriver,
    /// Settings of the driver filesystem, which needs them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemStore>,
}

/// A volume for artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemStore {
    /// Name of a PersistentVolumeClaim of this namespace. A local home needs none: the name is that of a directory, which
    /// Runtimes of the namespace share that name it. Example: `artifacts`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub volume_claim_name: String,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactType {
    /// A file, as it was.
    File,
    /// A directory, kept as one tar.gz.
    Directory,
    /// An archive that was one before.
    Archive,
    /// Bytes without a name of their own.
    Blob,
}

impl ArtifactType {
    /// The type as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Archive => "archive",
            Self::Blob => "blob",
        }
    }
}

/// One artifact that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactRef {
    /// Its name in `$KRUNTIME_ARTIFACTS_DIR`.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Driver of the store that has it.
    pub driver: ArtifactDriver,
    /// file: as it was. directory: one tar.gz of it.
    #[serde(rename = "type")]
    pub kind: ArtifactType,
    /// Where in the store.
    pub location: ArtifactLocation,
    /// Bytes that are kept.
    #[schemars(range(min = 0))]
    pub size_bytes: i64,
    /// SHA-256 of these bytes: `sha256:` and hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub digest: Option<String>,
    /// Media type, by the ending of the name or the first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub content_type: Option<String>,
    /// When it was kept.
    pub created_at: Time,
}

/// Where in a store: the block of its driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactLocation {
    /// On a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemLocation>,
}

/// A place on a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemLocation {
    /// Path below the root of the volume.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// The PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub volume_claim_name: Option<String>,
}

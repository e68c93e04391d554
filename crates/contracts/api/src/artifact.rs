//! Where a Runtime keeps artifacts, and the references to them in the status of a Run.

use crate::limits;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where artifacts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactDriver {
    /// On a volume.
    Filesystem,
    /// In a bucket.
    S3,
}

/// Where artifacts are kept: the block of the driver, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStore {
    /// filesystem: on a PersistentVolumeClaim; in a local home, a directory of it. s3: in a bucket of S3, or of what speaks
    /// its protocol.
    pub driver: ArtifactDriver,
    /// Settings of the driver filesystem, which needs them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemStore>,
    /// Settings of the driver s3, which needs them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<Box<S3Store>>,
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

/// A bucket for artifacts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Store {
    /// Name of a bucket that exists.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub bucket: String,
    /// What the keys of all artifacts begin with, followed by `/`. Example: `ci/artifacts`. Default: nothing.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[schemars(
        length(max = "limits::S3_PREFIX_CHARS"),
        regex(pattern = r"^([A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*)?$")
    )]
    pub prefix: Option<String>,
    /// Region of the bucket. Default: us-east-1.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[schemars(length(max = 128), regex(pattern = r"^[a-z0-9-]*$"))]
    pub region: Option<String>,
    /// Where the protocol is spoken: scheme, host and port. Default: that of AWS in the region. Example:
    /// `https://minio.example:9000`.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[schemars(length(max = 2048), regex(pattern = r"^(https?://[A-Za-z0-9.\[\]:_-]+/?)?$"))]
    pub endpoint: Option<String>,
    /// Whether the bucket is the first part of the path instead of the host's name: what most servers other than AWS need.
    /// Default: false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force_path_style: Option<bool>,
    /// Secret of this namespace with the keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there is one,
    /// AWS_SESSION_TOKEN. Default: none; what the environment of the pods has counts, such as the web identity of their
    /// ServiceAccount.
    #[serde(default, skip_serializing_if = "is_empty")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub credentials_secret_name: Option<String>,
    /// Bytes of the parts in which a larger artifact is uploaded. Default: 5242880.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = "limits::S3_PART_BYTES_MIN", max = "limits::S3_PART_BYTES_MAX"))]
    pub upload_part_size: Option<i64>,
    /// Parts of one artifact that are uploaded at once. A pod holds at most 32 MiB of parts in memory, whatever stands here.
    /// Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::S3_CONCURRENCY_MAX"))]
    pub upload_concurrency: Option<i32>,
}

/// Absent and empty are the same store, which has one hash.
fn is_empty(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

fn is_false(flag: &Option<bool>) -> bool {
    *flag != Some(true)
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
    /// SHA-256 of these bytes: `sha256:` and hexadecimal digits; a reference in an input needs it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub digest: Option<String>,
    /// Media type, by the ending of the name or the first bytes. Default: none.
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
    /// On a volume. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemLocation>,
    /// In a bucket. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Location>,
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Location {
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// The key.
    #[schemars(length(min = 1, max = 4096))]
    pub key: String,
}

/// A place on a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemLocation {
    /// Path below the root of the volume.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// The PersistentVolumeClaim. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub volume_claim_name: Option<String>,
}

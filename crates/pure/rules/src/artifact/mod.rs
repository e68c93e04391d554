//! Artifacts: what may be one, where a store has it, and what keeps it from being forgotten.
//!
//! What a Run leaves behind is hostile: each name, kind and size is checked before it goes anywhere.

mod guard;
pub mod input;
mod media;
mod sweep;

pub use guard::{Guard, guard, is_guarded, is_kept, only, others, released};
pub use media::{SNIFFED_BYTES, media_type};
pub use sweep::{Stretch, Sweep, is_run_uid};

use kruntimes_api::{
    ArtifactDriver, ArtifactLocation, ArtifactRef, ArtifactStore, ArtifactType, FilesystemLocation,
    Reason, S3Location, S3Store, limits,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Media type of a directory, which is kept as a tar.gz.
pub const ARCHIVE_TYPE: &str = "application/gzip";
/// What every digest begins with.
pub const DIGEST_PREFIX: &str = "sha256:";

/// Why something can't be an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidArtifact {
    /// More entries than a status holds.
    #[error("there are more than {most} artifacts", most = limits::ARTIFACTS_ITEMS)]
    TooMany,
    /// A name that no artifact has.
    #[error(
        "{0}: the name of an artifact is UTF-8 of at most {most} bytes without control characters, `\\`, U+FFFE and U+FFFF",
        most = limits::ARTIFACT_NAME_BYTES
    )]
    Name(String),
    /// A link, a pipe, a socket or a device.
    #[error("{path} is {kind}: only files and directories are kept")]
    Kind {
        /// Where, below `$KRUNTIME_ARTIFACTS_DIR`.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// It was another thing when it was opened.
    #[error("{0} was changed while it was read")]
    Changed(String),
    /// It can't be opened.
    #[error("{path} can't be read: {why}")]
    Unreadable {
        /// Where.
        path: String,
        /// Why not.
        why: String,
    },
    /// The whole directory is no directory.
    #[error("it is no directory any more")]
    NoDirectory,
    /// One that is too large.
    #[error("{path} has more than {most} bytes", most = limits::ARTIFACT_BYTES)]
    TooLarge {
        /// Which.
        path: String,
    },
    /// All of them are too large.
    #[error("all artifacts have more than {most} bytes", most = limits::ARTIFACTS_BYTES)]
    AllTooLarge,
    /// Too many files.
    #[error("there are more than {most} files and directories", most = limits::ARTIFACT_FILES)]
    TooManyFiles,
    /// Too many directories in each other.
    #[error("{0} stands in more than {most} directories", most = limits::ARTIFACT_DEPTH)]
    TooDeep(String),
}

impl InvalidArtifact {
    /// The reason of a Run that ends with this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::ArtifactInvalid
    }
}

/// The name of an artifact, or of a file in it, if it can be one.
///
/// # Errors
/// It can't.
pub fn check_name(bytes: &[u8]) -> Result<&str, InvalidArtifact> {
    let invalid = || InvalidArtifact::Name(shown(bytes));
    let name = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    // Lists of S3 are XML, which has no place for the last two.
    let bars = |letter| matches!(letter, '/' | '\\' | '\u{fffe}' | '\u{ffff}');
    let plain = !name.chars().any(|letter: char| letter.is_control() || bars(letter));
    let fits = (1..=limits::ARTIFACT_NAME_BYTES).contains(&name.len());
    if fits && plain && !matches!(name, "." | "..") { Ok(name) } else { Err(invalid()) }
}

/// The beginning of what a Run wrote, with nothing in it that a terminal would obey.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    const CHARS: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let begins: String = text.chars().take(CHARS).collect();
    let more = if begins.len() < text.len() { "…" } else { "" };
    format!("{begins:?}{more}")
}

/// The directory of a Run's artifacts below the root of a store.
#[must_use]
pub fn directory(namespace: &str, run_uid: &str) -> [String; 4] {
    ["namespaces", namespace, "runs", run_uid].map(str::to_owned)
}

/// An artifact that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// What it was.
    pub kind: ArtifactType,
    /// Bytes in the store.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// Its media type.
    pub media_type: String,
}

impl Kept {
    /// As it stands in the status of a Run.
    #[must_use]
    pub fn reference(
        self,
        store: &ArtifactStore,
        namespace: &str,
        run_uid: &str,
        now: jiff::Timestamp,
    ) -> ArtifactRef {
        let location = location(store, namespace, run_uid, &self.name);
        ArtifactRef {
            name: self.name,
            driver: store.driver,
            kind: self.kind,
            location,
            size_bytes: i64::try_from(self.size).unwrap_or(i64::MAX),
            digest: Some(digest(&self.sha256)),
            content_type: Some(self.media_type),
            created_at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
        }
    }
}

fn location(store: &ArtifactStore, namespace: &str, run_uid: &str, name: &str) -> ArtifactLocation {
    if let Some(bucket) = bucket(store) {
        let key = format!("{}/{name}", key_prefix(given(&bucket.prefix), namespace, run_uid));
        let s3 = Some(S3Location { bucket: bucket.bucket.clone(), key });
        return ArtifactLocation { filesystem: None, s3 };
    }
    let path = format!("{}/{name}", directory(namespace, run_uid).join("/"));
    let volume_claim_name =
        store.filesystem.as_ref().map(|volume| volume.volume_claim_name.clone());
    let filesystem = Some(FilesystemLocation { path, volume_claim_name });
    ArtifactLocation { filesystem, s3: None }
}

/// What the keys of a Run's artifacts in a bucket begin with, but for the `/` after it.
#[must_use]
pub fn key_prefix(prefix: Option<&str>, namespace: &str, run_uid: &str) -> String {
    let own = directory(namespace, run_uid).join("/");
    prefix.map_or_else(|| own.clone(), |prefix| format!("{prefix}/{own}"))
}

/// The digest of what is read.
#[derive(Debug, Clone, Default)]
pub struct Hash(Sha256);

impl Hash {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// More is read.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// As it stands in a status.
    #[must_use]
    pub fn finish(self) -> String {
        digest(&self.0.finalize().into())
    }
}

/// A digest as it stands in a status.
#[must_use]
pub fn digest(sha256: &[u8; 32]) -> String {
    let digits: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{DIGEST_PREFIX}{digits}")
}

/// Tells the stores of a namespace apart: the public API's hash of a store.
#[must_use]
pub fn store_hash(store: &ArtifactStore) -> String {
    const DIGITS: usize = 16;
    let json = serde_json::to_vec(store).unwrap_or_default();
    let hash: String = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
    hash[..DIGITS].to_owned()
}

/// The claim of a store on a volume.
#[must_use]
pub fn volume_claim(store: &ArtifactStore) -> Option<&str> {
    let volume = store.filesystem.as_ref()?;
    (store.driver == ArtifactDriver::Filesystem).then_some(volume.volume_claim_name.as_str())
}

/// The bucket of a store that has one.
#[must_use]
pub fn bucket(store: &ArtifactStore) -> Option<&S3Store> {
    let bucket = store.s3.as_deref().filter(|_| store.driver == ArtifactDriver::S3)?;
    let named = !bucket.bucket.is_empty() && !bucket.bucket.contains('/');
    let endpoint = given(&bucket.endpoint).is_none_or(|endpoint| {
        let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        let host = host.map(|host| host.strip_suffix('/').unwrap_or(host));
        host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
    });
    (named && endpoint).then_some(bucket)
}

/// A setting that is there and not empty.
#[must_use]
pub fn given(setting: &Option<String>) -> Option<&str> {
    setting.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;

//! A store: a directory on a volume, or a bucket. Both have the same layout and the same meaning.

use crate::KeepError;
use crate::bucket::credentials::Credentials;
use crate::bucket::{Bucket, Limits};
use crate::keep::Stop;
use crate::volume::Volume;
use kruntimes_api::{ArtifactType, S3Store};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// What is said of a store that takes nothing.
pub(crate) const UNWRITTEN: &str = "the artifact store can't be written";

/// Whose artifacts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Namespace of the Run.
    pub namespace: &'a str,
    /// Its UID.
    pub run_uid: &'a str,
    /// Its name, for people who look into a bucket.
    pub run_name: &'a str,
    /// Its Runtime, for the same.
    pub runtime: &'a str,
}

impl<'a> Place<'a> {
    /// Of something that is kept already.
    #[must_use]
    pub const fn of(namespace: &'a str, run_uid: &'a str) -> Self {
        Self { namespace, run_uid, run_name: "", runtime: "" }
    }
}

/// What is about to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Artifact<'a> {
    pub(crate) name: &'a str,
    /// Permissions, where the store has such.
    pub(crate) mode: u32,
    pub(crate) kind: ArtifactType,
}

/// Where artifacts are kept.
#[derive(Debug, Clone)]
pub enum Store {
    /// Below a directory.
    Volume(Volume),
    /// In a bucket.
    Bucket(Bucket),
}

impl Store {
    /// The store in this directory, which is made when something is kept.
    #[must_use]
    pub fn volume(root: PathBuf) -> Self {
        Self::Volume(Volume::new(root))
    }

    /// The store in a bucket, whose objects say that they are of this `cluster`. What is wrong with it is said when it is used.
    #[must_use]
    pub fn bucket(bucket: &S3Store, credentials: Credentials, cluster: Option<String>) -> Self {
        Self::Bucket(Bucket::new(bucket, credentials, Limits::default(), cluster))
    }

    /// Where the logs of attempts are kept beside the artifacts: in the same layout, below `logs`. So they neither count as a Run's
    /// artifacts nor go with what it does not refer to, and a bucket can have a rule of its own for them.
    #[must_use]
    pub fn logs(&self) -> Self {
        match self {
            Self::Volume(volume) => Self::Volume(volume.logs()),
            Self::Bucket(bucket) => Self::Bucket(bucket.logs()),
        }
    }

    /// Keeps one artifact: `write` is given what takes its bytes; it is there when all of them are.
    pub(crate) fn put(
        &self,
        place: Place<'_>,
        artifact: Artifact<'_>,
        stop: &Stop,
        write: impl FnOnce(&mut dyn Write) -> Result<(), KeepError>,
    ) -> Result<(), KeepError> {
        match self {
            Self::Volume(volume) => volume.put(place, artifact, stop, write),
            Self::Bucket(bucket) => bucket.put(place, artifact, stop, write),
        }
    }

    /// Opens an artifact. Whoever waits for it, or for its bytes, waits no longer when `stop` is fired.
    ///
    /// # Errors
    /// It is not there, or is no file.
    pub fn open(&self, place: Place<'_>, name: &str, stop: &Stop) -> io::Result<Opened> {
        match self {
            Self::Volume(volume) => {
                let file = volume.open(place, name)?;
                Ok(Opened { size: file.metadata()?.len(), bytes: Box::new(file) })
            }
            Self::Bucket(bucket) => {
                let object = bucket.open(place, name, stop)?;
                Ok(Opened { size: object.size(), bytes: Box::new(object) })
            }
        }
    }

    /// Removes all that is kept of a Run; nothing is fine too.
    ///
    /// # Errors
    /// Something stays.
    pub fn remove(&self, place: Place<'_>, stop: &Stop) -> io::Result<()> {
        self.retain(place, &BTreeSet::new(), stop)
    }

    /// Removes all that is kept of a Run but for the artifacts of these names. Whoever waits for a bucket waits no longer when `stop`
    /// is fired.
    ///
    /// # Errors
    /// Something else stays.
    pub fn retain(
        &self,
        place: Place<'_>,
        names: &BTreeSet<String>,
        stop: &Stop,
    ) -> io::Result<()> {
        match self {
            Self::Volume(volume) => volume.retain(place, names),
            Self::Bucket(bucket) => bucket.retain(place, names, stop),
        }
    }

    /// The Runs that something is kept of on a volume: namespaces and UIDs. A bucket, which others may share, is looked through
    /// by [`Bucket::runs`].
    ///
    /// # Errors
    /// The store can't be read.
    pub fn runs(&self) -> io::Result<Vec<(String, String)>> {
        match self {
            Self::Volume(volume) => volume.runs(),
            Self::Bucket(_) => Ok(Vec::new()),
        }
    }
}

/// An artifact that is read.
pub struct Opened {
    /// Bytes in all.
    pub size: u64,
    /// All of them, in order.
    pub bytes: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opened").field("size", &self.size).finish_non_exhaustive()
    }
}

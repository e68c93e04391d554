//! What a Run takes from earlier ones: which object of which store, and where it goes. Nothing that a spec says is trusted:
//! admission has checked it, and may have been switched off.
//!
//! Invariant: what is read lies in the Run's own namespace, in the store of its own Runtime, and has a digest.

use super::{check_name, given, location, shown};
use kruntimes_api::{ArtifactRef, ArtifactStore, Phase, Reason, Run, RunInput, limits};
use thiserror::Error;

/// An artifact that is to be read, and its place below the working directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its number in `spec.inputs`.
    pub index: usize,
    /// UID of the Run that has left it.
    pub run_uid: String,
    /// What must come.
    pub artifact: ArtifactRef,
    /// The directories before it, and its last name.
    pub path: Vec<String>,
}

/// Why an input can't be had or can't be put.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("spec.inputs[{index}]: {why}")]
pub struct InputFailure {
    /// Its number in `spec.inputs`.
    pub index: usize,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// The pod keeps no artifacts.
    #[error(
        "the Runtime {runtime} has no artifact store: give it the one of the earlier Run in spec.artifactStore"
    )]
    NoStore {
        /// Of this Run.
        runtime: String,
    },
    /// Neither or both of `fromRun` and `ref`.
    #[error("an input needs fromRun or ref, and not both")]
    Source,
    /// Nobody of that name.
    #[error(
        "there is no Run {0:?} in this namespace: create it first, and this Run when it has ended"
    )]
    NoRun(String),
    /// It runs or waits.
    #[error(
        "the Run {run:?} is {phase}: create this Run when it has ended (`kubectl wait --for=condition=Finished run/{run}`)"
    )]
    NotEnded {
        /// Which.
        run: String,
        /// Where it stands.
        phase: Phase,
    },
    /// Its artifacts go.
    #[error("the Run {0:?} is being deleted, with what it has left: create it anew")]
    Deleted(String),
    /// It has others, or none.
    #[error("the Run {run:?} is {phase} and has no artifact {name}: it has {has}")]
    NoArtifact {
        /// Which.
        run: String,
        /// How it ended.
        phase: Phase,
        /// What is not there, as it is shown.
        name: String,
        /// What is.
        has: String,
    },
    /// This pod can't reach it.
    #[error(
        "it is in another store ({there}) than the Runtime of this Run has ({here}): give both Runtimes the same spec.artifactStore"
    )]
    OtherStore {
        /// Where it is.
        there: String,
        /// What this pod has.
        here: String,
    },
    /// A reference to something that is none of this namespace's, or has no digest.
    #[error(
        "ref must be an entry of status.artifactRefs of a Run of this namespace whose store the Runtime has ({here})"
    )]
    Reference {
        /// What this pod has.
        here: String,
    },
    /// No path that anything is put at.
    #[error(
        "the path {0} must be inside the working directory, of names without control characters"
    )]
    Path(String),
}

impl Why {
    /// The reason of an attempt that ends with this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoStore { .. }
            | Self::NoRun(_)
            | Self::NotEnded { .. }
            | Self::Deleted(_)
            | Self::NoArtifact { .. }
            | Self::OtherStore { .. } => Reason::InputUnavailable,
            Self::Source | Self::Reference { .. } | Self::Path(_) => Reason::InputInvalid,
        }
    }
}

/// What is to be read for the input `index` of `run`: `from` is the Run that it names, if there is one, and `store` what the pod
/// keeps artifacts in.
///
/// # Errors
/// It can't be had.
pub fn resolve(
    run: &Run,
    index: usize,
    input: &RunInput,
    from: Option<&Run>,
    store: Option<&ArtifactStore>,
) -> Result<Wanted, InputFailure> {
    let found = find(run, input, from, store);
    let placed =
        found.and_then(|(run_uid, artifact)| Ok((run_uid, artifact, path(input.place())?)));
    match placed {
        Ok((run_uid, artifact, path)) => Ok(Wanted { index, run_uid, artifact, path }),
        Err(why) => Err(InputFailure { index, why }),
    }
}

fn find(
    run: &Run,
    input: &RunInput,
    from: Option<&Run>,
    store: Option<&ArtifactStore>,
) -> Result<(String, ArtifactRef), Why> {
    let store = store.ok_or_else(|| Why::NoStore { runtime: run.spec.runtime.clone() })?;
    match (&input.from_run, &input.reference) {
        (Some(name), None) => of_run(name, from, &input.name, store),
        (None, Some(reference)) => {
            let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
            of_reference(namespace, &input.name, reference, store)
        }
        (Some(_), Some(_)) | (None, None) => Err(Why::Source),
    }
}

fn of_run(
    run: &str,
    from: Option<&Run>,
    name: &str,
    store: &ArtifactStore,
) -> Result<(String, ArtifactRef), Why> {
    let from = from.ok_or_else(|| Why::NoRun(run.to_owned()))?;
    let phase = from.phase();
    if from.metadata.deletion_timestamp.is_some() {
        return Err(Why::Deleted(run.to_owned()));
    }
    if !phase.is_terminal() {
        return Err(Why::NotEnded { run: run.to_owned(), phase });
    }
    let status = from.status.as_ref();
    let refs = status.map_or(&[][..], |status| &status.artifact_refs);
    let Some(artifact) = refs.iter().find(|one| one.name == name) else {
        let names: Vec<String> = refs.iter().map(|one| shown(one.name.as_bytes())).collect();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let (run, name) = (run.to_owned(), shown(name.as_bytes()));
        return Err(Why::NoArtifact { run, phase, name, has });
    };
    match status.and_then(|status| status.artifact_store.as_ref()) {
        Some(there) if there == store => {}
        there => {
            let there = there.map_or_else(|| "unknown".to_owned(), described);
            return Err(Why::OtherStore { there, here: described(store) });
        }
    }
    Ok((from.metadata.uid.clone().unwrap_or_default(), artifact.clone()))
}

/// A reference says where by its location alone, which must be the one that an artifact of that name has there.
fn of_reference(
    namespace: &str,
    name: &str,
    reference: &ArtifactRef,
    store: &ArtifactStore,
) -> Result<(String, ArtifactRef), Why> {
    let wrong = || Why::Reference { here: described(store) };
    let place = &reference.location;
    let volume = place.filesystem.as_ref().map(|volume| volume.path.as_str());
    let key = place.s3.as_ref().map(|bucket| bucket.key.as_str());
    let run_uid = volume.or(key).and_then(|path| path.rsplit('/').nth(1)).ok_or_else(wrong)?;
    let same = location(store, namespace, run_uid, name) == *place;
    let whole = reference.digest.is_some() && reference.name == name;
    if !same || !whole || reference.driver != store.driver {
        return Err(wrong());
    }
    Ok((run_uid.to_owned(), reference.clone()))
}

/// The names of a path below a directory, if nothing leads out of it.
fn path(path: &str) -> Result<Vec<String>, Why> {
    let wrong = || Why::Path(shown(path.as_bytes()));
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > limits::ARTIFACT_DEPTH {
        return Err(wrong());
    }
    let checked = names.iter().map(|name| check_name(name.as_bytes()).map(str::to_owned));
    checked.collect::<Result<_, _>>().map_err(|_| wrong())
}

/// A store, for people.
fn described(store: &ArtifactStore) -> String {
    if let Some(volume) = &store.filesystem {
        return format!("volume {}", volume.volume_claim_name);
    }
    match store.s3.as_deref() {
        Some(bucket) => match given(&bucket.prefix) {
            Some(prefix) => format!("bucket {}/{prefix}", bucket.bucket),
            None => format!("bucket {}", bucket.bucket),
        },
        None => "none".to_owned(),
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;

//! What keeps a Run with artifacts from being deleted before they are: a finalizer, and a label that says which store has
//! them.
//!
//! The controller sets both when it sees `status.artifactStore`; only then anything is kept. The maintainer of the store
//! takes the finalizer away when it has removed all that the Run had there.

use super::store_hash;
use kruntimes_api::labels::{ARTIFACT_FINALIZER, ARTIFACT_STORE_HASH};
use kruntimes_api::{ArtifactStore, Run};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A merge patch of a Run's metadata: with its resourceVersion, since it writes the whole list of finalizers.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// The merge patch.
    pub body: Value,
}

/// Whether the Run can't be deleted before its artifacts in this store are.
#[must_use]
pub fn is_guarded(run: &Run, store: &ArtifactStore) -> bool {
    let same = run.status.as_ref().and_then(|status| status.artifact_store.as_ref()) == Some(store);
    same && is_kept(run)
}

/// What the controller has to write: nothing when the Run has no store, or is guarded as it should be.
#[must_use]
pub fn guard(run: &Run) -> Option<Guard> {
    let store = run.status.as_ref()?.artifact_store.as_ref()?;
    let hash = store_hash(store);
    let labelled = run
        .metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.get(ARTIFACT_STORE_HASH) == Some(&hash));
    let guarded = is_kept(run);
    // What is being deleted gets no finalizer any more: the API server refuses it.
    if run.metadata.deletion_timestamp.is_some() && !guarded {
        return None;
    }
    if guarded && labelled {
        return None;
    }
    let mut finalizers = run.metadata.finalizers.clone().unwrap_or_default();
    if !guarded {
        finalizers.push(ARTIFACT_FINALIZER.to_owned());
    }
    let body = json!({ "metadata": {
        "resourceVersion": run.metadata.resource_version,
        "finalizers": finalizers,
        "labels": { ARTIFACT_STORE_HASH: hash },
    }});
    Some(Guard { body })
}

/// What the maintainer writes when the artifacts of a deleted Run are gone; nothing while the Run is not deleted.
#[must_use]
pub fn released(run: &Run) -> Option<Guard> {
    run.metadata.deletion_timestamp.as_ref()?;
    if !is_kept(run) {
        return None;
    }
    let body = json!({ "metadata": {
        "resourceVersion": run.metadata.resource_version,
        "finalizers": others(run),
    }});
    Some(Guard { body })
}

/// The finalizers that somebody else has set.
#[must_use]
pub fn others(run: &Run) -> Vec<&str> {
    let finalizers = run.metadata.finalizers.iter().flatten();
    finalizers.map(String::as_str).filter(|name| *name != ARTIFACT_FINALIZER).collect()
}

/// The artifacts that a Run refers to, once it has ended where attempts may have left others: one that lost its pod while it
/// kept them, or one before the last. `None` when nothing else can be there, or all of it goes soon.
#[must_use]
pub fn only(run: &Run) -> Option<BTreeSet<String>> {
    let status = run.status.as_ref()?;
    status.artifact_store.as_ref()?;
    if run.metadata.deletion_timestamp.is_some() || !status.phase.is_terminal() {
        return None;
    }
    // Who keeps removes first what was there before.
    let whole = status.attempt == Some(1) && !status.artifact_refs.is_empty();
    (!whole).then(|| status.artifact_refs.iter().map(|artifact| artifact.name.clone()).collect())
}

/// Whether the Run stays until its artifacts are removed.
#[must_use]
pub fn is_kept(run: &Run) -> bool {
    run.metadata.finalizers.iter().flatten().any(|name| name == ARTIFACT_FINALIZER)
}

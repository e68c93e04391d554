//! Artifacts whose Run there is no more: looked for again and again, and removed at the second look that finds them so.

use kruntimes_api::names;
use kruntimes_artifacts::{Place, Store};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::artifact::Sweep;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Between two looks.
pub(crate) const EVERY: Duration = Duration::from_secs(300);
/// Orphans that the log names.
const SHOWN: usize = 10;

/// Something that is kept: which volume of the home, and whose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    volume: PathBuf,
    namespace: String,
    run_uid: String,
}

/// Looks once.
pub(crate) async fn sweep(home: &Path, sweep: &mut Sweep<Held>, known: &BTreeSet<String>) {
    let volumes = home.join(names::LOCAL_VOLUMES);
    let found = spawn_blocking(move || look(&volumes)).await;
    let found = match found.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(found) => found,
        Err(error) => {
            return tracing::warn!(error = %Chain(&error), "the volumes of this home can't be looked through");
        }
    };
    let orphans = sweep.orphans(found, |held| known.contains(&held.run_uid));
    if orphans.is_empty() {
        return;
    }
    let uids: Vec<&str> = orphans.iter().take(SHOWN).map(|held| held.run_uid.as_str()).collect();
    let count = orphans.len();
    tracing::info!(count, runs = ?uids, "artifacts of Runs that there are no more are removed");
    let removed = spawn_blocking(move || orphans.iter().try_for_each(remove)).await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
        tracing::warn!(error = %Chain(&error), "some of them stay");
    }
}

/// All that the volumes of a home hold.
fn look(volumes: &Path) -> io::Result<BTreeSet<Held>> {
    let mut found = BTreeSet::new();
    for volume in inner(volumes)?.iter().map(|namespace| inner(namespace)) {
        for volume in volume? {
            let runs = Store::volume(volume.clone()).runs()?;
            found.extend(runs.into_iter().map(|(namespace, run_uid)| Held {
                volume: volume.clone(),
                namespace,
                run_uid,
            }));
        }
    }
    Ok(found)
}

fn inner(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

fn remove(held: &Held) -> io::Result<()> {
    let place = Place::of(&held.namespace, &held.run_uid);
    Store::volume(held.volume.clone()).remove(place)
}

/// The Runs that may have artifacts, as the watch shows them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    uids: BTreeMap<kruntimes_cluster::watch::ObjectKey, String>,
    /// All have been shown, and the watch goes on.
    complete: bool,
    live: bool,
}

impl Known {
    pub(crate) fn observe(
        &mut self,
        observed: &kruntimes_cluster::watch::Observed<kruntimes_api::Run>,
    ) {
        use kruntimes_cluster::watch::{ObjectKey, Observed};
        self.live = !matches!(observed, Observed::Interrupted);
        match observed {
            Observed::Applied(run) => {
                let uid = run.metadata.uid.clone().unwrap_or_default();
                self.uids.insert(ObjectKey::of(run), uid);
            }
            Observed::Gone(key) => drop(self.uids.remove(key)),
            Observed::Synced => self.complete = true,
            Observed::Interrupted => {}
        }
    }

    /// Their UIDs, where all are known.
    pub(crate) fn uids(&self) -> Option<BTreeSet<String>> {
        (self.complete && self.live).then(|| self.uids.values().cloned().collect())
    }
}

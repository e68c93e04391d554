//! Artifacts and logs whose Run there is no more: looked for again and again, and removed at the second look that finds them so.

use crate::stores::{Stores, Volumes};
use kruntimes_api::Run;
use kruntimes_artifacts::{Place, Stop, Store};
use kruntimes_cluster::watch::{Chain, ObjectKey, Observed};
use kruntimes_rules::artifact::{self, Sweep};
use kube::api::ListParams;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Between two looks.
pub(crate) const EVERY: Duration = Duration::from_secs(300);
/// Runs in one page of a list.
const PAGE: u32 = 500;
/// Orphans that the log names.
pub(crate) const SHOWN: usize = 10;

/// Something that is kept: which volume of the home, whether artifacts or logs, and whose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    volume: PathBuf,
    is_log: bool,
    namespace: String,
    run_uid: String,
}

/// Looks once.
pub(crate) async fn sweep(
    stores: &Stores,
    client: &Client,
    sweep: &mut Sweep<Held>,
    known: &BTreeSet<String>,
) {
    let volumes = stores.volumes();
    let mut found = spawn_blocking(move || look(volumes)).await.unwrap_or_default();
    found.retain(|held| stores.has(&held.namespace));
    let orphans = sweep.orphans(found, |held| known.contains(&held.run_uid));
    if orphans.is_empty() {
        return;
    }
    // Somebody may have taken away the label that the watch finds Runs by.
    let all = match uids(&stores.runs(client)).await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "artifacts of Runs that are not known stay: the Runs can't be listed");
            return;
        }
    };
    let orphans: Vec<Held> =
        orphans.into_iter().filter(|held| !all.contains(&held.run_uid)).collect();
    if orphans.is_empty() {
        return;
    }
    let uids: Vec<&str> = orphans.iter().take(SHOWN).map(|held| held.run_uid.as_str()).collect();
    let count = orphans.len();
    tracing::info!(count, runs = ?uids, "artifacts and logs of Runs that there are no more are removed");
    let removing = spawn_blocking(move || {
        for held in &orphans {
            if let Err(error) = remove(held) {
                tracing::warn!(run = held.run_uid, error = %Chain(&error), "artifacts of a Run that there is no more stay");
            }
        }
    });
    if let Err(error) = removing.await {
        tracing::warn!(error = %Chain(&error), "the removal of artifacts crashed");
    }
}

/// Of all Runs that there are, page by page.
pub(crate) async fn uids(runs: &Api<Run>) -> Result<BTreeSet<String>, kube::Error> {
    let mut page = ListParams::default().limit(PAGE);
    let mut uids = BTreeSet::new();
    loop {
        let list = runs.list_metadata(&page).await?;
        uids.extend(list.items.into_iter().filter_map(|run| run.metadata.uid));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(uids),
        }
    }
}

/// All that volumes hold. What can't be read holds nothing for this time.
fn look(volumes: Volumes) -> BTreeSet<Held> {
    let unreadable = |path: &Path, error: &io::Error| {
        let path = path.display();
        tracing::warn!(%path, error = %Chain(error), "a volume can't be looked through");
    };
    let mut found = BTreeSet::new();
    let inner = |directory: &Path| {
        inner(directory).inspect_err(|error| unreadable(directory, error)).unwrap_or_default()
    };
    for volume in volumes.all(inner) {
        for is_log in [false, true] {
            match store(&volume, is_log).runs() {
                Ok(runs) => found.extend(runs.into_iter().map(|(namespace, run_uid)| Held {
                    volume: volume.clone(),
                    is_log,
                    namespace,
                    run_uid,
                })),
                Err(error) => unreadable(&volume, &error),
            }
        }
    }
    found
}

fn store(volume: &Path, is_log: bool) -> Store {
    let artifacts = Store::volume(volume.to_owned());
    if is_log { artifacts.logs() } else { artifacts }
}

fn inner(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

fn remove(held: &Held) -> io::Result<()> {
    let place = Place::of(&held.namespace, &held.run_uid);
    store(&held.volume, held.is_log).remove(place, &Stop::default())
}

/// The Runs that may have artifacts, as the watch shows them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    uids: BTreeMap<ObjectKey, String>,
    /// UIDs of those whose place was tidied since they have ended.
    tidy: BTreeSet<String>,
    /// All have been shown, and the watch goes on.
    complete: bool,
    live: bool,
}

impl Known {
    pub(crate) fn observe(&mut self, observed: &Observed<Run>) {
        self.live = !matches!(observed, Observed::Interrupted);
        match observed {
            Observed::Applied(run) => {
                let uid = run.metadata.uid.clone().unwrap_or_default();
                self.uids.insert(ObjectKey::of(run), uid);
            }
            Observed::Gone(key) => {
                if let Some(uid) = self.uids.remove(key) {
                    self.tidy.remove(&uid);
                }
            }
            Observed::Synced => self.complete = true,
            Observed::Interrupted => {}
        }
    }

    /// Whether attempts of this Run may have left what it does not refer to.
    pub(crate) fn is_untidy(&self, run: &Run) -> bool {
        let uid = run.metadata.uid.as_deref().unwrap_or_default();
        artifact::only(run).is_some() && !self.tidy.contains(uid)
    }

    pub(crate) fn tidied(&mut self, run: &Run) {
        // One that is gone meanwhile is not kept in mind.
        if self.uids.contains_key(&ObjectKey::of(run)) {
            self.tidy.extend(run.metadata.uid.clone());
        }
    }

    /// Their UIDs, where all are known.
    pub(crate) fn uids(&self) -> Option<BTreeSet<String>> {
        (self.complete && self.live).then(|| self.uids.values().cloned().collect())
    }
}

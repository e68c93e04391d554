//! The maintainer, of a local home or of one store on a cluster: removes the artifacts of Runs that are deleted, then lets the Runs go.
//!
//! It finds them by the label that the controller sets beside the finalizer, whatever became of their Runtime; what crashes
//! have left of Runs that there are no more, `sweep` finds; what attempts have left that their Run does not refer to goes when the
//! Run has ended. `serving` gives out what is kept where no pod does. Invariant: a finalizer goes only after all that the Run had in the store that its status names is gone.

mod buckets;
mod config;
mod serving;
mod stores;
mod sweep;

pub use config::{Config, NoStore, StoreArgs};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kruntimes_api::Run;
use kruntimes_artifacts::{Place, Stop};
use kruntimes_cluster::events::{self, Recorder};
use kruntimes_cluster::watch::{Chain, ObjectKey, Observed, forward};
use kruntimes_daemon::{Shutdown, crash};
use kruntimes_rules::artifact::{self, Guard};
use kruntimes_rules::run::notes;
use kruntimes_rules::run::phase::Writer;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use stores::{OpenError, Stores};
use sweep::Known;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Observations that wait; beyond it the watch waits.
const EVENT_QUEUE: usize = 1024;
/// Runs whose artifacts are removed at once.
const AT_ONCE: usize = 8;
/// One Run: a store that does not answer must not keep those of others waiting.
const REMOVED_WITHIN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A Run that waits so long for the next try tells why.
const TELLING_PAUSE: Duration = Duration::from_secs(5);
/// Who writes, as managed fields name it.
const MANAGER: &str = "kruntimes-maintainer";

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the artifacts can't be removed")]
    Store(#[source] io::Error),
    #[error("the finalizer can't be removed")]
    Api(#[source] kube::Error),
}

#[derive(Debug, Error)]
#[error("the store has not done it within {} s", REMOVED_WITHIN.as_secs())]
struct Late;

/// A Run in whose place something is to be removed, and how it stands with it.
#[derive(Debug)]
struct Open {
    run: Arc<Run>,
    under_way: bool,
    due: Instant,
    pause: Duration,
}

/// Works until `shutdown`. It never gives up on an API server that does not answer, nor on a store.
///
/// # Errors
/// It was told no store.
pub async fn serve(config: Config, client: Client, mut shutdown: Shutdown) -> Result<(), NoStore> {
    let (stores, labelled, door) = config.open(&client)?;
    let stores = Arc::new(stores);
    let (sender, runs) = mpsc::channel(EVENT_QUEUE);
    // It writes no phase: what it tells is said by itself.
    let (recorder, recording) =
        events::recorder(client.clone(), Writer::Controller, MANAGER, MANAGER.to_owned());
    tokio::select! {
        () = shutdown.wait() => {}
        () = forward(stores.runs(&client), labelled, sender, |run| run) => {}
        () = maintain(&stores, &client, runs, &recorder) => {}
        () = recording.run() => {}
        () = buckets::serve(&stores, &client) => {}
        () = serving::serve(door, Arc::clone(&stores), client.clone()) => {}
    }
    Ok(())
}

async fn maintain(
    stores: &Stores,
    client: &Client,
    mut runs: mpsc::Receiver<Observed<Run>>,
    recorder: &Recorder,
) {
    let mut open: BTreeMap<ObjectKey, Open> = BTreeMap::new();
    let mut work = FuturesUnordered::new();
    let (mut known, mut orphans) = (Known::default(), artifact::Sweep::new());
    let mut looks = interval(sweep::EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = Instant::now();
        let free = AT_ONCE.saturating_sub(work.len());
        let ready = open.iter_mut().filter(|(_, one)| free > 0 && !one.under_way && one.due <= now);
        // Who waits longest comes first: those whose store does not answer keep no others waiting.
        let mut ready: Vec<_> = ready.collect();
        ready.sort_by_key(|(_, one)| one.due);
        for (key, one) in ready.into_iter().take(free) {
            one.under_way = true;
            work.push(release(stores, client, key.clone(), Arc::clone(&one.run)));
        }
        let room = work.len() < AT_ONCE;
        let waiting = open.values().filter(|one| !one.under_way).map(|one| one.due).min();
        tokio::select! {
            observed = runs.recv() => match observed {
                Some(observed) => {
                    known.observe(&observed);
                    observe(&mut open, observed, &known);
                }
                None => return,
            },
            _ = looks.tick() => {
                if let Some(known) = known.uids() {
                    sweep::sweep(stores, client, &mut orphans, &known).await;
                }
            }
            Some(done) = work.next(), if !work.is_empty() => settle(&mut open, &mut known, recorder, done),
            () = sleep_until(waiting.unwrap_or(now)), if room && waiting.is_some() => {}
        }
    }
}

fn observe(open: &mut BTreeMap<ObjectKey, Open>, observed: Observed<Run>, known: &Known) {
    match observed {
        Observed::Applied(run) if artifact::released(&run).is_some() || known.is_untidy(&run) => {
            let (key, run) = (ObjectKey::of(&run), Arc::new(run));
            match open.get_mut(&key) {
                Some(known) => known.run = run,
                None => {
                    let due = Instant::now();
                    open.insert(key, Open { run, under_way: false, due, pause: FIRST_PAUSE });
                }
            }
        }
        Observed::Applied(run) => drop(open.remove(&ObjectKey::of(&run))),
        Observed::Gone(key) => drop(open.remove(&key)),
        Observed::Synced | Observed::Interrupted => {}
    }
}

fn settle(
    open: &mut BTreeMap<ObjectKey, Open>,
    known: &mut Known,
    recorder: &Recorder,
    (key, run, done): (ObjectKey, Arc<Run>, Result<(), Error>),
) {
    if done.is_ok() && run.metadata.deletion_timestamp.is_none() {
        known.tidied(&run);
    }
    let Some(one) = open.get_mut(&key) else { return };
    match done {
        // The watch has shown what came between.
        Ok(()) if one.run.metadata.resource_version == run.metadata.resource_version => {
            open.remove(&key);
        }
        Ok(()) => (one.under_way, one.due) = (false, Instant::now()),
        Err(error) => {
            let (namespace, name) = (&key.namespace, &key.name);
            tracing::warn!(namespace, name, error = %Chain(&error), "artifacts that no Run refers to stay");
            if one.pause >= TELLING_PAUSE && artifact::released(&one.run).is_some() {
                recorder.say(notes::of_cleanup(&one.run, &Chain(&error).to_string()));
            }
            one.under_way = false;
            one.due = Instant::now() + one.pause;
            one.pause = (one.pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn release(
    stores: &Stores,
    client: &Client,
    key: ObjectKey,
    run: Arc<Run>,
) -> (ObjectKey, Arc<Run>, Result<(), Error>) {
    let released = match artifact::only(&run) {
        // What an attempt has left that the Run does not refer to.
        Some(names) => retain(stores, &run, names, Logs::Stay).await,
        None => try_release(stores, client, &run).await,
    };
    (key, run, released)
}

/// What becomes of the logs of a Run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logs {
    Stay,
    Removed,
}

/// Removes what a Run has in its store but for the artifacts of these names.
async fn retain(
    stores: &Stores,
    run: &Run,
    names: BTreeSet<String>,
    logs: Logs,
) -> Result<(), Error> {
    let (namespace, uid) = (run.namespace().unwrap_or_default(), run.uid().unwrap_or_default());
    let named = run.status.as_ref().and_then(|status| status.artifact_store.as_ref());
    // Without a store in the status nothing was kept: a finalizer is somebody's mistake then.
    let Some(named) = named else { return Ok(()) };
    let store = stores.open(&namespace, named).await?;
    let removed = tokio::task::spawn_blocking(move || {
        let place = Place::of(&namespace, &uid);
        let stop = Stop::within(REMOVED_WITHIN);
        let removed = store.retain(place, &names, &stop).and_then(|()| match logs {
            Logs::Removed => store.logs().remove(place, &stop),
            Logs::Stay => Ok(()),
        });
        removed.map_err(|error| match stop.is_fired() {
            true => io::Error::other(Late),
            false => error,
        })
    });
    removed.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Error::Store)
}

async fn try_release(stores: &Stores, client: &Client, run: &Run) -> Result<(), Error> {
    retain(stores, run, BTreeSet::new(), Logs::Removed).await?;
    crash::point("maintainer-removed");
    let Some(Guard { body }) = artifact::released(run) else { return Ok(()) };
    let runs: Api<Run> = Api::namespaced(client.clone(), &run.namespace().unwrap_or_default());
    let parameters =
        PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match runs.patch(&run.name_any(), &parameters, &Patch::Merge(body)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        patched => patched.map(drop).map_err(Error::Api),
    }
}

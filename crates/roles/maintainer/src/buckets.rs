//! Buckets: what crashes and Runs that were deleted without their pod have left in them, looked for again and again.
//!
//! A bucket may be others' too: what is removed says of itself that it is of this cluster (ADR 9). A store that does not answer keeps
//! no Run waiting that is to be let go: this is a task of its own.

use crate::stores::{OpenError, Stores};
use crate::sweep::{EVERY, SHOWN, uids};
use futures::{StreamExt, stream};
use kruntimes_api::{ArtifactStore, Run};
use kruntimes_artifacts::{Bucket, Own, Place, Stop, Store};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::artifact::{self, Stretch};
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// Pages of a list in one look, of 1,000 Runs each.
const PAGES: usize = 10;
/// Runs in one look whose objects are removed.
const REMOVED: usize = 500;
/// Of these at once.
const AT_ONCE: usize = 4;
/// What one bucket may take for one step.
const WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the bucket can't be looked through")]
    Store(#[source] io::Error),
    #[error("the Runs can't be listed")]
    Runs(#[source] kube::Error),
}

/// How far one bucket was looked through for one namespace.
#[derive(Debug, Default)]
struct Looked {
    artifacts: Stretch,
    logs: Stretch,
    /// It was said that its uploads can't be listed: not every store does it for everybody.
    is_without_uploads: bool,
}

/// Looks for ever.
pub(crate) async fn serve(stores: &Stores, client: &Client) {
    let mut all: BTreeMap<(String, String), Looked> = BTreeMap::new();
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let named = match stores.buckets(client).await {
            Ok(named) => named,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the buckets of Runtimes and Runs can't be listed");
                continue;
            }
        };
        let mut before = std::mem::take(&mut all);
        for (namespace, named) in named {
            let key = (namespace, artifact::store_hash(&named));
            let mut looked = before.remove(&key).unwrap_or_default();
            if let Err(error) = look_at(stores, client, &key.0, &named, &mut looked).await {
                let bucket = artifact::bucket(&named).map(|bucket| bucket.bucket.as_str());
                tracing::warn!(namespace = key.0, bucket, error = %Chain(&error), "what a bucket has of Runs that there are no more stays");
            }
            all.insert(key, looked);
        }
    }
}

async fn look_at(
    stores: &Stores,
    client: &Client,
    namespace: &str,
    named: &ArtifactStore,
    looked: &mut Looked,
) -> Result<(), Error> {
    let store = stores.open(namespace, named).await?;
    let runs = stores.runs_of(client, namespace);
    let Store::Bucket(bucket) = &store else { return Ok(()) };
    look(bucket, namespace, &runs, &mut looked.artifacts).await?;
    if let Store::Bucket(bucket) = &store.logs() {
        look(bucket, namespace, &runs, &mut looked.logs).await?;
    }
    let own = namespace.to_owned();
    match of_bucket(bucket, move |bucket, stop| bucket.abort_cut_off(&own, stop)).await {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(namespace, count, "uploads that a crash had cut off were aborted");
        }
        Err(error) if !looked.is_without_uploads => {
            looked.is_without_uploads = true;
            tracing::warn!(namespace, error = %Chain(&error), "uploads that a crash cut off are left to the bucket's own rules");
        }
        Err(_) => {}
    }
    Ok(())
}

async fn look(
    bucket: &Bucket,
    namespace: &str,
    runs: &Api<Run>,
    stretch: &mut Stretch,
) -> Result<(), Error> {
    if !bucket.marks() {
        return Ok(());
    }
    let (own, from) = (namespace.to_owned(), stretch.from().map(str::to_owned));
    let listed =
        of_bucket(bucket, move |bucket, stop| bucket.runs(&own, from.as_deref(), PAGES, stop));
    let listed = listed.await?;
    // After the bucket: a Run is there before its objects are.
    let known = match listed.run_uids.is_empty() {
        true => BTreeSet::new(),
        false => uids(runs).await.map_err(Error::Runs)?,
    };
    let is_known = |uid: &String| known.contains(uid);
    let orphans = stretch.orphans(listed.run_uids, listed.next, REMOVED, is_known);
    let removing = stream::iter(orphans).map(|uid| {
        let (own, run_uid) = (namespace.to_owned(), uid.clone());
        let removing = of_bucket(bucket, move |bucket, stop| {
            bucket.remove_own(Place::of(&own, &run_uid), stop)
        });
        async move { (uid, removing.await) }
    });
    let mut removing = removing.buffer_unordered(AT_ONCE);
    let (mut removed, mut objects) = (Vec::new(), 0);
    while let Some((uid, done)) = removing.next().await {
        match done {
            Ok(Own { removed: 0, others: 1.. }) => stretch.is_others(uid),
            Ok(own) if own.removed > 0 => {
                objects += own.removed;
                removed.push(uid);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(run = uid, error = %Chain(&error), "what a bucket has of a Run that there is no more stays");
            }
        }
    }
    if objects > 0 {
        let (count, some) = (removed.len(), &removed[..removed.len().min(SHOWN)]);
        tracing::info!(namespace, count, objects, runs = ?some, "what a bucket had of Runs that there are no more was removed");
    }
    Ok(())
}

async fn of_bucket<T: Send + 'static>(
    bucket: &Bucket,
    work: impl FnOnce(&Bucket, &Stop) -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let bucket = bucket.clone();
    let worked = spawn_blocking(move || work(&bucket, &Stop::within(WITHIN)));
    worked.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Error::Store)
}

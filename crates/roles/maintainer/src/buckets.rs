//! Buckets: what crashes and Runs that were deleted without their pod have left in them, looked for again and again.
//!
//! A bucket may be others' too: what is removed says of itself that it is of this cluster (ADR 9). A store that does not answer keeps
//! no Run waiting that is to be let go: this is a task of its own.

use crate::stores::{OpenError, Stores};
use crate::sweep::{EVERY, SHOWN, uids};
use futures::{StreamExt, stream};
use kruntimes_api::ArtifactStore;
use kruntimes_artifacts::{Bucket, Own, Place, Stop, Store};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::artifact::{self, Stretch};
use kube::Client;
use std::collections::BTreeMap;
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

/// Which bucket for which namespace, and whether artifacts or logs.
type Key = (String, String, bool);

/// Looks for ever.
pub(crate) async fn serve(stores: &Stores, client: &Client) {
    let mut stretches: BTreeMap<Key, Stretch> = BTreeMap::new();
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
        let key = |namespace: &str, named: &ArtifactStore, is_log| {
            (namespace.to_owned(), artifact::store_hash(named), is_log)
        };
        let mut before = std::mem::take(&mut stretches);
        for (namespace, named) in &named {
            for is_log in [false, true] {
                let key = key(namespace, named, is_log);
                let mut stretch = before.remove(&key).unwrap_or_default();
                let looked = look(stores, client, namespace, named, is_log, &mut stretch).await;
                if let Err(error) = looked {
                    let bucket = artifact::bucket(named).map(|bucket| bucket.bucket.as_str());
                    tracing::warn!(namespace, bucket, error = %Chain(&error), "what a bucket has of Runs that there are no more stays");
                }
                stretches.insert(key, stretch);
            }
        }
    }
}

async fn look(
    stores: &Stores,
    client: &Client,
    namespace: &str,
    named: &ArtifactStore,
    is_log: bool,
    stretch: &mut Stretch,
) -> Result<(), Error> {
    let store = stores.open(namespace, named).await?;
    let Store::Bucket(bucket) = (if is_log { store.logs() } else { store }) else { return Ok(()) };
    if !bucket.marks() {
        return Ok(());
    }
    let (own, from) = (namespace.to_owned(), stretch.from().map(str::to_owned));
    let listed =
        of_bucket(&bucket, move |bucket, stop| bucket.runs(&own, from.as_deref(), PAGES, stop));
    let listed = listed.await?;
    // After the bucket: a Run is there before its objects are.
    let known = match listed.run_uids.is_empty() {
        true => std::collections::BTreeSet::new(),
        false => uids(&stores.runs_of(client, namespace)).await.map_err(Error::Runs)?,
    };
    let mut orphans = stretch.orphans(listed.run_uids, listed.next, |uid| known.contains(uid));
    orphans.truncate(REMOVED);
    let removing = stream::iter(orphans).map(|uid| {
        let (own, run_uid) = (namespace.to_owned(), uid.clone());
        let removing = of_bucket(&bucket, move |bucket, stop| {
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
        let (count, runs) = (removed.len(), &removed[..removed.len().min(SHOWN)]);
        tracing::info!(
            namespace,
            count,
            objects,
            ?runs,
            is_log,
            "what a bucket had of Runs that there are no more was removed"
        );
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

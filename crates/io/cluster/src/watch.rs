//! Watches as streams of observations.
//!
//! Invariants: an object that can't be read is reported as gone and logged, never an end of the watch; after a
//! relist every object that disappeared meanwhile is reported as gone.

use crate::readable::Readable;
use futures::{StreamExt, pin_mut};
pub use kruntimes_rules::observed::{ObjectKey, Observed};
use kube::api::Api;
use kube::core::Resource;
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use tokio::sync::mpsc;

/// Sends what a watch shows, wrapped, to `events` until its receiver is gone. The watch resumes by itself.
pub async fn forward<K, E>(
    api: Api<Readable<K>>,
    config: watcher::Config,
    events: mpsc::Sender<E>,
    wrap: impl Fn(Observed<K>) -> E,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    Readable<K>: Resource,
{
    let stream = watcher(api, config).default_backoff();
    pin_mut!(stream);
    let mut known = Known::default();
    while let Some(event) = stream.next().await {
        let observations = match event {
            Ok(event) => known.observe(event),
            Err(error) => {
                tracing::warn!(kind = %std::any::type_name::<K>(), error = %Chain(&error), "watch interrupted");
                vec![Observed::Interrupted]
            }
        };
        for observed in observations {
            if events.send(wrap(observed)).await.is_err() {
                return;
            }
        }
    }
}

/// The keys that were shown, to find what a relist no longer shows.
#[derive(Debug, Default)]
struct Known {
    shown: BTreeSet<ObjectKey>,
    listing: BTreeSet<ObjectKey>,
}

impl Known {
    fn observe<K>(&mut self, event: watcher::Event<Readable<K>>) -> Vec<Observed<K>>
    where
        K: Resource,
        Readable<K>: Resource,
    {
        match event {
            watcher::Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            watcher::Event::InitApply(guard) => {
                self.listing.insert(ObjectKey::of(&guard));
                vec![self.applied(guard)]
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                let former = std::mem::replace(&mut self.shown, listed);
                former
                    .difference(&self.shown)
                    .cloned()
                    .map(Observed::Gone)
                    .chain([Observed::Synced])
                    .collect()
            }
            watcher::Event::Apply(guard) => vec![self.applied(guard)],
            watcher::Event::Delete(guard) => {
                let key = ObjectKey::of(&guard);
                self.shown.remove(&key);
                vec![Observed::Gone(key)]
            }
        }
    }

    fn applied<K>(&mut self, guard: Readable<K>) -> Observed<K>
    where
        Readable<K>: Resource,
    {
        let key = ObjectKey::of(&guard);
        self.shown.insert(key.clone());
        match guard.0 {
            Ok(object) => Observed::Applied(object),
            Err(invalid) => {
                tracing::warn!(
                    namespace = key.namespace,
                    name = key.name,
                    error = invalid.error,
                    "an object can't be read and is left alone"
                );
                Observed::Gone(key)
            }
        }
    }
}

/// An error with its sources, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

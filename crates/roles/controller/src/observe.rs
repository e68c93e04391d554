//! What the loops share: queues, retries, deletions, and errors that are no reason to stop.

use jiff::Timestamp;
use kube::api::{Api, DeleteParams, Preconditions, PropagationPolicy};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Observations that wait for a loop; beyond it the watches wait.
pub(crate) const EVENT_QUEUE: usize = 1024;
/// Who writes, as managed fields name it.
pub(crate) const MANAGER: &str = "kruntimes-controller";
/// First wait after a failed pass; doubled up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// At least a millisecond: a clock that stands still must not make a busy loop.
pub(crate) fn wait_until(deadline: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(deadline.duration_since(now))
        .unwrap_or_default()
        .max(Duration::from_millis(1))
}

/// Names whose pass failed, each with a wait of its own: one bad object never holds up another.
#[derive(Debug)]
pub(crate) struct Retries<K> {
    waits: BTreeMap<K, (Instant, Duration)>,
}

impl<K: Ord + Clone> Retries<K> {
    pub(crate) fn new() -> Self {
        Self { waits: BTreeMap::new() }
    }

    pub(crate) fn failed(&mut self, key: K) {
        let wait = self.waits.get(&key).map_or(RETRY_FIRST, |(_, wait)| (*wait * 2).min(RETRY_MAX));
        self.waits.insert(key, (Instant::now() + wait, wait));
    }

    pub(crate) fn succeeded(&mut self, key: &K) {
        self.waits.remove(key);
    }

    /// It is being tried again: until that is answered it has no turn.
    pub(crate) fn postpone(&mut self, key: &K) {
        if let Some((at, _)) = self.waits.get_mut(key) {
            *at = Instant::now() + RETRY_MAX;
        }
    }

    /// The next name to try again; waits for it, for ever when there is none.
    pub(crate) async fn next(&self) -> K {
        let next = self.waits.iter().min_by_key(|(_, (at, _))| *at);
        match next {
            Some((key, (at, _))) => {
                tokio::time::sleep_until(*at).await;
                key.clone()
            }
            None => std::future::pending().await,
        }
    }
}

/// Deletes this object and none that has its name by now; one that is gone is deleted. What belongs to it follows.
pub(crate) async fn delete<K>(
    objects: &Api<K>,
    name: &str,
    uid: Option<String>,
) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match objects.delete(name, &parameters).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        deleted => deleted.map(drop),
    }
}

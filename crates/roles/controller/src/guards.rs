//! Runs that are about to keep artifacts get their finalizer, before anything is kept.
//!
//! A guard stands on the version that it was decided on: when another write came between, the watch shows that one.

use crate::observe::MANAGER;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kruntimes_api::Run;
use kruntimes_cluster::watch::{Chain, ObjectKey};
use kruntimes_daemon::crash;
use kruntimes_rules::artifact::{Guard, guard};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

/// Guards on their way at once.
const AT_ONCE: usize = 64;
/// A guard is tried so often; after that runtimed has given up waiting for it.
const TRIES: u32 = 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The guards that are to be set.
pub(crate) struct Guards {
    client: Client,
    /// What was decided last for each Run; none while nothing came after what is on its way.
    wanted: BTreeMap<ObjectKey, Option<Guard>>,
    waiting: Vec<ObjectKey>,
    under_way: FuturesUnordered<futures::future::BoxFuture<'static, ObjectKey>>,
}

impl Guards {
    pub(crate) fn new(client: Client) -> Self {
        let (wanted, waiting) = (BTreeMap::new(), Vec::new());
        Self { client, wanted, waiting, under_way: FuturesUnordered::new() }
    }

    /// A watch shows the Run.
    pub(crate) fn see(&mut self, run: &Run) {
        let Some(guard) = guard(run) else { return };
        let key = ObjectKey::of(run);
        let known = self.wanted.insert(key.clone(), Some(guard)).is_some();
        if !known {
            self.waiting.push(key);
        }
        self.start();
    }

    /// Goes on with what is under way; for ever when there is nothing.
    pub(crate) async fn next(&mut self) {
        match self.under_way.next().await {
            Some(key) => {
                if self.wanted.get(&key).is_some_and(Option::is_some) {
                    self.waiting.push(key);
                } else {
                    self.wanted.remove(&key);
                }
                self.start();
            }
            None => std::future::pending().await,
        }
    }

    fn start(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(key) = self.waiting.pop()
        {
            if let Some(guard) = self.wanted.get_mut(&key).and_then(Option::take) {
                self.under_way.push(Box::pin(set(self.client.clone(), key, guard)));
            }
        }
    }
}

async fn set(client: Client, key: ObjectKey, guard: Guard) -> ObjectKey {
    let runs: Api<Run> = Api::namespaced(client, &key.namespace);
    let parameters =
        PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(guard.body);
    let mut pause = FIRST_PAUSE;
    crash::point("controller-guarding");
    for _ in 0..TRIES {
        match runs.patch(&key.name, &parameters, &patch).await {
            Ok(_) => return key,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => return key,
            Err(error) => {
                let (namespace, name) = (&key.namespace, &key.name);
                tracing::warn!(namespace, name, error = %Chain(&error), "a Run with artifacts has no finalizer yet");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    key
}

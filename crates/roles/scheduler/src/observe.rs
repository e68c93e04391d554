//! What the scheduler watches: Runs that have not ended, Runtime pods and those of their Leases that are broken, Runtimes.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, Runtime, labels};
use kruntimes_cluster::watch::{ObjectKey, Observed, forward};
use kruntimes_rules::placement::{Board, PodView, PoolKey, RunKey, RuntimeView};
use kruntimes_rules::run::slim::slim;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const NOT_ENDED: &str =
    "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled";

/// One observation.
#[derive(Debug)]
pub(crate) enum Input {
    Run(Observed<Run>),
    Pod(Observed<Pod>),
    Runtime(Observed<Runtime>),
    Broken(Observed<Lease>),
}

/// Which watches have shown everything once, and what must be remembered of their objects.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    runs: bool,
    pods: bool,
    runtimes: bool,
    leases: bool,
    /// Pools of pods whose Lease is broken.
    broken: BTreeMap<ObjectKey, PoolKey>,
    pools: BTreeMap<ObjectKey, PoolKey>,
}

/// Watches until the receiver is gone.
pub(crate) async fn run(client: &Client, events: mpsc::Sender<Input>) {
    tokio::join!(
        forward(
            Api::all(client.clone()),
            watcher::Config::default().fields(NOT_ENDED),
            events.clone(),
            Input::Run,
        ),
        forward(
            Api::all(client.clone()),
            watcher::Config::default().labels(labels::RUNTIME),
            events.clone(),
            Input::Pod,
        ),
        forward(
            Api::all(client.clone()),
            watcher::Config::default(),
            events.clone(),
            Input::Runtime
        ),
        forward(
            Api::all(client.clone()),
            watcher::Config::default().labels(labels::BROKEN),
            events,
            Input::Broken,
        ),
    );
}

impl Watches {
    /// Deciding on less than everything would put Runs on pods that are full.
    pub(crate) fn all_synced(&self) -> bool {
        self.runs && self.pods && self.runtimes && self.leases
    }

    pub(crate) fn apply(
        &mut self,
        input: Input,
        board: &mut Board,
        now: Duration,
        wall: Timestamp,
    ) {
        match input {
            Input::Run(Observed::Applied(run)) => board.set_run(Arc::new(slim(run)), now, wall),
            Input::Run(Observed::Gone(key)) => {
                board.drop_run(&RunKey { namespace: key.namespace, name: key.name });
            }
            Input::Run(Observed::Interrupted)
            | Input::Pod(Observed::Interrupted)
            | Input::Runtime(Observed::Interrupted)
            | Input::Broken(Observed::Interrupted) => {}
            Input::Run(Observed::Synced) => self.runs = true,
            Input::Pod(Observed::Applied(pod)) => self.set_pod(&pod, board),
            Input::Pod(Observed::Gone(key)) => {
                if let Some(pool) = self.pools.remove(&key) {
                    board.drop_pod(&pool, &key.name);
                }
            }
            Input::Pod(Observed::Synced) => self.pods = true,
            Input::Runtime(Observed::Applied(runtime)) => board.set_runtime(
                PoolKey {
                    namespace: runtime.namespace().unwrap_or_default(),
                    runtime: runtime.name_any(),
                },
                RuntimeView::of(&runtime),
            ),
            Input::Runtime(Observed::Gone(key)) => {
                let pool = PoolKey { namespace: key.namespace, runtime: key.name };
                board.set_runtime(pool, RuntimeView::Gone);
            }
            Input::Runtime(Observed::Synced) => self.runtimes = true,
            Input::Broken(Observed::Applied(lease)) => self.set_broken(&lease, board),
            Input::Broken(Observed::Gone(key)) => {
                if let Some(pool) = self.broken.remove(&key) {
                    board.mend_pod(pool, &key.name);
                }
            }
            Input::Broken(Observed::Synced) => self.leases = true,
        }
    }

    fn set_broken(&mut self, lease: &Lease, board: &mut Board) {
        let Some(runtime) = lease.labels().get(labels::RUNTIME).cloned() else { return };
        let key = ObjectKey::of(lease);
        let pool = PoolKey { namespace: key.namespace.clone(), runtime };
        if let Some(former) = self.broken.insert(key.clone(), pool.clone())
            && former != pool
        {
            board.mend_pod(former, &key.name);
        }
        board.bar_pod(pool, &key.name);
    }

    fn set_pod(&mut self, pod: &Pod, board: &mut Board) {
        let Some(view) = PodView::of(pod) else { return };
        let key = ObjectKey { namespace: view.pool.namespace.clone(), name: view.pod.name.clone() };
        if let Some(former) = self.pools.insert(key, view.pool.clone())
            && former != view.pool
        {
            board.drop_pod(&former, &view.pod.name);
        }
        board.set_pod(&view);
    }
}

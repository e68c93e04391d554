//! What all attempts of this pod share.

use crate::archive::Archive;
use crate::artifacts::Artifacts;
use crate::inputs::Slots as InputSlots;
use crate::journal::Journal;
use crate::lease::Lease;
use crate::lines::LineSink;
use crate::mounted::Mounted;
use crate::registry::Registry;
use crate::runtime::RuntimeServer;
use crate::slots::Slots;
use crate::source::Sources;
use crate::spool::Spool;
use crate::workspace::Workspaces;
use kruntimes_api::Run;
use kruntimes_cluster::events::Recorder;
use kruntimes_rules::run::limits::Limits;
use kube::Api;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A Cancel that stays unanswered for so long makes the Runtime Server count as dead.
const CANCEL_WITHIN: Duration = Duration::from_secs(10);

/// What all attempts of this pod share.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) runs: Api<Run>,
    pub(crate) recorder: Recorder,
    pub(crate) server: RuntimeServer,
    pub(crate) registry: Registry,
    pub(crate) spool: Spool,
    pub(crate) sink: LineSink,
    pub(crate) journal: Journal,
    pub(crate) lease: Lease,
    pub(crate) workspaces: Workspaces,
    /// Where artifacts are kept; nowhere if there is none.
    pub(crate) artifacts: Option<Artifacts>,
    /// Workspaces that artifacts of earlier Runs are put into.
    pub(crate) inputs: Arc<InputSlots>,
    /// Where logs of attempts that ended are kept; nowhere if there is none.
    pub(crate) archive: Option<Arc<Archive>>,
    pub(crate) sources: Sources,
    pub(crate) mounted: Mounted,
    pub(crate) slots: Slots,
    pub(crate) cancels: Cancels,
    /// What a Run may use that says nothing else.
    pub(crate) run_limits: Limits,
    /// Whether the Runs of this pod have been listed once.
    pub(crate) synced: watch::Sender<bool>,
    /// Whether the pod ends: its Runtime Server ends beside, with all that it remembers.
    pub(crate) leaving: watch::Sender<bool>,
    /// How far the pod is on its way to its end.
    pub(crate) drain: watch::Sender<Drain>,
}

/// How far a pod is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Drain {
    /// It takes Runs.
    No,
    /// It takes no more, and some have not ended.
    Asked,
    /// All have ended.
    Done,
    /// The kubelet has been told so: it ends the Runtime Server next.
    Told,
}

impl Pod {
    /// Goes on to a later stage; nothing leads back.
    pub(crate) fn drain_to(&self, stage: Drain) {
        self.drain.send_if_modified(|drain| {
            let later = stage > *drain;
            *drain = stage.max(*drain);
            later
        });
    }

    /// Resolves when the pod is at this stage or beyond.
    pub(crate) async fn drained_to(&self, stage: Drain) {
        // The sender lives as long as this.
        drop(self.drain.subscribe().wait_for(|drain| *drain >= stage).await);
    }

    pub(crate) fn synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Resolves when the pod ends.
    pub(crate) async fn left(&self) {
        // The sender lives as long as this.
        drop(self.leaving.subscribe().wait_for(|leaving| *leaving).await);
    }
}

/// Cancels that are not answered yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancels(Arc<Mutex<BTreeMap<String, Instant>>>);

impl Cancels {
    pub(crate) fn begin(&self, uid: &str) -> OpenCancel {
        self.lock().entry(uid.to_owned()).or_insert_with(Instant::now);
        OpenCancel { cancels: self.clone(), uid: uid.to_owned() }
    }

    /// A Run whose Cancel has been open for too long.
    pub(crate) fn overdue(&self) -> Option<String> {
        let open = self.lock();
        let late = open.iter().find(|(_, since)| since.elapsed() >= CANCEL_WITHIN);
        late.map(|(uid, _)| uid.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts as answered when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenCancel {
    cancels: Cancels,
    uid: String,
}

impl Drop for OpenCancel {
    fn drop(&mut self) {
        self.cancels.lock().remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cancel_is_overdue_after_ten_seconds_until_it_is_answered() {
        let cancels = Cancels::default();
        let open = cancels.begin("u");
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(cancels.overdue(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cancels.overdue().as_deref(), Some("u"));
        drop(open);
        assert_eq!(cancels.overdue(), None);
    }
}

//! Runs that are being taken from their pods: each until its write is accepted, or the Run is seen to be another one.

use super::Request;
use crate::placement::RunKey;
use kruntimes_api::{Reason, Run};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// First wait after a write that did not come about; doubled up to [`RETRY_MAX`].
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(100);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Take {
    run: Arc<Run>,
    reason: Reason,
    message: String,
    wait: Duration,
    /// When it is sent; nothing while it is under way.
    at: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Takes {
    takes: BTreeMap<RunKey, Take>,
    timers: BTreeSet<(Duration, RunKey)>,
}

impl Takes {
    pub(super) fn contains(&self, key: &RunKey) -> bool {
        self.takes.contains_key(key)
    }

    pub(super) fn begin(&mut self, run: Arc<Run>, reason: Reason, message: String, now: Duration) {
        let key = RunKey::of(&run);
        self.timers.insert((now, key.clone()));
        self.takes.insert(key, Take { run, reason, message, wait: RETRY_FIRST, at: Some(now) });
    }

    /// The Run is not what was remembered any more.
    pub(super) fn cancel(&mut self, key: &RunKey) {
        if let Some(Take { at: Some(at), .. }) = self.takes.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    pub(super) fn next(&mut self, now: Duration) -> Option<Request> {
        if self.timers.first()?.0 > now {
            return None;
        }
        let (_, key) = self.timers.pop_first()?;
        let take = self.takes.get_mut(&key)?;
        take.at = None;
        let (run, message) = (Arc::clone(&take.run), take.message.clone());
        Some(Request::Take { run, reason: take.reason, message })
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The write of this version was accepted.
    pub(super) fn done(&mut self, key: &RunKey, version: Option<&str>) -> bool {
        let found = self.under_way(key, version).is_some();
        if found {
            self.takes.remove(key);
        }
        found
    }

    /// The write of this version did not come about.
    pub(super) fn again(&mut self, key: &RunKey, version: Option<&str>, now: Duration) {
        let Some(take) = self.under_way(key, version) else { return };
        let at = now + take.wait;
        take.at = Some(at);
        take.wait = (take.wait * 2).min(RETRY_MAX);
        self.timers.insert((at, key.clone()));
    }

    fn under_way(&mut self, key: &RunKey, version: Option<&str>) -> Option<&mut Take> {
        let take = self.takes.get_mut(key)?;
        let same = take.run.resource_version().as_deref() == version;
        (same && take.at.is_none()).then_some(take)
    }
}

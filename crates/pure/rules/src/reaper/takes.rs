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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(version: &str) -> Arc<Run> {
        let metadata = json!({"name": "r", "namespace": "n", "resourceVersion": version});
        let run = json!({"metadata": metadata, "spec": {"runtime": "bash"}});
        Arc::new(serde_json::from_value(run).unwrap())
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_take_is_sent_once_and_again_after_growing_waits_until_it_is_done() {
        let (mut takes, key) = (Takes::default(), RunKey::of(&run("7")));
        takes.begin(run("7"), Reason::PodGone, "gone".to_owned(), at(0));
        assert!(takes.contains(&key) && takes.deadline() == Some(at(0)));
        let (mut now, mut wait) = (at(0), RETRY_FIRST);
        for _ in 0..12 {
            assert!(takes.next(now).is_some());
            assert!(takes.next(now).is_none(), "it is under way");
            takes.again(&key, Some("6"), now);
            assert_eq!(takes.deadline(), None, "that was another write");
            takes.again(&key, Some("7"), now);
            assert_eq!(takes.deadline(), Some(now + wait));
            assert!(takes.next(now + wait - at(1)).is_none());
            now += wait;
            wait = (wait * 2).min(RETRY_MAX);
        }
        assert_eq!(wait, RETRY_MAX);
        assert!(!takes.done(&key, Some("7")), "it is not under way");
        assert!(takes.next(now).is_some());
        assert!(!takes.done(&key, Some("6")) && takes.contains(&key));
        assert!(takes.done(&key, Some("7")) && !takes.contains(&key));
        assert!(!takes.done(&key, Some("7")));
    }

    #[test]
    fn a_cancelled_take_is_not_sent() {
        let (mut takes, key) = (Takes::default(), RunKey::of(&run("7")));
        takes.begin(run("7"), Reason::PodGone, "gone".to_owned(), at(5));
        takes.cancel(&key);
        assert!(takes.next(at(9)).is_none() && takes.deadline().is_none());
    }
}

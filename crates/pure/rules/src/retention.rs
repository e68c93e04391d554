//! Which Runs, and which Workflows, that ended are deleted, and when.
//!
//! One with `ttlSecondsAfterFinished` goes that long after its end, 0 keeps it for ever; without the field the
//! default holds, and above a count the oldest go first.

use crate::placement::RunKey;
use jiff::{SignedDuration, Timestamp};
use kruntimes_api::{Run, Workflow};
use kube::core::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What holds for Runs without a TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long they are kept; `None` keeps them for ever.
    pub default_ttl: Option<Duration>,
    /// How many of them are kept; `None` keeps all.
    pub max_runs: Option<usize>,
}

/// A Run to delete: only this very object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Which Run.
    pub key: RunKey,
    /// Its UID, the precondition of the deletion.
    pub uid: String,
}

#[derive(Debug)]
struct Kept {
    uid: String,
    ended: Timestamp,
    /// When its TTL ends; `None` keeps it for ever.
    until: Option<Timestamp>,
    counts: bool,
}

/// The Runs that ended.
#[derive(Debug)]
pub struct Retention {
    policy: Policy,
    runs: BTreeMap<RunKey, Kept>,
    by_end: BTreeSet<(Timestamp, RunKey)>,
    by_deadline: BTreeSet<(Timestamp, RunKey)>,
}

impl Retention {
    /// No Runs yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            runs: BTreeMap::new(),
            by_end: BTreeSet::new(),
            by_deadline: BTreeSet::new(),
        }
    }

    /// A Run ended, or its TTL changed.
    pub fn set(&mut self, run: &Run) {
        let completion = run.status.as_ref().and_then(|status| status.completion_time.as_ref());
        let ended = completion.map(|time| time.0).filter(|_| run.phase().is_terminal());
        let ttl = run.spec.ttl_seconds_after_finished;
        self.note(&run.metadata, ended, ttl);
    }

    /// A Workflow ended, or its TTL changed.
    pub fn set_workflow(&mut self, workflow: &Workflow) {
        let completion =
            workflow.status.as_ref().and_then(|status| status.completion_time.as_ref());
        let ended = completion.map(|time| time.0).filter(|_| workflow.phase().is_terminal());
        self.note(&workflow.metadata, ended, workflow.spec.ttl_seconds_after_finished);
    }

    fn note(&mut self, metadata: &ObjectMeta, ended: Option<Timestamp>, seconds: Option<i32>) {
        let key = RunKey {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        self.remove(&key);
        let (Some(uid), Some(ended)) = (metadata.uid.clone(), ended) else { return };
        if metadata.deletion_timestamp.is_some() {
            return;
        }
        let ttl = match seconds {
            Some(0) => None,
            Some(seconds) => Some(SignedDuration::from_secs(i64::from(seconds))),
            None => self.policy.default_ttl.and_then(|ttl| SignedDuration::try_from(ttl).ok()),
        };
        let until = ttl.and_then(|ttl| ended.checked_add(ttl).ok());
        let counts = seconds.is_none();
        if counts {
            self.by_end.insert((ended, key.clone()));
        }
        if let Some(until) = until {
            self.by_deadline.insert((until, key.clone()));
        }
        self.runs.insert(key, Kept { uid, ended, until, counts });
    }

    /// A Run is gone.
    pub fn remove(&mut self, key: &RunKey) {
        if let Some(kept) = self.runs.remove(key) {
            if kept.counts {
                self.by_end.remove(&(kept.ended, key.clone()));
            }
            if let Some(until) = kept.until {
                self.by_deadline.remove(&(until, key.clone()));
            }
        }
    }

    /// When the next TTL ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let (at, _) = self.by_deadline.first()?;
        Some(*at)
    }

    /// The next Run to delete at `now`. It is forgotten: the watch shows it again should the deletion fail.
    pub fn next(&mut self, now: Timestamp) -> Option<Deletion> {
        let expired = self.by_deadline.first().filter(|(until, _)| *until <= now);
        let surplus = self
            .policy
            .max_runs
            .filter(|max| self.by_end.len() > *max)
            .and_then(|_| self.by_end.first());
        let (_, key) = expired.or(surplus)?;
        let key = key.clone();
        let uid = self.runs.get(&key)?.uid.clone();
        self.remove(&key);
        Some(Deletion { key, uid })
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;

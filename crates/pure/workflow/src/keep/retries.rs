//! What is tried again, each with a wait of its own that doubles: one bad object never holds up another.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// First wait; doubled up to [`LONGEST`].
const FIRST: SignedDuration = SignedDuration::from_millis(100);
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// What failed, and when it is tried again.
#[derive(Debug)]
pub(super) struct Retries<K> {
    waits: BTreeMap<K, (Timestamp, SignedDuration)>,
}

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self { waits: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Retries<K> {
    pub(super) fn failed(&mut self, key: K, now: Timestamp) {
        let wait = self.waits.get(&key).map_or(FIRST, |(_, wait)| (*wait * 2).min(LONGEST));
        self.waits.insert(key, (later(now, wait), wait));
    }

    pub(super) fn succeeded(&mut self, key: &K) {
        self.waits.remove(key);
    }

    /// It is being tried again: until that is answered it has no turn.
    pub(super) fn postpone(&mut self, key: &K, now: Timestamp) {
        if let Some((at, _)) = self.waits.get_mut(key) {
            *at = later(now, LONGEST);
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.waits.values().map(|(at, _)| *at).min()
    }

    /// One whose time has come.
    pub(super) fn next(&self, now: Timestamp) -> Option<K> {
        let next = self.waits.iter().min_by_key(|(_, (at, _))| *at);
        next.filter(|(_, (at, _))| *at <= now).map(|(key, _)| key.clone())
    }
}

fn later(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

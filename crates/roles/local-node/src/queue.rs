//! Names of objects to look at, each at most once: what wakes a controller.
//!
//! Invariant: a key is handed out by one worker at a time; a push while it is worked on is kept for the next turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// First wait after a failure; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest wait after a failure.
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The queue of one controller.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<Key>,
    ready: BTreeSet<Key>,
    later: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
}

impl Queue {
    /// Asks for a look at `key` as soon as possible.
    pub(crate) fn push(&self, key: Key) {
        let mut state = self.lock();
        state.later.remove(&key);
        if state.ready.insert(key.clone()) {
            state.order.push_back(key);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Asks for a look at `key` after a while, unless an earlier one is planned.
    pub(crate) fn push_after(&self, key: Key, wait: Duration) {
        let due = Instant::now() + wait;
        let mut state = self.lock();
        if !state.ready.contains(&key) {
            let planned = state.later.entry(key).or_insert(due);
            *planned = due.min(*planned);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Notes a failure and plans the next look, later each time.
    pub(crate) fn failed(&self, key: Key) {
        let mut state = self.lock();
        let count = state.failures.entry(key.clone()).or_default();
        let wait = RETRY_FIRST.saturating_mul(1 << (*count).min(16)).min(RETRY_LAST);
        *count = count.saturating_add(1);
        drop(state);
        self.push_after(key, wait);
    }

    /// Forgets the failures of `key`.
    pub(crate) fn succeeded(&self, key: &Key) {
        self.lock().failures.remove(key);
    }

    /// The next key, when there is one.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let due = {
                let mut state = self.lock();
                state.promote(Instant::now());
                if let Some(key) = state.order.pop_front() {
                    state.ready.remove(&key);
                    return key;
                }
                state.later.values().min().copied()
            };
            let changed = self.changed.notified();
            match due {
                Some(due) => {
                    // Either way the loop looks again.
                    drop(tokio::time::timeout_at(due, changed).await);
                }
                None => changed.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn promote(&mut self, now: Instant) {
        let due: Vec<Key> =
            self.later.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.later.remove(&key);
            if self.ready.insert(key.clone()) {
                self.order.push_back(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "default".to_owned(), name: name.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_come_once_and_in_order() {
        let queue = Queue::default();
        for name in ["b", "a", "b"] {
            queue.push(key(name));
        }
        assert_eq!(queue.next().await, key("b"));
        assert_eq!(queue.next().await, key("a"));
        let idle = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await;
        assert!(idle.is_err(), "a key came twice");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_and_success_forgets_them() {
        let queue = Queue::default();
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.failed(key("a"));
            queue.next().await;
            waits.push(start.elapsed().as_millis());
        }
        queue.succeeded(&key("a"));
        let start = Instant::now();
        queue.failed(key("a"));
        queue.next().await;
        waits.push(start.elapsed().as_millis());
        // The paused clock has a granularity of one millisecond.
        let rounded: Vec<u128> = waits.iter().map(|wait| wait / 10 * 10).collect();
        assert_eq!(rounded, [50, 100, 200, 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_overtakes_a_planned_look() {
        let queue = Queue::default();
        queue.push_after(key("a"), Duration::from_secs(60));
        queue.push(key("a"));
        let start = Instant::now();
        queue.next().await;
        assert!(start.elapsed() < Duration::from_secs(1));
        let idle = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await;
        assert!(idle.is_err(), "the planned look came too");
    }
}

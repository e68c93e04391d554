//! The bounded queue of one watch: in events and in bytes. A watch that falls behind loses all of it at once.
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::hub::Delivery;

/// How many events a watch may be behind.
pub(crate) const MAX_EVENTS: usize = 4096;
/// How many bytes of events a watch may be behind; one event may be larger.
pub(crate) const MAX_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; false, and the queue is closed and empty, if it would be too much.
    pub(crate) fn push(&self, delivery: Delivery) -> bool {
        let weight = delivery.0.weight();
        let mut waiting = self.waiting();
        let full = waiting.deliveries.len() == MAX_EVENTS
            || (!waiting.deliveries.is_empty() && waiting.bytes + weight > MAX_BYTES);
        if waiting.closed || full {
            *waiting = Waiting { closed: true, ..Waiting::default() };
        } else {
            waiting.bytes += weight;
            waiting.deliveries.push_back(delivery);
        }
        let open = !waiting.closed;
        drop(waiting);
        self.changed.notify_one();
        open
    }

    /// Ends the queue; what waits is still given out.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    /// The next event, if one waits.
    pub(crate) fn try_next(&self) -> Option<Delivery> {
        let mut waiting = self.waiting();
        let delivery = waiting.deliveries.pop_front()?;
        waiting.bytes -= delivery.0.weight();
        Some(delivery)
    }

    /// The next event; `None` once the queue is closed and empty.
    pub(crate) async fn next(&self) -> Option<Delivery> {
        loop {
            let changed = self.changed.notified();
            if let Some(delivery) = self.try_next() {
                return Some(delivery);
            }
            if self.waiting().closed {
                return self.try_next();
            }
            changed.await;
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().deliveries.is_empty()
    }
}

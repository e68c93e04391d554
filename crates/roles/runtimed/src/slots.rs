//! Admission: what of this pod's capacity is taken, and who waits for it.
//!
//! The scheduler counts too, but what it saw may be old. Invariant: what is held is never more than the capacity, but for
//! Runs that execute already when runtimed starts. The oldest that fits is next; whoever waits too long is handed back.

use kruntimes_rules::capacity::Resources;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The capacity of this pod.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    capacity: Resources,
    used: Resources,
    waiting: BTreeMap<u64, Waiter>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    request: Arc<Resources>,
    granted: oneshot::Sender<Held>,
}

/// A part of the capacity; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    slots: Slots,
    request: Arc<Resources>,
}

impl Slots {
    pub(crate) fn new(capacity: Resources) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            capacity,
            used: Resources::runs(0),
            waiting: BTreeMap::new(),
            next: 0,
        })))
    }

    /// What is requested, or where it will come; dropping that gives the place in the queue back.
    pub(crate) fn acquire(&self, request: Arc<Resources>) -> Result<Held, oneshot::Receiver<Held>> {
        let mut inner = self.lock();
        if inner.capacity.holds_beside(&inner.used, &request) {
            inner.used.add(&request);
            return Ok(Held { slots: self.clone(), request });
        }
        let (granted, receiver) = oneshot::channel();
        let place = inner.next;
        inner.next += 1;
        inner.waiting.retain(|_, waiter| !waiter.granted.is_closed());
        inner.waiting.insert(place, Waiter { request, granted });
        Err(receiver)
    }

    /// What a Run takes that executes already, whether it is free or not.
    pub(crate) fn take_now(&self, request: Arc<Resources>) -> Held {
        self.lock().used.add(&request);
        Held { slots: self.clone(), request }
    }

    /// The whole capacity, whatever is held: nobody is admitted until it is given back.
    pub(crate) fn take_all(&self) -> Held {
        let capacity = self.lock().capacity.clone();
        self.take_now(Arc::new(capacity))
    }

    /// Gives back, and gives on.
    fn release(&self, request: &Resources) {
        let mut granted = Vec::new();
        {
            let mut guard = self.lock();
            let inner = &mut *guard;
            inner.used.subtract(request);
            for (place, waiter) in mem::take(&mut inner.waiting) {
                if waiter.granted.is_closed() {
                    continue;
                }
                if inner.capacity.holds_beside(&inner.used, &waiter.request) {
                    inner.used.add(&waiter.request);
                    granted.push(waiter);
                } else {
                    inner.waiting.insert(place, waiter);
                }
            }
        }
        for Waiter { request, granted } in granted {
            // Dropped here when nobody waits any more, which gives it to the next.
            drop(granted.send(Held { slots: self.clone(), request }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.slots.release(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(runs: u32, gpu: u64) -> Arc<Resources> {
        Arc::new(Resources::runs(runs).with("gpu", gpu))
    }

    fn slots() -> Slots {
        Slots::new(Resources::runs(4).with("gpu", 2))
    }

    #[test]
    fn no_resource_is_given_out_beyond_the_capacity() {
        let slots = slots();
        let gpus = slots.acquire(ask(1, 2)).unwrap();
        let mut waits = slots.acquire(ask(1, 1)).unwrap_err();
        let _runs = slots.acquire(ask(3, 0)).unwrap();
        let mut last = slots.acquire(ask(1, 0)).unwrap_err();
        assert!(waits.try_recv().is_err() && last.try_recv().is_err());
        drop(gpus);
        let _held = waits.try_recv().unwrap();
        assert!(last.try_recv().is_err(), "the slot went to the older one");
    }

    #[test]
    fn a_small_one_passes_a_big_one_and_what_exceeds_everything_waits() {
        let slots = slots();
        let most = slots.acquire(ask(3, 0)).unwrap();
        let mut big = slots.acquire(ask(4, 0)).unwrap_err();
        let mut never = slots.acquire(ask(5, 0)).unwrap_err();
        let mut other = slots.acquire(Arc::new(Resources::runs(1).with("tpu", 1))).unwrap_err();
        let small = slots.acquire(ask(1, 0)).unwrap();
        drop(most);
        assert!(big.try_recv().is_err());
        drop(small);
        drop(big.try_recv().unwrap());
        assert!(never.try_recv().is_err() && other.try_recv().is_err());
    }

    #[test]
    fn who_waits_no_longer_takes_nothing() {
        let slots = slots();
        let all = slots.acquire(ask(4, 2)).unwrap();
        let left = slots.acquire(ask(4, 2)).unwrap_err();
        let mut next = slots.acquire(ask(4, 2)).unwrap_err();
        drop(left);
        drop(all);
        drop(next.try_recv().unwrap());
        let all = slots.acquire(ask(4, 2)).unwrap();
        let mut late = slots.acquire(ask(1, 0)).unwrap_err();
        drop(all);
        // Granted, but never looked at.
        assert!(!late.is_empty());
        late.close();
        drop(late);
        assert!(slots.acquire(ask(4, 2)).is_ok());
    }

    #[test]
    fn nobody_is_admitted_while_all_is_taken() {
        let slots = slots();
        let _executes = slots.take_now(ask(1, 0));
        let (first, second) = (slots.take_all(), slots.take_all());
        let mut waits = slots.acquire(ask(1, 0)).unwrap_err();
        drop(first);
        assert!(waits.try_recv().is_err());
        drop(second);
        assert!(waits.try_recv().is_ok());
    }

    #[test]
    fn what_executes_already_counts_even_beyond_the_capacity() {
        let slots = slots();
        let first = slots.take_now(ask(4, 0));
        let second = slots.take_now(ask(4, 0));
        let mut waits = slots.acquire(ask(1, 0)).unwrap_err();
        drop(first);
        assert!(waits.try_recv().is_err());
        drop(second);
        assert!(waits.try_recv().is_ok());
    }
}

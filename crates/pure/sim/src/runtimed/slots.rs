//! Admission, as `roles/runtimed/src/slots.rs` does it: the oldest that fits is next.

use kruntimes_rules::capacity::Resources;
use kruntimes_rules::mutant::{self, Mutant};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The capacity of a pod.
#[derive(Debug)]
pub(super) struct Slots {
    capacity: Resources,
    used: Resources,
    waiting: BTreeMap<u64, (String, Arc<Resources>)>,
    next: u64,
}

impl Slots {
    pub(super) fn new(mut capacity: Resources) -> Self {
        if mutant::is(Mutant::CapacityOffByOne) {
            capacity.add(&Resources::one_run());
        }
        Self { capacity, used: Resources::runs(0), waiting: BTreeMap::new(), next: 0 }
    }

    pub(super) fn acquire(&mut self, uid: &str, request: &Arc<Resources>) -> bool {
        if self.capacity.holds_beside(&self.used, request) {
            self.used.add(request);
            return true;
        }
        self.waiting.insert(self.next, (uid.to_owned(), Arc::clone(request)));
        self.next += 1;
        false
    }

    pub(super) fn take_now(&mut self, request: &Resources) {
        self.used.add(request);
    }

    /// Nobody is admitted until it is given back.
    pub(super) fn take_all(&mut self) -> Resources {
        self.used.add(&self.capacity);
        self.capacity.clone()
    }

    pub(super) fn leave_queue(&mut self, uid: &str) {
        self.waiting.retain(|_, (waits, _)| waits != uid);
    }

    /// Gives back; the answer are those that get their slot by it.
    pub(super) fn release(&mut self, request: &Resources) -> Vec<String> {
        self.used.subtract(request);
        let mut granted = Vec::new();
        for (place, (uid, wants)) in std::mem::take(&mut self.waiting) {
            if self.capacity.holds_beside(&self.used, &wants) {
                self.used.add(&wants);
                granted.push(uid);
            } else {
                self.waiting.insert(place, (uid, wants));
            }
        }
        granted
    }
}

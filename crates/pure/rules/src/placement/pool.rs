//! The pods and the queue of one Runtime, ordered so that the best pod is the first.

use super::{PodHealth, PodRef, PodView, RunKey, Waiting};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Slots {
    uid: String,
    health: PodHealth,
    capacity: u32,
    used: u32,
}

impl Slots {
    fn free(&self) -> u32 {
        self.capacity.saturating_sub(self.used)
    }
}

/// Most free slots first, then least load, then the name.
type Rank = (Reverse<u32>, u32, String);

#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) runtime_exists: bool,
    pods: BTreeMap<String, Slots>,
    /// Slots taken on pods that the watch of pods does not show.
    unseen: BTreeMap<PodRef, u32>,
    ready: BTreeSet<Rank>,
    /// Pending Runs by the order in which they were seen.
    pub(super) queue: BTreeMap<u64, RunKey>,
}

impl Pool {
    pub(super) fn set_pod(&mut self, view: &PodView) {
        let PodRef { name, uid } = view.pod.clone();
        let used = match self.remove_pod(&name) {
            Some(former) if former.uid == uid => former.used,
            _ => self.unseen.remove(&view.pod).unwrap_or(0),
        };
        self.insert(name, Slots { uid, health: view.health, capacity: view.capacity, used });
    }

    /// Forgets a pod; its Runs go on counting, should the pod come back.
    pub(super) fn drop_pod(&mut self, name: &str) {
        if let Some(slots) = self.remove_pod(name)
            && slots.used > 0
        {
            self.unseen.insert(PodRef { name: name.to_owned(), uid: slots.uid }, slots.used);
        }
    }

    /// Takes a slot, whether the pod is known or not.
    pub(super) fn take(&mut self, pod: &PodRef) {
        self.change(pod, |used| used.saturating_add(1));
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, pod: &PodRef) {
        self.change(pod, |used| used.saturating_sub(1));
    }

    fn change(&mut self, pod: &PodRef, change: impl Fn(u32) -> u32) {
        let known = self.pods.get(&pod.name).is_some_and(|slots| slots.uid == pod.uid);
        if known && let Some(mut slots) = self.remove_pod(&pod.name) {
            slots.used = change(slots.used);
            self.insert(pod.name.clone(), slots);
            return;
        }
        match change(self.unseen.get(pod).copied().unwrap_or(0)) {
            0 => self.unseen.remove(pod),
            used => self.unseen.insert(pod.clone(), used),
        };
    }

    fn insert(&mut self, name: String, slots: Slots) {
        if slots.health == PodHealth::Ready {
            self.ready.insert(rank(&name, &slots));
        }
        self.pods.insert(name, slots);
    }

    fn remove_pod(&mut self, name: &str) -> Option<Slots> {
        let slots = self.pods.remove(name)?;
        self.ready.remove(&rank(name, &slots));
        Some(slots)
    }

    /// The best pod with a free slot.
    pub(super) fn best(&self) -> Option<PodRef> {
        let (Reverse(free), _, name) = self.ready.first()?;
        let slots = self.pods.get(name)?;
        (*free > 0).then(|| PodRef { name: name.clone(), uid: slots.uid.clone() })
    }

    /// Why the queue waits, when it does.
    pub(super) fn waiting(&self) -> Waiting {
        if !self.runtime_exists {
            Waiting::RuntimeNotFound
        } else if !self.ready.is_empty() {
            Waiting::NoCapacity
        } else if self.pods.values().any(|slots| slots.health == PodHealth::ImagePullFailed) {
            Waiting::ImagePullFailed
        } else {
            Waiting::NoReadyPods
        }
    }

    /// Whether nothing is known of the pool any more.
    pub(super) fn is_empty(&self) -> bool {
        !self.runtime_exists
            && self.pods.is_empty()
            && self.unseen.is_empty()
            && self.queue.is_empty()
    }
}

fn rank(name: &str, slots: &Slots) -> Rank {
    (Reverse(slots.free()), slots.used, name.to_owned())
}

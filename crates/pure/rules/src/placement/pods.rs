//! The pods of one Runtime, indexed so that the best pod for a request is the first of an ordered set.
//!
//! Requests of `runs` alone share one index; each other shape of request that is watched has one of its own, at most
//! [`WATCHED`] of them. Invariant: an index holds exactly the open pods that have all of its shape free. A pod is open when
//! it is ready, its Lease is not broken, and no assignment waits there for an answer.

use super::{PodHealth, PodRef, PodView};
use crate::capacity::Resources;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a Run requests, shared by all that request the same.
pub(super) type Shape = Arc<Resources>;

/// Shapes of a pool's waiting Runs that are looked at, beside one Run alone: a change of a pod costs one step each.
pub(super) const WATCHED: usize = 32;

/// Most free slots first, then least load, then the name.
type Rank = (Reverse<u64>, u64, Arc<str>);

#[derive(Debug)]
struct Slots {
    name: Arc<str>,
    uid: String,
    health: PodHealth,
    capacity: Resources,
    used: Resources,
}

impl Slots {
    fn rank(&self) -> Rank {
        let free = self.capacity.slots().saturating_sub(self.used.slots());
        (Reverse(free), self.used.slots(), Arc::clone(&self.name))
    }

    fn holds(&self, shape: &Resources) -> bool {
        self.capacity.holds_beside(&self.used, shape)
    }
}

/// How many pods have one capacity.
#[derive(Debug, Default)]
struct Kind {
    /// That are not on their way out.
    staying: usize,
    ready: usize,
}

#[derive(Debug, Default)]
pub(super) struct Pods {
    pods: BTreeMap<Arc<str>, Slots>,
    /// What is taken on pods that the watch of pods does not show.
    unseen: BTreeMap<PodRef, Resources>,
    /// Pods whose Lease is broken, known or not.
    broken: BTreeSet<String>,
    /// Assignments that a pod has left without an answer for too long.
    unanswered: BTreeMap<PodRef, usize>,
    indexes: Indexes,
    kinds: BTreeMap<Resources, Kind>,
}

#[derive(Debug, Default)]
struct Indexes {
    ready: BTreeSet<Rank>,
    shapes: BTreeMap<Shape, BTreeSet<Rank>>,
}

impl Pods {
    /// A pod changed. Says whether a capacity is new or gone with it.
    pub(super) fn set(&mut self, view: &PodView) -> bool {
        let added = self.count(view);
        let dropped = self.drop_pod(&view.pod.name);
        let slots = Slots {
            name: view.pod.name.as_str().into(),
            uid: view.pod.uid.clone(),
            health: view.health,
            capacity: view.capacity.clone(),
            used: self.unseen.remove(&view.pod).unwrap_or_else(nothing),
        };
        if self.is_open(&slots) {
            self.indexes.insert(&slots);
        }
        self.pods.insert(Arc::clone(&slots.name), slots);
        added || dropped
    }

    /// Forgets a pod; its Runs go on counting, should the pod come back. Says whether its capacity is gone with it.
    pub(super) fn drop_pod(&mut self, name: &str) -> bool {
        let Some(slots) = self.pods.remove(name) else { return false };
        self.indexes.remove(&slots);
        let gone = self.discount(&slots);
        if slots.used != nothing() {
            self.unseen.insert(PodRef { name: name.to_owned(), uid: slots.uid }, slots.used);
        }
        gone
    }

    /// The pod's Lease was broken: it gets nothing until [`Pods::mend`].
    pub(super) fn bar(&mut self, name: &str) {
        if self.broken.insert(name.to_owned()) {
            self.show(name);
        }
    }

    /// The pod's Lease is not broken any more.
    pub(super) fn mend(&mut self, name: &str) {
        if self.broken.remove(name) {
            self.show(name);
        }
    }

    /// The pod has left one more assignment without an answer: it gets nothing until each is [`Pods::answered`].
    pub(super) fn left_unanswered(&mut self, pod: &PodRef) {
        *self.unanswered.entry(pod.clone()).or_default() += 1;
        self.show(&pod.name);
    }

    /// One of these assignments has been answered, or is no more.
    pub(super) fn answered(&mut self, pod: &PodRef) {
        let Some(count) = self.unanswered.get_mut(pod) else { return };
        *count -= 1;
        if *count == 0 {
            self.unanswered.remove(pod);
            self.show(&pod.name);
        }
    }

    /// Takes what a Run requests, whether the pod is known or not.
    pub(super) fn take(&mut self, pod: &PodRef, request: &Resources) {
        self.change(pod, |used| used.add(request));
    }

    /// Gives it back.
    pub(super) fn release(&mut self, pod: &PodRef, request: &Resources) {
        self.change(pod, |used| used.subtract(request));
    }

    /// The best pod that has the request free. `barred` is not looked at.
    pub(super) fn best(&self, shape: &Shape, barred: Option<&str>) -> Option<PodRef> {
        let index = self.indexes.of(shape)?;
        let mut ranks = index.iter();
        let (Reverse(free), _, name) =
            ranks.find(|(_, _, name)| barred.is_none_or(|barred| **name != *barred))?;
        let slots = self.pods.get(name).filter(|_| *free >= shape.slots())?;
        Some(PodRef { name: (**name).to_owned(), uid: slots.uid.clone() })
    }

    /// The least loaded open pod that could hold the request if it were empty.
    pub(super) fn roomy(&self, shape: &Resources) -> Option<Arc<str>> {
        if !self.kinds.iter().any(|(kind, pods)| pods.ready > 0 && kind.holds(shape)) {
            return None;
        }
        let mut names = self.indexes.ready.iter().map(|(_, _, name)| name);
        names.find(|name| self.could_hold(name, shape)).cloned()
    }

    /// Whether the pod is open and could hold the request if it were empty.
    pub(super) fn could_hold(&self, name: &str, shape: &Resources) -> bool {
        self.pods.get(name).is_some_and(|slots| self.is_open(slots) && slots.capacity.holds(shape))
    }

    /// Whether this very pod is open.
    pub(super) fn is_open_pod(&self, pod: &PodRef) -> bool {
        let slots = self.pods.get(pod.name.as_str());
        slots.is_some_and(|slots| slots.uid == pod.uid && self.is_open(slots))
    }

    /// Whether some pod that stays could hold the request if it were empty, ready or not.
    pub(super) fn any_could_hold(&self, shape: &Resources) -> bool {
        self.kinds.iter().any(|(kind, pods)| pods.staying > 0 && kind.holds(shape))
    }

    /// Keeps an index for the shape. One of a shape that is not `needed` makes room where there is none.
    pub(super) fn watch(&mut self, shape: &Shape, needed: impl Fn(&Shape) -> bool) {
        if self.indexes.of(shape).is_some() {
            return;
        }
        let Indexes { ready, shapes } = &mut self.indexes;
        if shapes.len() >= WATCHED
            && let Some(idle) = shapes.keys().find(|shape| !needed(shape)).cloned()
        {
            shapes.remove(&idle);
        }
        let fits = |name: &Arc<str>| self.pods.get(name).is_some_and(|slots| slots.holds(shape));
        let index = ready.iter().filter(|(_, _, name)| fits(name)).cloned().collect();
        shapes.insert(Arc::clone(shape), index);
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.indexes.ready.is_empty()
    }

    pub(super) fn any_without_image(&self) -> bool {
        self.pods.values().any(|slots| slots.health == PodHealth::ImagePullFailed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.unseen.is_empty() && self.broken.is_empty()
    }

    fn is_open(&self, slots: &Slots) -> bool {
        slots.health == PodHealth::Ready
            && !self.broken.contains(&*slots.name)
            && (self.unanswered.is_empty()
                || !self
                    .unanswered
                    .contains_key(&PodRef { name: slots.name.to_string(), uid: slots.uid.clone() }))
    }

    /// Puts a known pod where it belongs.
    fn show(&mut self, name: &str) {
        let Some(slots) = self.pods.get(name) else { return };
        self.indexes.remove(slots);
        if self.is_open(slots) {
            self.indexes.insert(slots);
        }
    }

    fn change(&mut self, pod: &PodRef, change: impl Fn(&mut Resources)) {
        if let Some(slots) = self.pods.get_mut(pod.name.as_str())
            && slots.uid == pod.uid
        {
            self.indexes.remove(slots);
            change(&mut slots.used);
            self.show(&pod.name);
            return;
        }
        let used = self.unseen.entry(pod.clone()).or_insert_with(nothing);
        change(used);
        if *used == nothing() {
            self.unseen.remove(pod);
        }
    }

    fn count(&mut self, view: &PodView) -> bool {
        let kind = self.kinds.entry(view.capacity.clone()).or_default();
        kind.ready += usize::from(view.health == PodHealth::Ready);
        let stays = view.health != PodHealth::Leaving;
        kind.staying += usize::from(stays);
        stays && kind.staying == 1
    }

    fn discount(&mut self, slots: &Slots) -> bool {
        let Some(kind) = self.kinds.get_mut(&slots.capacity) else { return false };
        let stayed = slots.health != PodHealth::Leaving;
        kind.ready -= usize::from(slots.health == PodHealth::Ready);
        kind.staying -= usize::from(stayed);
        let gone = kind.staying == 0;
        if gone {
            self.kinds.remove(&slots.capacity);
        }
        stayed && gone
    }
}

impl Indexes {
    /// The index that serves a shape, if there is one.
    fn of(&self, shape: &Shape) -> Option<&BTreeSet<Rank>> {
        if shape.is_only_runs() { Some(&self.ready) } else { self.shapes.get(shape) }
    }

    fn insert(&mut self, slots: &Slots) {
        let rank = slots.rank();
        for (shape, index) in &mut self.shapes {
            if slots.holds(shape) {
                index.insert(rank.clone());
            }
        }
        self.ready.insert(rank);
    }

    fn remove(&mut self, slots: &Slots) {
        if slots.health != PodHealth::Ready {
            return;
        }
        let rank = slots.rank();
        for index in self.shapes.values_mut() {
            index.remove(&rank);
        }
        self.ready.remove(&rank);
    }
}

fn nothing() -> Resources {
    Resources::runs(0)
}

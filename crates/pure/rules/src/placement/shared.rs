//! Workspaces that Runs share: who holds each, who works in it, and who waits for it (ADR 15).
//!
//! Invariant: `free` has exactly the groups that are held, that nobody works in, and that somebody waits for.

use super::pods::Shape;
use super::{PodRef, RunKey, Waiting};
use jiff::Timestamp;
use kruntimes_api::{Run, Share};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The part of a Run in a shared workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Alone,
    Holds(Arc<str>),
    Within(Arc<str>),
}

impl Part {
    pub(super) fn of(run: &Run) -> Self {
        match (run.spec.share(), run.workspace_key()) {
            (Share::Holds(_), Some(key)) => Self::Holds(key.into()),
            (Share::Within(_), Some(key)) => Self::Within(key.into()),
            (Share::None, _) | (_, None) => Self::Alone,
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    /// One, but for users' mistakes: then the oldest counts.
    holders: BTreeMap<(Option<Timestamp>, RunKey), PodRef>,
    /// What holders that have ended still take, until nobody works in there.
    taken: Vec<(PodRef, Shape)>,
    inside: BTreeSet<RunKey>,
    waiting: BTreeMap<u64, RunKey>,
}

/// The groups of one pool.
#[derive(Debug, Default)]
pub(super) struct Shared {
    groups: BTreeMap<Arc<str>, Group>,
    free: BTreeSet<Arc<str>>,
}

impl Shared {
    /// The Run holds the workspace, on this pod.
    pub(super) fn hold(&mut self, group: &Arc<str>, run: &Run, pod: &PodRef) {
        let created = run.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let holder = (created, RunKey::of(run));
        self.change(group, |group| drop(group.holders.insert(holder, pod.clone())));
    }

    /// It does not any more. What it took of the pod is given back, unless somebody still works in there.
    pub(super) fn let_go(
        &mut self,
        group: &Arc<str>,
        run: &RunKey,
        (pod, request): (&PodRef, &Shape),
    ) -> Option<(PodRef, Shape)> {
        let mut taken = Some((pod.clone(), Arc::clone(request)));
        self.change(group, |group| {
            group.holders.retain(|(_, holder), _| holder != run);
            if !group.inside.is_empty() {
                group.taken.extend(taken.take());
            }
        });
        taken
    }

    /// The Run works in it.
    pub(super) fn enter(&mut self, group: &Arc<str>, run: &RunKey) {
        self.change(group, |group| {
            group.inside.insert(run.clone());
        });
    }

    /// It does not any more. What is given back with it.
    pub(super) fn leave(&mut self, group: &Arc<str>, run: &RunKey) -> Vec<(PodRef, Shape)> {
        let mut taken = Vec::new();
        self.change(group, |group| {
            group.inside.remove(run);
            if group.inside.is_empty() {
                taken = std::mem::take(&mut group.taken);
            }
        });
        taken
    }

    /// The Run waits for it. Sequences rise.
    pub(super) fn push(&mut self, group: &Arc<str>, sequence: u64, run: RunKey) {
        self.change(group, |group| {
            group.waiting.insert(sequence, run);
        });
    }

    /// It waits no longer. Says whether it did.
    pub(super) fn remove(&mut self, group: &Arc<str>, sequence: u64) -> bool {
        let mut waited = false;
        self.change(group, |group| waited = group.waiting.remove(&sequence).is_some());
        waited
    }

    /// A Run that may enter, where that is, and the pod; it is inside from now on.
    pub(super) fn next(&mut self, is_open: impl Fn(&PodRef) -> bool) -> Option<(RunKey, PodRef)> {
        let found = self.free.iter().find_map(|name| {
            let group = self.groups.get(name)?;
            let pod = group.holders.values().next().filter(|pod| is_open(pod))?;
            let (sequence, run) = group.waiting.first_key_value()?;
            Some((Arc::clone(name), *sequence, run.clone(), pod.clone()))
        });
        let (name, sequence, run, pod) = found?;
        self.remove(&name, sequence);
        self.enter(&name, &run);
        Some((run, pod))
    }

    /// Why a Run of this group waits.
    pub(super) fn waiting(&self, group: &Arc<str>) -> Waiting {
        match self.groups.get(group).filter(|group| !group.holders.is_empty()) {
            None => Waiting::WorkspaceNotHeld,
            Some(group) if !group.inside.is_empty() => Waiting::WorkspaceInUse,
            Some(_) => Waiting::NoReadyPods,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(Arc::clone(name)).or_default();
        change(group);
        let is_held = !group.holders.is_empty();
        if is_held && group.inside.is_empty() && !group.waiting.is_empty() {
            self.free.insert(Arc::clone(name));
        } else {
            self.free.remove(name);
        }
        let is_used = !group.inside.is_empty() || !group.taken.is_empty();
        if !is_held && !is_used && group.waiting.is_empty() {
            self.groups.remove(name);
        }
    }
}

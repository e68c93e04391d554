//! Workspaces that Runs share: who holds each, who works in it, and who waits for it (ADR 15).
//!
//! Invariant: `free` has exactly the groups that are held, that nobody works in, and that somebody waits for.

use super::{PodRef, RunKey, Waiting};
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
        match run.spec.share() {
            Share::None => Self::Alone,
            Share::Holds(group) => Self::Holds(group.into()),
            Share::Within(group) => Self::Within(group.into()),
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    /// One, but for users' mistakes: then the first by name counts.
    holders: BTreeMap<RunKey, PodRef>,
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
    pub(super) fn hold(&mut self, group: &Arc<str>, run: &RunKey, pod: &PodRef) {
        self.change(group, |group| {
            group.holders.insert(run.clone(), pod.clone());
        });
    }

    /// It does not any more.
    pub(super) fn let_go(&mut self, group: &Arc<str>, run: &RunKey) {
        self.change(group, |group| {
            group.holders.remove(run);
        });
    }

    /// The Run works in it.
    pub(super) fn enter(&mut self, group: &Arc<str>, run: &RunKey) {
        self.change(group, |group| {
            group.inside.insert(run.clone());
        });
    }

    /// It does not any more.
    pub(super) fn leave(&mut self, group: &Arc<str>, run: &RunKey) {
        self.change(group, |group| {
            group.inside.remove(run);
        });
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
        if !is_held && group.inside.is_empty() && group.waiting.is_empty() {
            self.groups.remove(name);
        }
    }
}

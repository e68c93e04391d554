//! The waiting Runs of one Runtime and its pods: which Run is next, and where it goes.
//!
//! The oldest Run that fits is placed first. Runs of one shape wait in one lane: if its head does not fit, none of them
//! does. A head that does not fit lets younger ones pass, until it has waited for [`HOLD_AFTER`]: then one pod is held
//! for it, which takes nobody else until the Run is placed. At most one pod of a pool is held at a time.

use super::pods::{Pods, Shape, WATCHED};
use super::shared::{Part, Shared};
use super::{PodRef, PodView, PoolKey, RunKey, RuntimeView, Waiting};
use crate::capacity::Resources;
use crate::mutant::{self, Mutant};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long younger Runs may pass one that does not fit.
pub(super) const HOLD_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Waiter {
    run: RunKey,
    since: Duration,
}

/// The pod that waits to become free enough for one Run.
#[derive(Debug)]
struct Hold {
    sequence: u64,
    shape: Shape,
    pod: Arc<str>,
}

/// What becomes of a waiting Run.
#[derive(Debug)]
pub(super) enum Next {
    /// It goes to this pod.
    Place(RunKey, PodRef),
    /// No pod could ever take it, and why.
    Refuse(RunKey, String),
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    runtime: RuntimeView,
    pods: Pods,
    /// Waiting Runs by what they request and by the order in which they were seen. No lane is empty.
    lanes: BTreeMap<Shape, BTreeMap<u64, Waiter>>,
    /// The heads of the lanes that are looked at, oldest first: one Run alone, and at most [`WATCHED`] other shapes.
    heads: BTreeSet<(u64, Shape)>,
    /// The heads of all other lanes. The oldest follows as soon as there is room.
    beyond: BTreeSet<(u64, Shape)>,
    /// Lanes that no pod could ever serve.
    hopeless: BTreeSet<Shape>,
    hold: Option<Hold>,
    pub(super) shared: Shared,
    waiting: usize,
}

impl Pool {
    pub(super) fn set_runtime(&mut self, view: RuntimeView) {
        if self.runtime != view {
            self.runtime = view;
            self.judge_all();
        }
    }

    pub(super) fn set_pod(&mut self, view: &PodView) {
        if self.pods.set(view) {
            self.judge_all();
        }
    }

    pub(super) fn drop_pod(&mut self, name: &str) {
        if self.pods.drop_pod(name) {
            self.judge_all();
        }
    }

    pub(super) fn take(&mut self, pod: &PodRef, request: &Resources) {
        self.pods.take(pod, request);
    }

    pub(super) fn release(&mut self, pod: &PodRef, request: &Resources) {
        self.pods.release(pod, request);
    }

    pub(super) fn bar(&mut self, pod: &str) {
        self.pods.bar(pod);
    }

    pub(super) fn mend(&mut self, pod: &str) {
        self.pods.mend(pod);
    }

    pub(super) fn left_unanswered(&mut self, pod: &PodRef) {
        self.pods.left_unanswered(pod);
    }

    pub(super) fn answered(&mut self, pod: &PodRef) {
        self.pods.answered(pod);
    }

    /// A Run waits from `since` on. Sequences rise.
    pub(super) fn push(&mut self, shape: &Shape, sequence: u64, run: RunKey, since: Duration) {
        self.waiting += 1;
        if let Some(lane) = self.lanes.get_mut(shape) {
            lane.insert(sequence, Waiter { run, since });
            return;
        }
        let lane = BTreeMap::from([(sequence, Waiter { run, since })]);
        self.lanes.insert(Arc::clone(shape), lane);
        if !self.is_possible(shape) {
            self.hopeless.insert(Arc::clone(shape));
        }
        self.line_up(sequence, shape);
    }

    /// A Run waits no longer.
    pub(super) fn remove(&mut self, shape: &Shape, sequence: u64) -> Option<RunKey> {
        let lane = self.lanes.get_mut(shape)?;
        let was_head = lane.first_key_value().is_some_and(|(head, _)| *head == sequence);
        let waiter = lane.remove(&sequence)?;
        self.waiting -= 1;
        if self.hold.as_ref().is_some_and(|hold| hold.sequence == sequence) {
            self.hold = None;
        }
        if !was_head {
            return Some(waiter.run);
        }
        let next = lane.first_key_value().map(|(next, _)| *next);
        let head = (sequence, Arc::clone(shape));
        self.heads.remove(&head);
        self.beyond.remove(&head);
        match next {
            Some(next) => self.line_up(next, shape),
            None => {
                self.lanes.remove(shape);
                self.hopeless.remove(shape);
                self.promote();
            }
        }
        Some(waiter.run)
    }

    /// A Run waits for the workspace that it shares.
    pub(super) fn push_within(&mut self, group: &Arc<str>, sequence: u64, run: RunKey) {
        self.waiting += 1;
        self.shared.push(group, sequence, run);
    }

    /// It waits no longer.
    pub(super) fn remove_within(&mut self, group: &Arc<str>, sequence: u64) {
        self.waiting -= usize::from(self.shared.remove(group, sequence));
    }

    /// Decides about one Run and takes its place. Call again until there is none.
    pub(super) fn next(&mut self, now: Duration) -> Option<Next> {
        let RuntimeView::Usable(capacity) = &self.runtime else {
            return if self.runtime == RuntimeView::Gone { None } else { self.place(now) };
        };
        if let Some(shape) = self.hopeless.first().cloned() {
            let why = unschedulable(capacity, &shape);
            let (sequence, _) = self.lanes.get(&shape)?.first_key_value()?;
            let run = self.remove(&shape, *sequence)?;
            return Some(Next::Refuse(run, why));
        }
        self.place(now)
    }

    fn place(&mut self, now: Duration) -> Option<Next> {
        let pods = &self.pods;
        // Its slot is that of the Run that holds the workspace.
        if let Some((run, pod)) = self.shared.next(|pod| pods.is_open_pod(pod)) {
            self.waiting -= 1;
            return Some(Next::Place(run, pod));
        }
        self.check_hold();
        let mut hold = self.hold.take();
        let mut found = None;
        for (sequence, shape) in &self.heads {
            let barred = hold.as_ref().filter(|hold| hold.sequence != *sequence);
            if let Some(pod) = self.pods.best(shape, barred.map(|hold| &*hold.pod)) {
                found = Some((*sequence, Arc::clone(shape), pod));
                break;
            }
            if hold.is_none() && self.is_overdue(shape, *sequence, now) {
                hold = self.pods.roomy(shape).map(|pod| Hold {
                    sequence: *sequence,
                    shape: Arc::clone(shape),
                    pod,
                });
            }
        }
        self.hold = hold;
        let (sequence, shape, pod) = found?;
        let run = self.remove(&shape, sequence)?;
        if !mutant::is(Mutant::AssumedNotCounted) {
            self.pods.take(&pod, &shape);
        }
        Some(Next::Place(run, pod))
    }

    /// How many Runs wait.
    pub(super) fn waiting_runs(&self) -> usize {
        self.waiting
    }

    /// Why a Run waits, when it does.
    pub(super) fn waiting(&self, part: &Part) -> Waiting {
        if self.runtime == RuntimeView::Gone {
            return Waiting::RuntimeNotFound;
        }
        if let Part::Within(group) = part {
            return self.shared.waiting(group);
        }
        if self.pods.any_ready() {
            Waiting::NoCapacity
        } else if self.pods.any_without_image() {
            Waiting::ImagePullFailed
        } else {
            Waiting::NoReadyPods
        }
    }

    /// Whether nothing is known of the pool any more.
    pub(super) fn is_empty(&self) -> bool {
        self.runtime == RuntimeView::Gone
            && self.pods.is_empty()
            && self.waiting == 0
            && self.shared.is_empty()
    }

    /// The lane has this head.
    fn line_up(&mut self, sequence: u64, shape: &Shape) {
        let head = (sequence, Arc::clone(shape));
        if **shape == *Resources::one_run() {
            self.heads.insert(head);
        } else {
            self.beyond.insert(head);
            self.promote();
        }
    }

    /// Looks at the oldest heads, as many as there is room for.
    fn promote(&mut self) {
        while self.heads.len() < WATCHED
            && let Some((sequence, shape)) = self.beyond.pop_first()
        {
            let heads = &self.heads;
            self.pods.watch(&shape, |shape| heads.iter().any(|(_, watched)| watched == shape));
            self.heads.insert((sequence, shape));
        }
    }

    /// A hold ends with its pod; [`Pool::remove`] ends it with its Run.
    fn check_hold(&mut self) {
        let pods = &self.pods;
        self.hold.take_if(|hold| !pods.could_hold(&hold.pod, &hold.shape));
    }

    fn is_overdue(&self, shape: &Shape, sequence: u64, now: Duration) -> bool {
        let waiter = self.lanes.get(shape).and_then(|lane| lane.get(&sequence));
        waiter.is_some_and(|waiter| now.saturating_sub(waiter.since) >= HOLD_AFTER)
    }

    fn judge_all(&mut self) {
        let shapes = self.lanes.keys();
        self.hopeless = shapes.filter(|shape| !self.is_possible(shape)).cloned().collect();
    }

    /// Whether a pod could ever hold the request: one that the Runtime makes, or one of an older capacity that stays.
    fn is_possible(&self, shape: &Resources) -> bool {
        match &self.runtime {
            RuntimeView::Usable(capacity) => {
                capacity.holds(shape) || self.pods.any_could_hold(shape)
            }
            RuntimeView::Gone | RuntimeView::Unusable => true,
        }
    }
}

/// Why no pod with this capacity can ever take the request.
#[must_use]
pub fn unschedulable(capacity: &Resources, request: &Resources) -> String {
    let Some(short) = capacity.shortage(request) else { return String::new() };
    let (name, asked, has) = (&short.name, short.asked, short.has);
    let limit = if has == 0 {
        format!("a pod of its Runtime has none of it, but {capacity}")
    } else {
        format!("a pod of its Runtime has {has}")
    };
    format!(
        "spec.resources.requests.{name}: {asked} can never be had: {limit}; ask for less, or raise \
        spec.capacity.resources.{name} of the Runtime"
    )
}

impl Waiting {
    /// What a person reads of a Run that requests this.
    #[must_use]
    pub fn message(self, pool: &PoolKey, request: &Resources) -> String {
        let PoolKey { namespace, runtime } = pool;
        let what = match self {
            Self::RuntimeNotFound => format!("namespace {namespace} has none of that name"),
            Self::NoReadyPods => "none of its pods is ready".to_owned(),
            Self::NoCapacity if *request == *Resources::one_run() => {
                "all slots of its ready pods are taken".to_owned()
            }
            Self::NoCapacity => format!("no ready pod has {request} free"),
            Self::WorkspaceNotHeld => {
                "no Run that is Running holds the workspace of its workspaceGroup".to_owned()
            }
            Self::WorkspaceInUse => "another Run of its workspaceGroup executes".to_owned(),
            Self::ImagePullFailed => "its pods can't pull their image".to_owned(),
            Self::Backoff => return "waiting for the backoff of the next attempt".to_owned(),
        };
        format!("waiting for Runtime {runtime}: {what}")
    }
}

//! The scheduler's view of the world: observations in, decisions out.
//!
//! `now` is a reading of a monotonic clock; `wall` is the time of day, for the timeline only.

use super::decision::{Decision, backoff, is_before, is_cancelled, next_attempt, pod_of};
use super::pods::Shape;
use super::pool::{Next, Pool};
use super::shared::Part;
use super::{PodRef, PodView, PoolKey, RunKey, RuntimeView, Waiting};
use crate::capacity::Resources;
use jiff::Timestamp;
use kruntimes_api::{Phase, Run};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A Run that waits so long gets a message that says why.
const MESSAGE_AFTER: Duration = Duration::from_secs(1);
/// Waiting messages a second: they must never compete with assignments.
const MESSAGES_PER_SECOND: u32 = 10;

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) run: Arc<Run>,
    /// What it takes of a pod.
    pub(super) request: Shape,
    /// What it is to a workspace that Runs share.
    pub(super) part: Part,
    pub(super) seen: Timestamp,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    Queued {
        sequence: u64,
        reported: Option<Waiting>,
        report_at: Duration,
    },
    Backoff {
        until: Duration,
    },
    /// Decided; the write is under way, from that version.
    Assumed {
        pod: PodRef,
        from: Option<String>,
    },
    /// The write failed: the watch will show what is true.
    Parked {
        until: Duration,
    },
    /// Decided to end; the write is under way, from that version.
    Ending {
        from: Option<String>,
    },
    Placed {
        pod: PodRef,
        attempt: i32,
        answer: Answer,
    },
}

/// Whether the pod of a placed Run has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has time until then.
    Awaited { until: Duration },
    /// It let that time pass.
    Late,
    /// It has.
    Given,
}

/// All pools, their pods and their Runs that have not ended.
#[derive(Debug, Default)]
pub struct Board {
    pub(super) pools: BTreeMap<PoolKey, Pool>,
    pub(super) runs: BTreeMap<RunKey, Tracked>,
    /// Pools with something to place, perhaps.
    dirty: BTreeSet<PoolKey>,
    cancels: BTreeSet<RunKey>,
    /// Runs whose request can't be read, and why.
    unreadable: BTreeMap<RunKey, String>,
    pub(super) timers: BTreeSet<(Duration, RunKey)>,
    /// When queued Runs are looked at for a message. These wait for one another, which no timer may.
    reports: BTreeSet<(Duration, RunKey)>,
    next_message: Duration,
    next_sequence: u64,
}

impl Board {
    /// A Runtime appeared, changed or went.
    pub fn set_runtime(&mut self, key: PoolKey, view: RuntimeView) {
        self.pools.entry(key.clone()).or_default().set_runtime(view);
        self.touch(key);
    }

    /// A pod changed.
    pub fn set_pod(&mut self, view: &PodView) {
        let key = view.pool.clone();
        self.pools.entry(key.clone()).or_default().set_pod(view);
        self.touch(key);
    }

    /// A pod is gone.
    pub fn drop_pod(&mut self, key: &PoolKey, name: &str) {
        if let Some(pool) = self.pools.get_mut(key) {
            pool.drop_pod(name);
            self.touch(key.clone());
        }
    }

    /// A Run changed. A Run that ended is dropped.
    pub fn set_run(&mut self, run: Arc<Run>, now: Duration, wall: Timestamp) {
        let key = RunKey::of(&run);
        if self.runs.get(&key).is_some_and(|tracked| tracked.run.uid() != run.uid()) {
            self.drop_run(&key);
        }
        match (run.phase(), pod_of(&run)) {
            (Phase::Pending, _) => self.set_pending(key, run, now, wall),
            (Phase::Scheduled | Phase::Running, Some(pod)) => {
                self.set_placed(key, run, pod, now, wall)
            }
            _ => self.drop_run(&key),
        }
    }

    /// A Run is gone or has ended.
    pub fn drop_run(&mut self, key: &RunKey) {
        let Some(tracked) = self.runs.remove(key) else { return };
        self.cancels.remove(key);
        self.unreadable.remove(key);
        let pool_key = PoolKey::of(&tracked.run);
        self.leave(key, &pool_key, &tracked);
        self.touch(pool_key);
    }

    /// When [`Board::decide`] has something to do even if nothing is observed until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let report = self.reports.first().map(|(at, _)| (*at).max(self.next_message));
        timer.into_iter().chain(report).min()
    }

    /// All that can be decided at `now`, at most `budget` decisions. Call again while it returns `budget` of them.
    pub fn decide(&mut self, now: Duration, wall: Timestamp, budget: usize) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.expire(now, wall);
        while decisions.len() < budget
            && let Some(key) = self.cancels.pop_first()
        {
            decisions.extend(self.cancel(&key));
        }
        while decisions.len() < budget
            && let Some((key, message)) = self.unreadable.pop_first()
        {
            decisions.extend(self.refuse(&key, message));
        }
        while decisions.len() < budget
            && let Some(pool_key) = self.dirty.pop_first()
        {
            self.decide_pool(pool_key, now, budget, &mut decisions);
        }
        if decisions.len() < budget {
            decisions.extend(self.report(now));
        }
        decisions
    }

    /// Runs that wait for a pod.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pools.values().map(Pool::waiting_runs).sum()
    }

    pub(super) fn touch(&mut self, key: PoolKey) {
        self.dirty.insert(key);
    }

    fn set_pending(&mut self, key: RunKey, run: Arc<Run>, now: Duration, wall: Timestamp) {
        if let Some(tracked) = self.runs.get_mut(&key) {
            match &tracked.state {
                // An event from before the write: the answer of the write decides.
                State::Assumed { .. } | State::Ending { .. } => {
                    tracked.run = run;
                    return;
                }
                State::Placed { attempt, .. } if is_before(&run, *attempt) => return,
                State::Queued { .. } | State::Backoff { .. } => {
                    if is_cancelled(&run) {
                        self.cancels.insert(key);
                    }
                    tracked.run = run;
                    return;
                }
                State::Placed { .. } | State::Parked { .. } => self.drop_run(&key),
            }
        }
        if is_cancelled(&run) {
            self.cancels.insert(key.clone());
        }
        let request = match Resources::requested(&run.spec) {
            Ok(request) => request,
            Err(invalid) => {
                self.unreadable.insert(key.clone(), invalid.to_string());
                let state = State::Ending { from: run.resource_version() };
                let (request, part) = (Resources::one_run(), Part::Alone);
                self.runs.insert(key, Tracked { run, request, part, seen: wall, state });
                return;
            }
        };
        let state = match backoff(&run) {
            Some(delay) => {
                let until = now + delay;
                self.timers.insert((until, key.clone()));
                State::Backoff { until }
            }
            None => self.enqueue(&key, &run, &request, now),
        };
        let part = Part::of(&run);
        self.runs.insert(key, Tracked { run, request, part, seen: wall, state });
    }

    fn enqueue(&mut self, key: &RunKey, run: &Run, request: &Shape, now: Duration) -> State {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let pool_key = PoolKey::of(run);
        let pool = self.pools.entry(pool_key.clone()).or_default();
        match Part::of(run) {
            Part::Within(group) => pool.push_within(&group, sequence, key.clone()),
            Part::Alone | Part::Holds(_) => pool.push(request, sequence, key.clone(), now),
        }
        let report_at = now + MESSAGE_AFTER;
        self.reports.insert((report_at, key.clone()));
        self.touch(pool_key);
        State::Queued { sequence, reported: None, report_at }
    }

    /// Takes a Run out of the queue or off its slot.
    pub(super) fn leave(&mut self, key: &RunKey, pool_key: &PoolKey, tracked: &Tracked) {
        match &tracked.state {
            State::Queued { sequence, report_at, .. } => {
                self.reports.remove(&(*report_at, key.clone()));
                let Some(pool) = self.pools.get_mut(pool_key) else { return };
                match &tracked.part {
                    Part::Within(group) => pool.remove_within(group, *sequence),
                    Part::Alone | Part::Holds(_) => drop(pool.remove(&tracked.request, *sequence)),
                }
            }
            State::Assumed { pod, .. } => self.release(key, pool_key, pod, tracked),
            State::Placed { pod, answer, .. } => {
                self.settle_answer(key, pool_key, pod, *answer);
                self.release(key, pool_key, pod, tracked);
            }
            State::Backoff { until } | State::Parked { until } => {
                self.timers.remove(&(*until, key.clone()));
            }
            State::Ending { .. } => {}
        }
    }

    fn release(&mut self, key: &RunKey, pool_key: &PoolKey, pod: &PodRef, tracked: &Tracked) {
        let Some(pool) = self.pools.get_mut(pool_key) else { return };
        let given_back = match &tracked.part {
            Part::Alone => return pool.release(pod, &tracked.request),
            Part::Holds(group) => {
                let taken = (pod, &tracked.request);
                pool.shared.let_go(group, key, taken).into_iter().collect()
            }
            Part::Within(group) => pool.shared.leave(group, key),
        };
        for (pod, request) in given_back {
            pool.release(&pod, &request);
        }
    }

    fn cancel(&mut self, key: &RunKey) -> Option<Decision> {
        self.unreadable.remove(key);
        let tracked = self.runs.remove(key)?;
        let run = tracked.run.clone();
        self.leave(key, &PoolKey::of(&run), &tracked);
        let state = State::Ending { from: run.resource_version() };
        self.runs.insert(key.clone(), Tracked { state, ..tracked });
        Some(Decision::Cancel { run })
    }

    /// The pool has taken the Run off its queue already, or never had it.
    fn refuse(&mut self, key: &RunKey, message: String) -> Option<Decision> {
        let tracked = self.runs.get_mut(key)?;
        if let State::Queued { report_at, .. } = tracked.state {
            self.reports.remove(&(report_at, key.clone()));
        }
        tracked.state = State::Ending { from: tracked.run.resource_version() };
        Some(Decision::Refuse { run: tracked.run.clone(), message })
    }

    /// Decides about the Runs of one pool, until none can be decided or the budget is spent.
    fn decide_pool(
        &mut self,
        pool_key: PoolKey,
        now: Duration,
        budget: usize,
        decisions: &mut Vec<Decision>,
    ) {
        while let Some(next) = self.pools.get_mut(&pool_key).and_then(|pool| pool.next(now)) {
            decisions.extend(match next {
                Next::Refuse(key, message) => self.refuse(&key, message),
                Next::Place(key, pod) => self.assume(&key, pod),
            });
            if decisions.len() >= budget {
                self.dirty.insert(pool_key);
                return;
            }
        }
        if self.pools.get(&pool_key).is_some_and(Pool::is_empty) {
            self.pools.remove(&pool_key);
        }
    }

    /// From here on the Run counts as placed, whatever the watch shows.
    fn assume(&mut self, key: &RunKey, pod: PodRef) -> Option<Decision> {
        let tracked = self.runs.get_mut(key)?;
        let attempt = next_attempt(&tracked.run);
        if let State::Queued { report_at, .. } = tracked.state {
            self.reports.remove(&(report_at, key.clone()));
        }
        tracked.state = State::Assumed { pod: pod.clone(), from: tracked.run.resource_version() };
        Some(Decision::Assign { run: tracked.run.clone(), pod, attempt, seen: tracked.seen })
    }

    /// Handles every timer that is due.
    fn expire(&mut self, now: Duration, wall: Timestamp) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            let Some(tracked) = self.runs.get(&key) else { continue };
            match &tracked.state {
                State::Backoff { until } if *until <= now => {
                    let (run, request) = (tracked.run.clone(), Arc::clone(&tracked.request));
                    let state = self.enqueue(&key, &run, &request, now);
                    if let Some(tracked) = self.runs.get_mut(&key) {
                        tracked.state = state;
                    }
                }
                State::Parked { until } if *until <= now => {
                    let run = tracked.run.clone();
                    self.drop_run(&key);
                    self.set_run(run, now, wall);
                }
                State::Placed { answer: Answer::Awaited { until }, .. } if *until <= now => {
                    self.note_silence(&key);
                }
                State::Queued { .. }
                | State::Backoff { .. }
                | State::Parked { .. }
                | State::Assumed { .. }
                | State::Ending { .. }
                | State::Placed { .. } => {}
            }
        }
    }

    /// Says why queued Runs wait, where that is news and as often as the rate allows.
    fn report(&mut self, now: Duration) -> Option<Decision> {
        while self.next_message <= now
            && let Some((at, _)) = self.reports.first()
            && *at <= now
            && let Some((_, key)) = self.reports.pop_first()
        {
            let Some(tracked) = self.runs.get_mut(&key) else { continue };
            let State::Queued { reported, report_at, .. } = &mut tracked.state else { continue };
            *report_at = now + MESSAGE_AFTER;
            self.reports.insert((*report_at, key));
            let Some(pool) = self.pools.get(&PoolKey::of(&tracked.run)) else { continue };
            let waiting = pool.waiting(&tracked.part);
            if reported.replace(waiting) != Some(waiting) {
                self.next_message = now + Duration::from_secs(1) / MESSAGES_PER_SECOND;
                return Some(Decision::Wait { run: tracked.run.clone(), waiting });
            }
        }
        None
    }
}

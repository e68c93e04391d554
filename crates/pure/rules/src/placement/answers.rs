//! Runs that have a pod: the answers to the scheduler's writes, and the pods' answers to assignments.

use super::board::{Answer, Board, State, Tracked};
use super::decision::{attempt_of, pod_of};
use super::shared::Part;
use super::{PodRef, PoolKey, RunKey};
use crate::capacity::Resources;
use jiff::Timestamp;
use kruntimes_api::{Phase, Run};
use kube::ResourceExt;
use std::sync::Arc;
use std::time::Duration;

/// How long a Run whose write failed waits for the watch before it is tried again.
const PARK: Duration = Duration::from_secs(1);
/// A pod that has not answered an assignment for so long gets no more until it does.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Tracked {
    /// Whether the answer to the write that was made from this version is waited for.
    fn awaits(&self, version: Option<&str>) -> bool {
        match &self.state {
            State::Assumed { from, .. } | State::Ending { from } => from.as_deref() == version,
            State::Queued { .. }
            | State::Backoff { .. }
            | State::Parked { .. }
            | State::Placed { .. } => false,
        }
    }
}

impl Board {
    /// The assignment that was made from version `from` was written. An answer to an older one says nothing: the watch has
    /// shown what followed.
    pub fn assigned(&mut self, run: Arc<Run>, from: Option<&str>, now: Duration, wall: Timestamp) {
        let key = RunKey::of(&run);
        let Some(tracked) = self.runs.get(&key).filter(|tracked| tracked.awaits(from)) else {
            return;
        };
        let Some(pod) = pod_of(&run) else { return };
        // Nothing stands between that version and the assignment: what the watch has shown since came after it.
        let shown = tracked.run.clone();
        if shown.uid() != run.uid() || shown.resource_version().as_deref() != from {
            self.drop_run(&key);
            return self.set_run(shown, now, wall);
        }
        self.set_placed(key, run, pod, now, wall);
    }

    /// The API server has the Run on this pod.
    pub(super) fn set_placed(
        &mut self,
        key: RunKey,
        run: Arc<Run>,
        pod: PodRef,
        now: Duration,
        wall: Timestamp,
    ) {
        let attempt = attempt_of(&run);
        let pool_key = PoolKey::of(&run);
        let former = self.runs.remove(&key);
        let seen = former.as_ref().map_or(wall, |tracked| tracked.seen);
        let stays = former.as_ref().is_some_and(|tracked| match &tracked.state {
            State::Assumed { pod: known, .. } | State::Placed { pod: known, .. } => *known == pod,
            State::Queued { .. }
            | State::Backoff { .. }
            | State::Parked { .. }
            | State::Ending { .. } => false,
        });
        // It was placed by what it requests; where that can't be read it counts as one Run.
        let request = match &former {
            Some(former) if stays => Arc::clone(&former.request),
            Some(_) | None => {
                Resources::requested(&run.spec).unwrap_or_else(|_| Resources::one_run())
            }
        };
        let part = Part::of(&run);
        self.join(&key, &part, &run, &pod);
        let mut kept = None;
        match former {
            Some(Tracked { state: State::Placed { attempt: known, answer, .. }, .. }) if stays => {
                if known == attempt && run.phase() == Phase::Scheduled {
                    kept = Some(answer);
                } else {
                    self.settle_answer(&key, &pool_key, &pod, answer);
                }
            }
            Some(_) if stays => {}
            former => {
                if let Some(former) = &former {
                    self.leave(&key, &pool_key, former);
                    self.join(&key, &part, &run, &pod);
                }
                self.pools.entry(pool_key.clone()).or_default().take(&pod, &request);
                self.touch(pool_key);
            }
        }
        let answer = kept.unwrap_or_else(|| self.await_answer(&key, &run, now));
        let state = State::Placed { pod, attempt, answer };
        self.runs.insert(key, Tracked { run, request, part, seen, state });
    }

    /// What a placed Run is to a workspace that Runs share: one that is held is there as soon as its holder is Running.
    fn join(&mut self, key: &RunKey, part: &Part, run: &Run, pod: &PodRef) {
        if *part == Part::Alone {
            return;
        }
        let pool_key = PoolKey::of(run);
        let pool = self.pools.entry(pool_key.clone()).or_default();
        match part {
            Part::Holds(group) if run.phase() == Phase::Running => {
                pool.shared.hold(group, run, pod);
            }
            Part::Alone | Part::Holds(_) => return,
            Part::Within(group) => pool.shared.enter(group, key),
        }
        self.touch(pool_key);
    }

    /// A write for the Run that was made from version `from` failed.
    pub fn not_written(
        &mut self,
        key: &RunKey,
        from: Option<&str>,
        now: Duration,
        wall: Timestamp,
    ) {
        let Some(tracked) = self.runs.get(key).filter(|tracked| tracked.awaits(from)) else {
            return;
        };
        let (run, request) = (tracked.run.clone(), Arc::clone(&tracked.request));
        let part = tracked.part.clone();
        let newer = run.resource_version().as_deref() != from;
        self.drop_run(key);
        if newer {
            self.set_run(run, now, wall);
        } else {
            let until = now + PARK;
            self.timers.insert((until, key.clone()));
            let state = State::Parked { until };
            self.runs.insert(key.clone(), Tracked { run, request, part, seen: wall, state });
        }
    }

    /// A pod's Lease was broken: it gets nothing until the Lease is mended.
    pub fn bar_pod(&mut self, key: PoolKey, name: &str) {
        self.pools.entry(key.clone()).or_default().bar(name);
        self.touch(key);
    }

    /// A pod's Lease is not broken any more.
    pub fn mend_pod(&mut self, key: PoolKey, name: &str) {
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.mend(name);
            self.touch(key);
        }
    }

    /// What a placed Run's pod has answered: a Run that is only Scheduled waits for it.
    pub(super) fn await_answer(&mut self, key: &RunKey, run: &Run, now: Duration) -> Answer {
        if run.phase() != Phase::Scheduled {
            return Answer::Given;
        }
        let until = now + ANSWER_WITHIN;
        self.timers.insert((until, key.clone()));
        Answer::Awaited { until }
    }

    /// The pod has let the time for an answer pass.
    pub(super) fn note_silence(&mut self, key: &RunKey) {
        let Some(tracked) = self.runs.get_mut(key) else { return };
        let State::Placed { pod, answer, .. } = &mut tracked.state else { return };
        *answer = Answer::Late;
        if let Some(pool) = self.pools.get_mut(&PoolKey::of(&tracked.run)) {
            pool.left_unanswered(pod);
        }
    }

    /// The Run that waited for this answer does not wait any more.
    pub(super) fn settle_answer(
        &mut self,
        key: &RunKey,
        pool: &PoolKey,
        pod: &PodRef,
        answer: Answer,
    ) {
        match answer {
            Answer::Awaited { until } => {
                self.timers.remove(&(until, key.clone()));
            }
            Answer::Late => {
                if let Some(known) = self.pools.get_mut(pool) {
                    known.answered(pod);
                    self.touch(pool.clone());
                }
            }
            Answer::Given => {}
        }
    }
}

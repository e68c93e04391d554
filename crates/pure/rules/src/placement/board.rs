//! The scheduler's view of the world: observations in, decisions out.
//!
//! `now` is a reading of a monotonic clock; `wall` is the time of day, for the timeline only.

use super::pool::Pool;
use super::{PodRef, PodView, PoolKey, RunKey, Waiting};
use crate::run::retry;
use jiff::Timestamp;
use kruntimes_api::{Phase, Reason, Run, RunStatus};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A Run that waits so long gets a message that says why.
const MESSAGE_AFTER: Duration = Duration::from_secs(1);
/// Waiting messages a second: they must never compete with assignments.
const MESSAGES_PER_SECOND: u32 = 10;
/// How long a Run whose write failed waits for the watch before it is tried again.
const PARK: Duration = Duration::from_secs(1);

/// What the scheduler must write.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Bind the Run to the pod. Answer with [`Board::assigned`] or [`Board::not_assigned`].
    Assign {
        /// The Run as last seen.
        run: Arc<Run>,
        /// The pod.
        pod: PodRef,
        /// Number of the attempt.
        attempt: i32,
        /// When the scheduler saw the Run pending.
        seen: Timestamp,
    },
    /// End a pending Run that its user cancelled.
    Cancel {
        /// The Run as last seen.
        run: Arc<Run>,
    },
    /// Say why the Run waits.
    Wait {
        /// The Run as last seen.
        run: Arc<Run>,
        /// Why.
        waiting: Waiting,
    },
}

#[derive(Debug)]
struct Tracked {
    run: Arc<Run>,
    seen: Timestamp,
    state: State,
}

#[derive(Debug)]
enum State {
    Queued {
        sequence: u64,
        reported: Option<Waiting>,
    },
    Backoff {
        until: Duration,
    },
    /// Decided; the write is under way.
    Assumed {
        pod: PodRef,
    },
    /// The write failed: the watch will show what is true.
    Parked {
        until: Duration,
    },
    Cancelling,
    Placed {
        pod: PodRef,
        attempt: i32,
    },
}

/// All pools, their pods and their Runs that have not ended.
#[derive(Debug, Default)]
pub struct Board {
    pools: BTreeMap<PoolKey, Pool>,
    runs: BTreeMap<RunKey, Tracked>,
    /// Pools with something to place, perhaps.
    dirty: BTreeSet<PoolKey>,
    cancels: BTreeSet<RunKey>,
    timers: BTreeSet<(Duration, RunKey)>,
    next_message: Duration,
    next_sequence: u64,
}

impl Board {
    /// A Runtime appeared or went.
    pub fn set_runtime(&mut self, key: PoolKey, exists: bool) {
        self.pools.entry(key.clone()).or_default().runtime_exists = exists;
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
            (Phase::Scheduled | Phase::Running, Some(pod)) => self.set_placed(key, run, pod, wall),
            _ => self.drop_run(&key),
        }
    }

    /// A Run is gone or has ended.
    pub fn drop_run(&mut self, key: &RunKey) {
        let Some(tracked) = self.runs.remove(key) else { return };
        self.cancels.remove(key);
        let pool_key = PoolKey::of(&tracked.run);
        self.leave(key, &pool_key, &tracked.state);
        self.touch(pool_key);
    }

    /// The assignment was written.
    pub fn assigned(&mut self, run: Arc<Run>, wall: Timestamp) {
        let key = RunKey::of(&run);
        if let Some(tracked) = self.runs.get(&key)
            && tracked.run.uid() == run.uid()
            && matches!(tracked.state, State::Assumed { .. })
            && let Some(pod) = pod_of(&run)
        {
            self.set_placed(key, run, pod, wall);
        }
    }

    /// A write for the Run that was made from version `version` failed.
    pub fn not_written(
        &mut self,
        key: &RunKey,
        version: Option<&str>,
        now: Duration,
        wall: Timestamp,
    ) {
        let Some(tracked) = self.runs.get(key) else { return };
        if !matches!(tracked.state, State::Assumed { .. } | State::Cancelling) {
            return;
        }
        let run = tracked.run.clone();
        let newer = run.resource_version().as_deref() != version;
        self.drop_run(key);
        if newer {
            self.set_run(run, now, wall);
        } else {
            let until = now + PARK;
            self.timers.insert((until, key.clone()));
            self.runs
                .insert(key.clone(), Tracked { run, seen: wall, state: State::Parked { until } });
        }
    }

    /// When [`Board::decide`] has something to do even if nothing is observed until then.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let (at, _) = self.timers.first()?;
        Some(*at)
    }

    /// All that can be decided at `now`, at most `budget` decisions. Call again while it returns `budget` of them.
    pub fn decide(&mut self, now: Duration, wall: Timestamp, budget: usize) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.expire(now, wall, &mut decisions);
        while decisions.len() < budget
            && let Some(key) = self.cancels.pop_first()
        {
            decisions.extend(self.cancel(&key));
        }
        while decisions.len() < budget
            && let Some(pool_key) = self.dirty.first().cloned()
        {
            match self.place(&pool_key) {
                Some(decision) => decisions.push(decision),
                None => {
                    self.dirty.remove(&pool_key);
                    if self.pools.get(&pool_key).is_some_and(Pool::is_empty) {
                        self.pools.remove(&pool_key);
                    }
                }
            }
        }
        decisions
    }

    /// Runs that wait for a pod.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pools.values().map(|pool| pool.queue.len()).sum()
    }

    fn touch(&mut self, key: PoolKey) {
        self.dirty.insert(key);
    }

    fn set_pending(&mut self, key: RunKey, run: Arc<Run>, now: Duration, wall: Timestamp) {
        if let Some(tracked) = self.runs.get_mut(&key) {
            match &tracked.state {
                // An event from before the write: the answer of the write decides.
                State::Assumed { .. } | State::Cancelling => {
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
        let state = match backoff(&run) {
            Some(delay) => {
                let until = now + delay;
                self.timers.insert((until, key.clone()));
                State::Backoff { until }
            }
            None => self.enqueue(&key, &PoolKey::of(&run), now),
        };
        self.runs.insert(key, Tracked { run, seen: wall, state });
    }

    fn enqueue(&mut self, key: &RunKey, pool_key: &PoolKey, now: Duration) -> State {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.pools.entry(pool_key.clone()).or_default().queue.insert(sequence, key.clone());
        self.timers.insert((now + MESSAGE_AFTER, key.clone()));
        self.touch(pool_key.clone());
        State::Queued { sequence, reported: None }
    }

    fn set_placed(&mut self, key: RunKey, run: Arc<Run>, pod: PodRef, wall: Timestamp) {
        let pool_key = PoolKey::of(&run);
        let former = self.runs.remove(&key);
        let seen = former.as_ref().map_or(wall, |tracked| tracked.seen);
        if let Some(former) = former {
            self.leave(&key, &pool_key, &former.state);
        }
        self.pools.entry(pool_key.clone()).or_default().take(&pod);
        self.touch(pool_key);
        let attempt = attempt_of(&run);
        self.runs.insert(key, Tracked { run, seen, state: State::Placed { pod, attempt } });
    }

    /// Takes a Run out of the queue or off its slot.
    fn leave(&mut self, key: &RunKey, pool_key: &PoolKey, state: &State) {
        match state {
            State::Queued { sequence, .. } => {
                if let Some(pool) = self.pools.get_mut(pool_key) {
                    pool.queue.remove(sequence);
                }
            }
            State::Assumed { pod } | State::Placed { pod, .. } => {
                if let Some(pool) = self.pools.get_mut(pool_key) {
                    pool.release(pod);
                }
            }
            State::Backoff { until } | State::Parked { until } => {
                self.timers.remove(&(*until, key.clone()));
            }
            State::Cancelling => {}
        }
    }

    fn cancel(&mut self, key: &RunKey) -> Option<Decision> {
        let tracked = self.runs.remove(key)?;
        let run = tracked.run.clone();
        self.leave(key, &PoolKey::of(&run), &tracked.state);
        self.runs.insert(key.clone(), Tracked { state: State::Cancelling, ..tracked });
        Some(Decision::Cancel { run })
    }

    /// Places the first Run of the pool on its best pod.
    fn place(&mut self, pool_key: &PoolKey) -> Option<Decision> {
        let pool = self.pools.get_mut(pool_key)?;
        if !pool.runtime_exists {
            return None;
        }
        let pod = pool.best()?;
        let (_, key) = pool.queue.pop_first()?;
        pool.take(&pod);
        let tracked = self.runs.get_mut(&key)?;
        let attempt = next_attempt(&tracked.run);
        tracked.state = State::Assumed { pod: pod.clone() };
        Some(Decision::Assign { run: tracked.run.clone(), pod, attempt, seen: tracked.seen })
    }

    /// Handles every timer that is due.
    fn expire(&mut self, now: Duration, wall: Timestamp, decisions: &mut Vec<Decision>) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            let Some(tracked) = self.runs.get(&key) else { continue };
            match &tracked.state {
                State::Queued { .. } => decisions.extend(self.report(&key, now)),
                State::Backoff { until } if *until <= now => {
                    let pool_key = PoolKey::of(&tracked.run);
                    let state = self.enqueue(&key, &pool_key, now);
                    if let Some(tracked) = self.runs.get_mut(&key) {
                        tracked.state = state;
                    }
                }
                State::Parked { until } if *until <= now => {
                    let run = tracked.run.clone();
                    self.drop_run(&key);
                    self.set_run(run, now, wall);
                }
                State::Backoff { .. }
                | State::Parked { .. }
                | State::Assumed { .. }
                | State::Cancelling
                | State::Placed { .. } => {}
            }
        }
    }

    /// Says why a queued Run waits, when that is news and the rate allows it.
    fn report(&mut self, key: &RunKey, now: Duration) -> Option<Decision> {
        let tracked = self.runs.get_mut(key)?;
        let State::Queued { reported, .. } = &mut tracked.state else { return None };
        let waiting = self.pools.get(&PoolKey::of(&tracked.run))?.waiting();
        let again = if *reported == Some(waiting) {
            now + MESSAGE_AFTER
        } else if self.next_message > now {
            self.next_message
        } else {
            *reported = Some(waiting);
            self.next_message = now + Duration::from_secs(1) / MESSAGES_PER_SECOND;
            self.timers.insert((now + MESSAGE_AFTER, key.clone()));
            return Some(Decision::Wait { run: tracked.run.clone(), waiting });
        };
        self.timers.insert((again, key.clone()));
        None
    }
}

fn status(run: &Run) -> Option<&RunStatus> {
    run.status.as_ref()
}

fn attempt_of(run: &Run) -> i32 {
    status(run).and_then(|status| status.attempt).unwrap_or(0)
}

fn is_not_started(run: &Run) -> bool {
    status(run).and_then(|status| status.reason.as_deref()) == Some(Reason::NotStarted.as_str())
}

fn is_cancelled(run: &Run) -> bool {
    run.spec.cancel_requested.unwrap_or(false)
}

fn next_attempt(run: &Run) -> i32 {
    retry::next_attempt(status(run))
}

/// Whether a pending Run is an older state than its placement as attempt `placed`.
fn is_before(run: &Run, placed: i32) -> bool {
    attempt_of(run) < placed
}

fn backoff(run: &Run) -> Option<Duration> {
    let next = next_attempt(run);
    (next > 1 && !is_not_started(run))
        .then(|| retry::delay_before(run.spec.retry_policy.as_ref(), next))
}

fn pod_of(run: &Run) -> Option<PodRef> {
    let status = status(run)?;
    Some(PodRef { name: status.assigned_pod.clone()?, uid: status.assigned_pod_uid.clone()? })
}

//! One attempt of a Run in its pod, without IO: events in, effects out, the next timer by [`Machine::deadline`].
//!
//! Queued → Preparing → Gated → Executing → (Stopping) → Collecting → (Keeping) → Ended → done. Invariants: at most
//! one Execute is sent, under a held Lease; Cancel only after the server took or refused the Execute; at most one final write; what an
//! attempt left behind is looked at, the slot given back and the workspace removed only when no process is left; times of
//! one attempt never go backwards.

mod collect;
mod ends;
mod times;

use super::event::{Effect, Event};
use super::outcome::{Exit, Outcome};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Reason, RunSpec, Timeline};
use std::time::Duration;

/// How long an assignment waits for a free slot before it is handed back.
pub const SLOT_WAIT: Duration = Duration::from_secs(5);
/// A Run that ends within this time causes no `Running` write.
pub const RUNNING_AFTER: Duration = Duration::from_millis(50);
/// A Run whose preparation takes longer causes the `Running` write before it starts: the scheduler waits for a sign of
/// the pod.
pub const CLAIMED_AFTER: Duration = Duration::from_secs(1);
/// How long a final status waits for the acknowledgement of Cancel, unless another attempt would follow.
pub const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Preparing,
    /// Prepared; the pod's Lease is waited for.
    Gated,
    /// Execute was asked for; until the command ends.
    Executing,
    /// Something asked for the end, since then.
    Stopping(Timestamp),
    /// No process is left; what it left behind is looked through, since then.
    Collecting(Timestamp),
    /// Its artifacts are kept, since then.
    Keeping(Timestamp),
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Timeout,
    Cancelled,
    Deleted,
    Fenced,
    Shutdown,
    /// runtimed was started anew before the attempt began.
    Restarted,
    ExecuteFailed(String),
    Unreadable(String),
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct Machine {
    spec: RunSpec,
    attempt: i32,
    received: Timestamp,
    latest: Timestamp,
    timeline: Timeline,
    state: State,
    stop: Option<Stop>,
    /// When it got its slot.
    admitted: Option<Timestamp>,
    started: Option<Timestamp>,
    exit: Option<Exit>,
    /// How it ends, once what it left behind is looked through.
    ending: Option<Outcome>,
    progress: Progress,
}

/// What is known of the world outside. Each flag only ever rises.
#[derive(Debug, Clone, Default)]
struct Progress {
    slot_released: bool,
    execute_asked: bool,
    execute_answered: bool,
    cancel_asked: bool,
    running_written: bool,
    dead: bool,
    server_forgot: bool,
    write_asked: bool,
    written: bool,
    cleanup_asked: bool,
    workspace_removed: bool,
}

impl Machine {
    /// An attempt that its pod has just received.
    #[must_use]
    pub fn start(spec: RunSpec, attempt: i32, now: Timestamp) -> (Self, Vec<Effect>) {
        (Self::new(spec, attempt, now), vec![Effect::AcquireSlot])
    }

    /// An attempt that an earlier life of this runtimed journalled, received at that time. `known` are the stages that
    /// the status shows.
    #[must_use]
    pub fn reattach(
        spec: RunSpec,
        attempt: i32,
        received: Timestamp,
        known: Option<&Timeline>,
    ) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(spec, attempt, received);
        machine.state = State::Executing;
        machine.progress.execute_asked = true;
        machine.progress.execute_answered = true;
        if let Some(known) = known {
            machine.timeline.prepared = known.prepared.clone();
            machine.timeline.started = known.started.clone();
        }
        (machine, vec![Effect::AcquireSlot, Effect::Inspect])
    }

    /// An attempt that was not journalled, but that an earlier life of this runtimed may have given up: its last write may
    /// still be on its way and hand the Run on, so nothing may run here. What is left of earlier attempts is killed first.
    #[must_use]
    pub fn give_back(spec: RunSpec, attempt: i32, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut machine = Self::new(spec, attempt, now);
        machine.state = State::Stopping(now);
        machine.stop = Some(Stop::Restarted);
        machine.progress.slot_released = true;
        machine.progress.cancel_asked = true;
        (machine, vec![Effect::Cancel])
    }

    /// When its pod received it.
    #[must_use]
    pub fn received(&self) -> Timestamp {
        self.received
    }

    fn new(spec: RunSpec, attempt: i32, received: Timestamp) -> Self {
        let timeline = Timeline { received: Some(MicroTime(received)), ..Timeline::default() };
        Self {
            spec,
            attempt,
            received,
            latest: received,
            timeline,
            state: State::Queued,
            stop: None,
            admitted: None,
            started: None,
            exit: None,
            ending: None,
            progress: Progress::default(),
        }
    }

    /// Whether nothing is left to do: the next attempt of the same Run may start.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let progress = &self.progress;
        self.state == State::Ended
            && progress.written
            && progress.server_forgot
            && progress.workspace_removed
    }

    /// Whether the command may have started.
    #[must_use]
    pub fn may_have_started(&self) -> bool {
        self.progress.execute_asked
    }

    /// Takes one event at `now`, which never goes backwards, and says what is to be done.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let now = now.max(self.latest);
        self.latest = now;
        let mut effects = Vec::new();
        match event {
            Event::SlotGranted => self.on_slot(now, &mut effects),
            Event::Prepared => self.on_prepared(now, &mut effects),
            Event::PrepareFailed(reason, message) => {
                self.on_prepare_failed(reason, &message, now, &mut effects);
            }
            Event::LeaseHeld => self.on_lease_held(&mut effects),
            Event::LeaseMissed => self.on_lease_missed(now, &mut effects),
            Event::Executed => self.on_execute_answered(now, None, &mut effects),
            Event::ExecuteFailed(why) => self.on_execute_answered(now, Some(why), &mut effects),
            Event::Started(at) => self.on_started(at, now, &mut effects),
            Event::Exited(exit, at) => self.on_exited(exit, at, now, &mut effects),
            Event::Lost => self.on_lost(now, &mut effects),
            Event::Unreadable(why) => self.on_stop(Stop::Unreadable(why), now, &mut effects),
            Event::CancelRequested => self.on_cancel_requested(now, &mut effects),
            Event::Deleted => self.on_stop(Stop::Deleted, now, &mut effects),
            Event::Shutdown => self.on_stop(Stop::Shutdown, now, &mut effects),
            Event::Drain if self.may_have_started() => {}
            Event::Drain => self.on_stop(Stop::Shutdown, now, &mut effects),
            Event::Fenced if !self.may_have_started() => {}
            Event::Fenced | Event::Broken => self.on_stop(Stop::Fenced, now, &mut effects),
            Event::CancelAcknowledged => self.on_cancel_acknowledged(now, &mut effects),
            Event::Collected(collected) => self.on_collected(collected, now, &mut effects),
            Event::Kept(kept) => self.on_kept(kept, now, &mut effects),
            Event::Written => self.progress.written |= self.progress.write_asked,
            Event::Forgotten => self.progress.server_forgot |= self.progress.cleanup_asked,
            Event::WorkspaceRemoved => {
                self.progress.workspace_removed |= self.progress.cleanup_asked;
            }
            Event::Deadline => self.on_deadline(now, &mut effects),
        }
        self.clean_up(&mut effects);
        effects
    }

    fn on_slot(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.state == State::Queued {
            self.admitted = Some(now);
            self.state = State::Preparing;
            effects.push(Effect::PrepareWorkspace);
        }
    }

    fn on_prepared(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.state == State::Preparing {
            self.timeline.prepared = Some(MicroTime(now));
            self.state = State::Gated;
            effects.push(Effect::AwaitLease);
        }
    }

    fn on_lease_held(&mut self, effects: &mut Vec<Effect>) {
        if self.state == State::Gated {
            self.state = State::Executing;
            self.progress.execute_asked = true;
            effects.push(Effect::Execute);
        }
    }

    fn on_prepare_failed(
        &mut self,
        reason: Reason,
        message: &str,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if self.state == State::Preparing {
            self.conclude(Some(Outcome::failed(reason, message)), now, effects);
        }
    }

    fn on_execute_answered(
        &mut self,
        now: Timestamp,
        failure: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if !self.progress.execute_asked || self.progress.execute_answered {
            return;
        }
        self.progress.execute_answered = true;
        match failure {
            // The refusal may have been lost on its way back while the command runs: it is killed first.
            Some(why) => self.on_stop(Stop::ExecuteFailed(why), now, effects),
            None if self.state == State::Executing => {
                self.started.get_or_insert(now);
            }
            None => {}
        }
        self.cancel_when_possible(effects);
    }

    fn on_started(&mut self, at: Timestamp, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.progress.execute_asked || self.timeline.started.is_some() {
            return;
        }
        let at = self.between_stages(at, now);
        self.timeline.started = Some(MicroTime(at));
        self.started.get_or_insert(at);
        self.cancel_when_possible(effects);
    }

    fn on_exited(&mut self, exit: Exit, at: Timestamp, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.progress.execute_asked || self.progress.dead {
            return;
        }
        let at = self.between_stages(at, now);
        self.timeline.started.get_or_insert(MicroTime(self.started.unwrap_or(at).min(at)));
        self.timeline.exited = Some(MicroTime(at));
        self.progress.dead = true;
        let reported = Outcome::from_exit(&exit, self.timeout());
        self.exit = Some(exit);
        match (&self.state, &self.stop) {
            (State::Ended, _) => self.release_slot(effects),
            // It did run: its own end says more than the answer that was lost.
            (_, None | Some(Stop::ExecuteFailed(_))) => self.collect(Some(reported), now, effects),
            (_, Some(_)) => self.collect(self.outcome_of_stop(), now, effects),
        }
    }

    fn on_lost(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.progress.execute_answered || self.progress.dead {
            return;
        }
        self.progress.dead = true;
        self.progress.server_forgot = true;
        let lost = Outcome::failed(
            Reason::ExecutionLost,
            "the Runtime Server does not know the execution any more",
        );
        match (&self.state, &self.stop) {
            (State::Ended, _) => self.release_slot(effects),
            (_, None) => self.collect(Some(lost), now, effects),
            (_, Some(_)) => self.collect(self.outcome_of_stop(), now, effects),
        }
    }

    fn on_cancel_requested(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.spec.cancel_requested = Some(true);
        self.on_stop(Stop::Cancelled, now, effects);
    }

    fn on_cancel_acknowledged(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.progress.cancel_asked {
            return;
        }
        let was_dead = self.progress.dead;
        self.progress.dead = true;
        self.progress.server_forgot = true;
        match self.state {
            State::Stopping(_) => self.end_stopped(now, effects),
            State::Ended if !was_dead => self.release_slot(effects),
            State::Queued
            | State::Preparing
            | State::Gated
            | State::Executing
            | State::Collecting(_)
            | State::Keeping(_)
            | State::Ended => {}
        }
    }

    fn on_deadline(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let timed_out = self.run_deadline().is_some_and(|deadline| now >= deadline);
        match self.state {
            State::Queued => self.hand_back("no slot became free", effects),
            State::Preparing | State::Gated | State::Executing if timed_out => {
                self.on_stop(Stop::Timeout, now, effects);
            }
            State::Preparing | State::Gated | State::Executing => self.write_running(effects),
            State::Stopping(_) => self.conclude(self.outcome_of_stop(), now, effects),
            State::Collecting(since) | State::Keeping(since) => {
                self.on_collecting_deadline(since, now, effects);
            }
            State::Ended => {}
        }
    }
}

#[cfg(test)]
mod collect_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walks;

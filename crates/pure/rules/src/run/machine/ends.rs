//! How an attempt ends: asked to stop, concluded with or without a status, handed back, cleaned up.

use super::{Machine, State, Stop};
use crate::mutant::{self, Mutant};
use crate::run::event::Effect;
use crate::run::outcome::Outcome;
use crate::run::retry;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Phase, Reason};

impl Machine {
    pub(super) fn on_stop(&mut self, stop: Stop, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.state {
            State::Queued | State::Gated => self.end_before_execute(stop, now, effects),
            State::Preparing => {
                effects.push(Effect::StopPreparing);
                self.end_before_execute(stop, now, effects);
            }
            State::Executing if mutant::is(Mutant::HandBackStarted) && stop == Stop::Fenced => {
                self.end_before_execute(stop, now, effects);
            }
            State::Executing => {
                self.stop = Some(stop);
                self.state = State::Stopping(now);
                if !self.progress.execute_answered {
                    effects.push(Effect::StopExecuting);
                }
                self.cancel_when_possible(effects);
            }
            // The first reason stays, except that a Run that is gone gets no status.
            State::Stopping(_) if stop == Stop::Deleted => self.stop = Some(stop),
            State::Collecting(_) if stop == Stop::Deleted => self.conclude(None, now, effects),
            State::Keeping(_) => self.stop_keeping(stop, effects),
            State::Stopping(_) | State::Collecting(_) | State::Ended => {}
        }
    }

    fn end_before_execute(&mut self, stop: Stop, now: Timestamp, effects: &mut Vec<Effect>) {
        match stop {
            Stop::Shutdown => self.hand_back("the pod ends", effects),
            Stop::Fenced => self.hand_back("the pod's Lease was broken", effects),
            Stop::Restarted => self.hand_back("runtimed was started anew", effects),
            Stop::Timeout
            | Stop::Cancelled
            | Stop::Deleted
            | Stop::ExecuteFailed(_)
            | Stop::Unreadable(_) => {
                self.stop = Some(stop);
                self.conclude(self.outcome_of_stop(), now, effects);
            }
        }
    }

    /// Nothing is left of what was to end.
    pub(super) fn end_stopped(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.stop {
            Some(Stop::Restarted) => self.end_before_execute(Stop::Restarted, now, effects),
            _ => self.collect(self.outcome_of_stop(), now, effects),
        }
    }

    /// Execute was not sent after all.
    pub(super) fn on_lease_missed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.progress.execute_asked || self.progress.execute_answered {
            return;
        }
        self.progress.execute_asked = false;
        match self.state {
            State::Executing => {
                self.state = State::Gated;
                effects.push(Effect::AwaitLease);
            }
            State::Stopping(_) => {
                if let Some(stop) = self.stop.take() {
                    self.end_before_execute(stop, now, effects);
                }
            }
            State::Ended => {
                self.nothing_ran();
                self.release_slot(effects);
            }
            State::Queued
            | State::Preparing
            | State::Gated
            | State::Collecting(_)
            | State::Keeping(_) => {}
        }
    }

    /// Cancel goes out once the server has the Execute: before, it would know nothing to kill and start it after.
    pub(super) fn cancel_when_possible(&mut self, effects: &mut Vec<Effect>) {
        let server_has_it = self.progress.execute_answered || self.timeline.started.is_some();
        let alive = !self.progress.dead && !self.progress.cancel_asked;
        if self.stop.is_some() && server_has_it && alive {
            self.progress.cancel_asked = true;
            effects.push(Effect::Cancel);
        }
    }

    /// Ends the attempt: with a status, or without one when the Run is gone.
    pub(super) fn conclude(
        &mut self,
        outcome: Option<Outcome>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.state = State::Ended;
        if !self.progress.execute_asked {
            self.nothing_ran();
        }
        self.progress.write_asked = true;
        match outcome {
            None => self.progress.written = true,
            Some(outcome) => {
                self.timeline.finished = Some(MicroTime(now));
                let timeline = self.timeline.clone();
                effects.push(if self.retries(&outcome) {
                    Effect::WriteRetry(outcome, timeline)
                } else {
                    Effect::WriteTerminal(outcome, timeline)
                });
            }
        }
        if self.progress.dead {
            self.release_slot(effects);
        }
    }

    pub(super) fn hand_back(&mut self, message: &str, effects: &mut Vec<Effect>) {
        self.state = State::Ended;
        self.nothing_ran();
        self.progress.write_asked = true;
        effects.push(Effect::HandBack(message.to_owned()));
        self.release_slot(effects);
    }

    fn nothing_ran(&mut self) {
        self.progress.dead = true;
        self.progress.server_forgot = true;
    }

    pub(super) fn release_slot(&mut self, effects: &mut Vec<Effect>) {
        if !self.progress.slot_released {
            self.progress.slot_released = true;
            effects.push(Effect::ReleaseSlot);
        }
    }

    /// After the final write: the server forgets, the workspace goes. A crash before finds both again.
    pub(super) fn clean_up(&mut self, effects: &mut Vec<Effect>) {
        let progress = &mut self.progress;
        let ended = self.state == State::Ended && progress.written && progress.dead;
        // A Cancel that is on its way drops the execution by itself.
        let cancel_open = progress.cancel_asked && !progress.server_forgot;
        if !ended || cancel_open || progress.cleanup_asked {
            return;
        }
        progress.cleanup_asked = true;
        if !progress.server_forgot {
            effects.push(Effect::Forget);
        }
        effects.push(Effect::RemoveWorkspace);
    }

    pub(super) fn outcome_of_stop(&self) -> Option<Outcome> {
        let mut outcome = match self.stop.as_ref()? {
            Stop::Deleted | Stop::Restarted => return None,
            Stop::Timeout => Outcome::timeout(self.timeout().unwrap_or_default()),
            Stop::Cancelled => Outcome::cancelled(),
            Stop::Shutdown => Outcome::failed(Reason::PodTerminating, "the pod ends"),
            Stop::Fenced => Outcome::fenced(),
            Stop::Unreadable(why) => Outcome::failed(Reason::RuntimeError, why),
            Stop::ExecuteFailed(why) => Outcome::failed(Reason::RuntimeExecute, why),
        };
        if let Some(exit) = &self.exit {
            outcome.exit_code = Outcome::from_exit(exit, None).exit_code;
        }
        Some(outcome)
    }

    pub(super) fn retries(&self, outcome: &Outcome) -> bool {
        outcome.phase != Phase::Succeeded
            && retry::should_retry(&self.spec, self.attempt, outcome.reason)
    }
}

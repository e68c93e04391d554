//! Between the end of the processes and the final write: what the attempt left behind is looked through, and the artifacts of
//! a success are kept.
//!
//! The command has ended: its timeout changes nothing. Who stops the keeping waits until it has ended: another attempt of
//! the Run keeps its own under the same names.

use super::times::after;
use super::{Machine, State, Stop};
use crate::mutant::{self, Mutant};
use crate::run::event::{Collected, Effect};
use crate::run::outcome::Outcome;
use jiff::Timestamp;
use kruntimes_api::{ArtifactRef, Phase, Reason};
use std::time::Duration;

/// How long a disk may take to show what an attempt left behind.
pub(super) const COLLECT_WITHIN: Duration = Duration::from_secs(10);
/// Who keeps artifacts has bounds of its own; this is for one that has not.
pub(super) const KEEP_WITHIN: Duration = Duration::from_hours(1);

impl Machine {
    /// No process is left. A Run that is gone leaves nothing behind.
    pub(super) fn collect(
        &mut self,
        outcome: Option<Outcome>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let nothing = outcome.is_none() || !self.progress.execute_asked;
        if nothing || mutant::is(Mutant::NothingCollected) {
            return self.conclude(outcome, now, effects);
        }
        self.ending = outcome;
        self.state = State::Collecting(now);
        effects.push(Effect::Collect);
    }

    pub(super) fn on_collected(
        &mut self,
        collected: Collected,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if !matches!(self.state, State::Collecting(_)) {
            return;
        }
        let artifacts = collected.artifacts;
        let outcome = self.ending.take().map(|outcome| outcome.with(collected));
        let succeeded = outcome.as_ref().is_some_and(|outcome| outcome.phase == Phase::Succeeded);
        if artifacts && succeeded && self.spec.cancel_requested == Some(true) {
            self.stop = Some(Stop::Cancelled);
            self.conclude(self.outcome_of_stop(), now, effects);
        } else if artifacts && succeeded {
            self.ending = outcome;
            self.state = State::Keeping(now);
            effects.push(Effect::KeepArtifacts(self.timeline.clone()));
        } else {
            self.conclude(outcome, now, effects);
        }
    }

    pub(super) fn on_kept(
        &mut self,
        kept: Result<Vec<ArtifactRef>, (Reason, String)>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if !matches!(self.state, State::Keeping(_)) {
            return;
        }
        let outcome = match &self.stop {
            // What killed nothing, since the command had ended, is not how it ended.
            None | Some(Stop::ExecuteFailed(_)) => {
                self.ending.take().map(|outcome| outcome.keeping(kept))
            }
            Some(_) => self.outcome_of_stop(),
        };
        self.conclude(outcome, now, effects);
    }

    /// Nobody wants the artifacts any more, for that reason.
    pub(super) fn stop_keeping(&mut self, stop: Stop, effects: &mut Vec<Effect>) {
        // The command has ended: that an answer about its start was late or lost is no reason.
        if matches!(stop, Stop::ExecuteFailed(_)) {
            return;
        }
        let first = matches!(self.stop, None | Some(Stop::ExecuteFailed(_)));
        if first {
            effects.push(Effect::StopKeeping);
        }
        if first || stop == Stop::Deleted {
            self.stop = Some(stop);
        }
    }

    pub(super) fn collecting_deadline(&self, since: Timestamp) -> Option<Timestamp> {
        let patience = after(since, self.patience());
        Some(self.running_due().map_or(patience, |due| due.min(patience)))
    }

    pub(super) fn on_collecting_deadline(
        &mut self,
        since: Timestamp,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if now < after(since, self.patience()) {
            return self.write_running(effects);
        }
        if matches!(self.state, State::Keeping(_)) {
            let why = "the artifact store did not answer".to_owned();
            effects.push(Effect::StopKeeping);
            // Who keeps may still be at it: no other attempt follows.
            self.spec.retry_policy = None;
            return self.on_kept(Err((Reason::ArtifactStoreFailed, why)), now, effects);
        }
        let why = format!("the outputs could not be read within {} s", COLLECT_WITHIN.as_secs());
        let refused = Some((Reason::OutputsInvalid, why));
        self.on_collected(Collected { refused, ..Collected::default() }, now, effects);
    }

    const fn patience(&self) -> Duration {
        if matches!(self.state, State::Keeping(_)) { KEEP_WITHIN } else { COLLECT_WITHIN }
    }

    pub(super) fn write_running(&mut self, effects: &mut Vec<Effect>) {
        self.progress.running_written = true;
        effects.push(Effect::WriteRunning(self.timeline.clone()));
    }
}

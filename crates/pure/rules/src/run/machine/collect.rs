//! Between the end of the processes and the final write: what the attempt left behind is looked through.
//!
//! The command has ended: neither its timeout nor a cancellation changes how.

use super::times::after;
use super::{Machine, State};
use crate::mutant::{self, Mutant};
use crate::run::event::{Collected, Effect};
use crate::run::outcome::Outcome;
use jiff::Timestamp;
use kruntimes_api::Reason;
use std::time::Duration;

/// How long a disk may take to show what an attempt left behind.
pub(super) const COLLECT_WITHIN: Duration = Duration::from_secs(10);

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
        let outcome = self.ending.take().map(|outcome| outcome.with(collected));
        self.conclude(outcome, now, effects);
    }

    pub(super) fn collecting_deadline(&self, since: Timestamp) -> Option<Timestamp> {
        let patience = after(since, COLLECT_WITHIN);
        Some(self.running_due().map_or(patience, |due| due.min(patience)))
    }

    pub(super) fn on_collecting_deadline(
        &mut self,
        since: Timestamp,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if now < after(since, COLLECT_WITHIN) {
            return self.write_running(effects);
        }
        let why = format!("the outputs could not be read within {} s", COLLECT_WITHIN.as_secs());
        let refused = Some((Reason::OutputsInvalid, why));
        self.on_collected(Collected { refused, ..Collected::default() }, now, effects);
    }

    pub(super) fn write_running(&mut self, effects: &mut Vec<Effect>) {
        self.progress.running_written = true;
        effects.push(Effect::WriteRunning(self.timeline.clone()));
    }
}

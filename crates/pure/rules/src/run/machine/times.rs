//! When something is due in an attempt, and what is kept of the times that others tell.

use super::{CANCEL_PATIENCE, CLAIMED_AFTER, Machine, RUNNING_AFTER, SLOT_WAIT, State};
use crate::mutant::{self, Mutant};
use jiff::Timestamp;
use std::time::Duration;

impl Machine {
    /// When [`Event::Deadline`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Queued => {
                let wait = self.timeout().map_or(SLOT_WAIT, |timeout| timeout.min(SLOT_WAIT));
                Some(after(self.received, wait))
            }
            State::Preparing | State::Gated | State::Executing => {
                [self.run_deadline(), self.running_due()].into_iter().flatten().min()
            }
            State::Stopping(since) => {
                let early = mutant::is(Mutant::RetryBeforeDeath);
                self.outcome_of_stop().filter(|outcome| early || !self.retries(outcome))?;
                Some(after(since, if early { Duration::ZERO } else { CANCEL_PATIENCE }))
            }
            State::Collecting(since) | State::Keeping(since) => self.collecting_deadline(since),
            State::Ended => None,
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let seconds = self.spec.timeout_seconds?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }

    pub(super) fn run_deadline(&self) -> Option<Timestamp> {
        self.timeout().map(|timeout| after(self.received, timeout))
    }

    pub(super) fn running_due(&self) -> Option<Timestamp> {
        if self.progress.running_written {
            return None;
        }
        // Others wait for one that holds a workspace to be Running.
        let is_awaited = self.spec.holds_workspace == Some(true);
        let wait = if is_awaited { Duration::ZERO } else { RUNNING_AFTER };
        let started = self.started.map(|started| after(started, wait));
        let claimed = self.admitted.map(|admitted| after(admitted, CLAIMED_AFTER));
        [started, claimed].into_iter().flatten().min()
    }

    /// The server's time, held between the last stage and now: it is shown, never trusted.
    pub(super) fn between_stages(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        let stages = [&self.timeline.prepared, &self.timeline.started];
        let last = stages.into_iter().flatten().map(|time| time.0).max().unwrap_or(self.received);
        at.max(last).min(now)
    }
}

pub(super) fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

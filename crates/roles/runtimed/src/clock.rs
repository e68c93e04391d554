//! The clock of one attempt: wall time at its start, monotonic from there.

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// A wall clock that never goes backwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    wall: Timestamp,
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { wall: Timestamp::now(), origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Timestamp {
        self.wall.checked_add(self.origin.elapsed()).unwrap_or(self.wall)
    }

    /// When a time of this clock has come.
    pub(crate) fn instant(self, time: Timestamp) -> Instant {
        let wait = Duration::try_from(time.duration_since(self.wall)).unwrap_or_default();
        self.origin + wait
    }
}

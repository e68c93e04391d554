//! The clock of one attempt: wall time at its start, monotonic from there.

use jiff::Timestamp;
use kruntimes_daemon::boottime;
use kruntimes_rules::run::received::Received;
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

    /// A time of this clock that has passed, for a later life of this process.
    pub(crate) fn keep(self, time: Timestamp) -> Received {
        let ago = Duration::try_from(self.now().duration_since(time)).unwrap_or_default();
        Received { wall: time, boot: Some(boottime::now().saturating_sub(ago)) }
    }

    /// What an earlier life kept, on this clock.
    pub(crate) fn read(self, received: Received) -> Timestamp {
        received.on(self.now(), boottime::now())
    }

    /// When a time of this clock has come.
    pub(crate) fn instant(self, time: Timestamp) -> Instant {
        let wait = Duration::try_from(time.duration_since(self.wall)).unwrap_or_default();
        self.origin + wait
    }
}

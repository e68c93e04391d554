//! The wall time at the start, and the monotonic clock from there: a step of the wall clock ends no Workflow.

use jiff::Timestamp;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { wall: Timestamp::now(), started: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.wall.checked_add(self.started.elapsed()).unwrap_or(self.wall)
    }
}

//! What is in memory of a log whose attempt has ended: enough to make the [`Log`] again when somebody asks.

use super::log::{Log, Rest};
use kruntimes_artifacts::Frame;
use std::path::Path;

/// An ended log.
#[derive(Debug)]
pub(super) struct Ended {
    number: u64,
    attempt: i32,
    rest: Rest,
    exit: Option<Box<Frame>>,
}

impl Ended {
    /// Of this log; `number` grows with every log that ends.
    pub(super) fn of(log: &Log, number: u64) -> Self {
        let (rest, exit) = log.rest();
        Self { number, attempt: log.attempt(), rest, exit: exit.map(Box::new) }
    }

    /// The log again.
    pub(super) fn log(&self, directory: &Path, uid: &str) -> Log {
        Log::ended(directory, uid, self.attempt, self.rest, self.exit.as_deref().cloned())
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.rest.length
    }

    /// When it ended, among others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

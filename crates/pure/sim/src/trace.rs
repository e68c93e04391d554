//! What happened, as a hash and, when asked for, as lines.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

/// How many lines a failing seed prints.
const KEPT: usize = 50;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The hash alone.
    Hash,
    /// The last lines too.
    Last,
    /// All lines.
    All,
}

/// The trace of one seed.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    detail: Detail,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, detail, lines: VecDeque::new() }
    }

    /// Something that happened, for the hash.
    pub(crate) fn note(&mut self, now: Duration, what: &str, one: u64, two: u64) {
        self.mix(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        what.bytes().for_each(|byte| self.mix(u64::from(byte)));
        self.mix(one);
        self.mix(two);
    }

    /// The same for people.
    pub(crate) fn say(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if self.detail == Detail::Hash {
            return;
        }
        if self.detail == Detail::Last && self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        let mut text = String::new();
        // A String takes everything.
        let _ = write!(text, "{:>12.6} {}", now.as_secs_f64(), line());
        self.lines.push_back(text);
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5);
    }

    pub(crate) fn finish(self) -> (u64, Vec<String>) {
        (self.hash, self.lines.into())
    }
}

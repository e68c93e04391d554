//! Files in the syntax of GitHub's workflows: what of it means the same here, and the `spec` that comes of it.
//!
//! What has another meaning, or none, is refused by its path: nothing is left out silently.

mod events;
mod keys;
mod translate;

pub use keys::{KEYS, Key, Verdict, check_keys};
pub use translate::{Translated, translate};

/// A key of a file, and why it can't stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Refusal {
    /// As in `jobs.build.steps[0].uses`.
    pub path: String,
    /// Why, and what to do.
    pub message: String,
}

/// Refusals that are told at once.
pub const MAX_REFUSALS: usize = 50;

impl Refusal {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

//! Field paths as texts that grow and shrink with the walk.
use std::fmt::Write as _;

/// The path of the place that a walk is at.
#[derive(Debug, Default)]
pub(super) struct Path {
    text: String,
}

impl Path {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// How to come back here.
    pub(super) fn mark(&self) -> usize {
        self.text.len()
    }

    pub(super) fn back(&mut self, mark: usize) {
        self.text.truncate(mark);
    }

    /// Steps into a field: `.name`.
    pub(super) fn field(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
    }

    /// Steps into an item: `[3]`.
    pub(super) fn index(&mut self, index: usize) {
        let _ = write!(self.text, "[{index}]");
    }

    /// Steps into the value of a map: `[key]`.
    pub(super) fn key(&mut self, key: &str) {
        let _ = write!(self.text, "[{key}]");
    }
}

/// Two paths, one below the other.
pub(super) fn joined(base: &str, below: &str) -> String {
    if base.is_empty() || below.is_empty() || below.starts_with('[') {
        format!("{base}{below}")
    } else {
        format!("{base}.{below}")
    }
}

/// A path as errors print it.
pub(super) fn shown(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}

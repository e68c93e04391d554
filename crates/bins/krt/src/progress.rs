//! krt's own lines beside a Run's output: one progress line on a terminal, gone at the end, or plain lines with `-v`.
//!
//! Invariant: nothing is written unless stderr is a terminal or `-v` was given, but for [`Progress::say`].

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Back to the start of the line, and erase it.
const ERASE: &str = "\r\x1b[2K";

/// Where krt's lines go; clones share the line.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    terminal: bool,
    verbose: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    drawn: bool,
    /// The Run writes: a progress line would stand between its own.
    quiet: bool,
}

impl Progress {
    /// For this process's stderr.
    pub(crate) fn new(verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self(Arc::new(Inner { terminal, verbose, state: Mutex::default() }))
    }

    /// Shows the stage.
    pub(crate) fn stage(&self, text: &str) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.verbose {
            put(&format!("{text}\n"));
        } else if self.0.terminal && !state.quiet {
            put(&format!("{ERASE}{text}"));
            state.drawn = true;
        }
    }

    /// Erases the progress line for good: from here the output is the Run's.
    pub(crate) fn hush(&self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.quiet = true;
        if state.drawn {
            state.drawn = false;
            put(ERASE);
        }
    }

    /// Says a line on a terminal or with `-v`, in place of the progress line.
    pub(crate) fn note(&self, line: &str) {
        if self.0.terminal || self.0.verbose {
            self.say(line);
        }
    }

    /// Says a line in any case.
    pub(crate) fn say(&self, line: &str) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let erase = if state.drawn { ERASE } else { "" };
        state.drawn = false;
        put(&format!("{erase}{line}\n"));
    }
}

/// Writes to stderr.
pub(crate) fn put(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell when stderr is closed.
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

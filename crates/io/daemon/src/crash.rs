//! Points where a test has this process killed, as by SIGKILL from outside. Release builds have none.
//!
//! A point that a test waits for is a file of its name in the directory; who removes it dies.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Environment variable with the directory, of builds with debug assertions.
pub const VARIABLE: &str = "KRUNTIMES_CRASH_DIRECTORY";

/// What a test gives to each process of a home: the directory, and a library that shifts its time of day.
pub const VARIABLES: [&str; 2] = [VARIABLE, "LD_PRELOAD"];

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// From now on the points of this directory count, for as long as the process lives.
pub fn arm(directory: PathBuf) {
    // Armed twice it keeps the first.
    drop(DIRECTORY.set(directory));
}

/// Dies here if a test waits for this point.
#[inline]
pub fn point(name: &str) {
    if cfg!(debug_assertions)
        && let Some(directory) = DIRECTORY.get()
        && std::fs::remove_file(directory.join(name)).is_ok()
    {
        die();
    }
}

#[cold]
fn die() {
    let me = rustix::process::getpid();
    // Nothing is left to say when even this fails.
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
}

//! The lifeline: a child of the local home ends when the home is gone, even by SIGKILL.
//!
//! The home holds the write end of a pipe that is the child's stdin; end of file means that the home is gone.

use crate::Trigger;
use tokio::io::AsyncReadExt;

/// Environment variable that turns the lifeline on, with the value `stdin`.
pub const VARIABLE: &str = "KRUNTIMES_LIFELINE";

/// Fires `trigger` when stdin ends.
pub async fn watch_stdin(trigger: Trigger) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0_u8; 64];
    while matches!(stdin.read(&mut buffer).await, Ok(count) if count > 0) {}
    trigger.fire();
}

//! The lifeline: a child of the local home ends when the home is gone, even by SIGKILL.
//!
//! The home holds the write end of a pipe that is the child's stdin; end of file means that the home is gone.

use crate::Trigger;
use std::io::{self, Read};

/// Environment variable that turns the lifeline on, with the value `stdin`.
pub const VARIABLE: &str = "KRUNTIMES_LIFELINE";

/// Fires `trigger` when stdin ends.
pub async fn watch_stdin(trigger: Trigger) {
    if ends(io::stdin()).await {
        trigger.fire();
    }
}

/// Waits for the end of `input`; false when that can't be watched. The read blocks a thread of its own: one of the
/// runtime's would keep the process from ending before its stdin does.
async fn ends(mut input: impl Read + Send + 'static) -> bool {
    let (sender, ended) = tokio::sync::oneshot::channel();
    let read = move || {
        let mut buffer = [0_u8; 64];
        loop {
            match input.read(&mut buffer) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        // Without a receiver the process is ending already.
        sender.send(()).ok();
    };
    let started = std::thread::Builder::new().name("lifeline".to_owned()).spawn(read);
    match started {
        Ok(_) => ended.await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "the end of the home can't be watched");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn the_end_of_the_pipe_is_the_end_of_the_home() {
        let (reader, writer) = io::pipe().unwrap();
        drop(writer);
        assert!(ends(reader).await);
    }

    #[test]
    fn a_runtime_ends_while_the_home_lives() {
        let (reader, writer) = io::pipe().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let waited =
            runtime.block_on(async { tokio::time::timeout(Duration::ZERO, ends(reader)).await });
        assert!(waited.is_err());
        drop(runtime);
        drop(writer);
    }
}

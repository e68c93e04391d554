//! The task of one execution: hand the command over, keep its output, end it when asked, tell its end.
//!
//! Invariant: the end is told after the supervisor's word that no process is left, and after the pipes were read empty.

use crate::prepare::Places;
use kruntimes_confine::{Child, Control, End, Report, SpawnError, TERMINATE_GRACE, Zygote};
use kruntimes_daemon::{remove_tree, watched};
use kruntimes_runtime_server::{Cancel, Outcome, Output, Stream};
use std::future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// Bytes read from a pipe at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// Reads of a pipe after the end: the largest pipe that an unprivileged process can make, twice.
const DRAIN_READS: usize = 32;
/// How long a supervisor may take beyond the grace before it is killed itself.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// How long to wait at most for a busy zygote before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Follows a command that was handed over to its end; nothing when its supervisor was lost.
pub(crate) async fn follow(
    zygote: &AsyncFd<Zygote>,
    child: Child,
    output: Output,
    cancel: &Cancel,
) -> Result<Option<End>, Outcome> {
    let mut process = Process::new(zygote, output, child)
        .map_err(|error| Outcome::failed(0, format!("no process could be watched: {error}")))?;
    Ok(process.until_the_end(cancel).await)
}

/// Hands a command over to whoever reads `socket`, as soon as it takes one.
pub(crate) async fn hand_over<T: AsRawFd>(
    socket: &AsyncFd<T>,
    give: impl Fn(&T) -> Result<Child, SpawnError>,
) -> Result<Child, SpawnError> {
    loop {
        match give(socket.get_ref()) {
            Err(SpawnError::Busy) => {
                if let Ok(Ok(mut guard)) = tokio::time::timeout(ASK_AGAIN, socket.writable()).await
                {
                    guard.clear_ready();
                }
            }
            other => return other,
        }
    }
}

/// Why no command can be started.
pub(crate) fn health(zygote: &AsyncFd<Zygote>) -> Result<(), String> {
    if zygote.get_ref().is_alive() {
        Ok(())
    } else {
        Err("the process that starts executions is dead".to_owned())
    }
}

/// Removes the temporary files of an execution.
pub(crate) async fn remove_temporary(places: &Places, id: &str) {
    if places.put_aside(id) {
        return;
    }
    let path = places.temporary(id);
    let removed = tokio::task::spawn_blocking(move || remove_tree(&path)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%id, %error, "temporary files stay");
    }
}

struct Process<'a> {
    zygote: &'a AsyncFd<Zygote>,
    output: Output,
    control: AsyncFd<Control>,
    stdout: Pipe,
    stderr: Pipe,
    ending: Ending,
    /// When a supervisor that was told to end its command must have answered.
    answer_until: Option<Instant>,
}

/// Whether the supervisor was told to end its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    NotAsked,
    Asked,
}

struct Pipe {
    stream: Stream,
    fd: AsyncFd<OwnedFd>,
    open: bool,
}

impl<'a> Process<'a> {
    fn new(zygote: &'a AsyncFd<Zygote>, output: Output, child: Child) -> io::Result<Self> {
        let control = watched(child.control, Interest::READABLE)?;
        let stdout = Pipe::new(Stream::Stdout, child.stdout)?;
        let stderr = Pipe::new(Stream::Stderr, child.stderr)?;
        Ok(Self {
            zygote,
            output,
            control,
            stdout,
            stderr,
            ending: Ending::NotAsked,
            answer_until: None,
        })
    }

    /// How the command ended; nothing when its supervisor was lost.
    async fn until_the_end(&mut self, cancel: &Cancel) -> Option<End> {
        let end = loop {
            tokio::select! {
                biased;
                report = report(&self.control) => match report {
                    Some(Report::Started(_)) => self.output.started(),
                    Some(Report::Ended(end)) => break Some(end),
                    None => break None,
                },
                _ = cancel.wait(), if self.ending == Ending::NotAsked => self.terminate(),
                () = until(self.answer_until) => self.abandon(),
                open = self.stdout.read(&self.output), if self.stdout.open => {
                    self.stdout.open = open;
                }
                open = self.stderr.read(&self.output), if self.stderr.open => {
                    self.stderr.open = open;
                }
            }
        };
        self.stdout.drain(&self.output);
        self.stderr.drain(&self.output);
        end
    }

    fn terminate(&mut self) {
        self.ending = Ending::Asked;
        self.control.get_ref().terminate();
        self.answer_until = Some(Instant::now() + TERMINATE_GRACE + ANSWER_TIME);
    }

    fn abandon(&mut self) {
        let abandoned = self.zygote.get_ref().abandon(self.control.get_ref());
        self.answer_until = abandoned.is_err().then(|| Instant::now() + ASK_AGAIN);
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

async fn report(control: &AsyncFd<Control>) -> Option<Report> {
    loop {
        let mut guard = control.readable().await.ok()?;
        match guard.try_io(|control| control.get_ref().receive()) {
            Ok(report) => return report.ok().flatten(),
            Err(_would_block) => {}
        }
    }
}

impl Pipe {
    fn new(stream: Stream, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { stream, fd: watched(fd, Interest::READABLE)?, open: true })
    }

    /// Keeps what is there, once; false at the end.
    async fn read(&self, output: &Output) -> bool {
        loop {
            let Ok(mut guard) = self.fd.readable().await else { return false };
            match guard.try_io(|fd| self.read_once(fd.get_ref(), output)) {
                Ok(count) => return count.is_ok_and(|count| count > 0),
                Err(_would_block) => {}
            }
        }
    }

    /// Keeps all that is left: the writers are gone, or have passed the pipe to strangers, who are not waited for.
    fn drain(&self, output: &Output) {
        for _ in 0..DRAIN_READS {
            if !self.read_once(self.fd.get_ref(), output).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }

    fn read_once(&self, fd: &OwnedFd, output: &Output) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let count = rustix::io::read(fd, &mut buffer)?;
        output.write(self.stream, &buffer[..count]);
        Ok(count)
    }
}

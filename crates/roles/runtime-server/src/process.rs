//! The task of one execution: hand the command over, keep its output, end it when asked, tell its end.
//!
//! Invariant: the end is told after the supervisor's word that no process is left, and after the pipes were read empty.

use crate::events::Events;
use crate::execution::Execution;
use crate::outcome::{Outcome, Why, outcome};
use crate::output::Stream;
use crate::prepare::{Prepared, Valid};
use crate::server::Server;
use kruntimes_confine::{Child, Command, Control, End, Report, SpawnError, TERMINATE_GRACE};
use kruntimes_daemon::{remove_tree, watched};
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Bytes read from a pipe at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// Reads of a pipe after the end: the largest pipe that an unprivileged process can make, twice.
const DRAIN_READS: usize = 32;
/// How long a supervisor may take beyond the grace before it is killed itself.
const ANSWER_TIME: Duration = Duration::from_millis(500);
/// How long to wait at most for a busy zygote before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Runs `valid` to its end, which is then in the table and among the events.
pub(crate) async fn run(server: Arc<Server>, execution: Arc<Execution>, valid: Valid) {
    let end = execute(&server, &execution, valid).await.unwrap_or_else(|outcome| outcome);
    execution.set_outcome(end.clone());
    if execution.why() == Some(Why::Cancelled) {
        server.table.remove(&execution);
    } else {
        server.table.retain(&execution);
    }
    server.events.exited(execution.id(), &end, execution.dropped_bytes());
    // The id may be taken again from here on, and with it the directory.
    remove_temporary(&server, &execution).await;
    execution.announce_end();
}

async fn execute(
    server: &Server,
    execution: &Arc<Execution>,
    valid: Valid,
) -> Result<Outcome, Outcome> {
    let timeout = valid.timeout;
    let working_dir = valid.working_dir.display().to_string();
    let Prepared { command, name } = server.places.prepare(valid)?;
    let child =
        spawn(server, &command).await.map_err(|error| Outcome::failed(0, error.to_string()))?;
    let mut process = Process::new(server, execution, child)
        .map_err(|error| Outcome::failed(0, format!("no process could be watched: {error}")))?;
    let end = process.until_the_end(timeout).await;
    Ok(outcome(end, process.why, &name, &working_dir))
}

async fn spawn(server: &Server, command: &Command) -> Result<Child, SpawnError> {
    loop {
        match server.zygote.get_ref().spawn(command) {
            Err(SpawnError::Busy) => {
                if let Ok(Ok(mut guard)) =
                    tokio::time::timeout(ASK_AGAIN, server.zygote.writable()).await
                {
                    guard.clear_ready();
                }
            }
            other => return other,
        }
    }
}

async fn remove_temporary(server: &Server, execution: &Execution) {
    let path = server.places.temporary(execution.id());
    let Err(error) = std::fs::remove_dir(&path) else { return };
    if error.kind() == io::ErrorKind::NotFound {
        return;
    }
    let removed = tokio::task::spawn_blocking(move || remove_tree(&path)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(id = %execution.id(), %error, "temporary files stay");
    }
}

struct Process<'a> {
    server: &'a Server,
    execution: &'a Arc<Execution>,
    control: AsyncFd<Control>,
    stdout: Pipe,
    stderr: Pipe,
    why: Option<Why>,
    /// When a supervisor that was told to end its command must have answered.
    answer_until: Option<Instant>,
}

struct Pipe {
    stream: Stream,
    fd: AsyncFd<OwnedFd>,
    open: bool,
}

impl<'a> Process<'a> {
    fn new(server: &'a Server, execution: &'a Arc<Execution>, child: Child) -> io::Result<Self> {
        let control = watched(child.control, Interest::READABLE)?;
        let stdout = Pipe::new(Stream::Stdout, child.stdout)?;
        let stderr = Pipe::new(Stream::Stderr, child.stderr)?;
        Ok(Self { server, execution, control, stdout, stderr, why: None, answer_until: None })
    }

    /// How the command ended; nothing when its supervisor was lost.
    async fn until_the_end(&mut self, timeout: Option<Duration>) -> Option<End> {
        let mut wishes = self.execution.wishes();
        let mut deadline = timeout.map(|timeout| Instant::now() + timeout);
        let end = loop {
            tokio::select! {
                biased;
                report = report(&self.control) => match report {
                    Some(Report::Started(_)) => note_started(&self.server.events, self.execution),
                    Some(Report::Ended(end)) => break Some(end),
                    None => break None,
                },
                why = wish(&mut wishes), if self.why.is_none() => self.terminate(why),
                () = until(deadline) => {
                    deadline = None;
                    self.terminate(Some(Why::Timeout));
                }
                () = until(self.answer_until) => self.abandon(),
                open = self.stdout.read(&self.server.events, self.execution), if self.stdout.open => {
                    self.stdout.open = open;
                }
                open = self.stderr.read(&self.server.events, self.execution), if self.stderr.open => {
                    self.stderr.open = open;
                }
            }
        };
        self.stdout.drain(&self.server.events, self.execution);
        self.stderr.drain(&self.server.events, self.execution);
        end
    }

    fn terminate(&mut self, why: Option<Why>) {
        if self.why.is_none() {
            self.why = why;
            self.control.get_ref().terminate();
            self.answer_until = Some(Instant::now() + TERMINATE_GRACE + ANSWER_TIME);
        }
    }

    fn abandon(&mut self) {
        let abandoned = self.server.zygote.get_ref().abandon(self.control.get_ref());
        self.answer_until = abandoned.is_err().then(|| Instant::now() + ASK_AGAIN);
    }
}

/// Tells the start once. Output proves it too: a command may stop its supervisor before that says a word.
fn note_started(events: &Events, execution: &Execution) {
    if execution.starts() {
        events.started(execution.id());
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}

async fn wish(wishes: &mut watch::Receiver<Option<Why>>) -> Option<Why> {
    // The sender lives as long as the execution.
    wishes.wait_for(Option::is_some).await.map_or(None, |why| *why)
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
    async fn read(&self, events: &Events, execution: &Arc<Execution>) -> bool {
        loop {
            let Ok(mut guard) = self.fd.readable().await else { return false };
            match guard.try_io(|fd| self.read_once(fd.get_ref(), events, execution)) {
                Ok(count) => return count.is_ok_and(|count| count > 0),
                Err(_would_block) => {}
            }
        }
    }

    /// Keeps all that is left: the writers are gone, or have passed the pipe to strangers, who are not waited for.
    fn drain(&self, events: &Events, execution: &Arc<Execution>) {
        for _ in 0..DRAIN_READS {
            if !self.read_once(self.fd.get_ref(), events, execution).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }

    fn read_once(
        &self,
        fd: &OwnedFd,
        events: &Events,
        execution: &Arc<Execution>,
    ) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let count = rustix::io::read(fd, &mut buffer)?;
        if count > 0 {
            note_started(events, execution);
        }
        if let Some((place, last)) = execution.keep(self.stream, &buffer[..count]) {
            let sequence = events.output(execution, self.stream, place, last);
            execution.set_last_event(self.stream, sequence);
        }
        Ok(count)
    }
}

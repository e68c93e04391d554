//! One git command: its process group, its output, its end.
//!
//! Invariant: when [`run`] returns or is dropped no process of the group lives, helpers included. They share the error
//! pipe: its end says that the last of them is gone.

use super::Stop;
use kruntimes_confine::Limits;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout};

/// Kept of what git prints to stderr: its end says why it failed.
const PRINTED_BYTES: usize = 64 << 10;
/// How long a killed group may take to be gone. Only the kernel can hold it up.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) words: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) directory: &'a Path,
    pub(super) limits: Limits,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) success: bool,
    /// For people, where git printed nothing.
    pub(super) how: String,
    /// The end of stderr.
    pub(super) printed: String,
}

/// Why there is no end to tell of.
#[derive(Debug)]
pub(super) enum Failure {
    /// The time was over.
    Late,
    /// It is not wanted any more.
    Stopped,
    /// There is no git.
    Missing,
    Io(io::Error),
}

/// Takes the standard output.
pub(super) trait Output: Send {
    /// Takes a piece; false kills the command.
    fn read(&mut self, piece: &[u8]) -> bool;
}

/// Wants no output.
pub(super) struct Discard;

impl Output for Discard {
    fn read(&mut self, _: &[u8]) -> bool {
        true
    }
}

/// A process group that is killed with this.
#[derive(Debug)]
struct Group {
    leader: Child,
    id: Option<Pid>,
}

impl Group {
    /// The leader is not reaped before: until then its number is nobody else's.
    fn kill(&self) {
        if let Some(id) = self.id {
            // There is no such group when all of it has ended.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a git command until it and all of its helpers have ended, `output` has enough, the time is over or `stop` says so.
pub(super) async fn run(
    command: Command<'_>,
    output: &mut impl Output,
    until: Instant,
    stop: &Stop,
) -> Result<Ended, Failure> {
    let mut group = start(command)?;
    let (Some(mut stdout), Some(mut stderr)) =
        (group.leader.stdout.take(), group.leader.stderr.take())
    else {
        return Err(Failure::Io(io::ErrorKind::BrokenPipe.into()));
    };
    let mut printed = Tail::default();
    let reading = async {
        tokio::try_join!(drain(&mut stdout, output), drain(&mut stderr, &mut printed)).map(drop)
    };
    let read = tokio::select! {
        read = reading => read,
        () = sleep_until(until) => Err(Stopped::Late),
        () = stop.wait() => Err(Stopped::Unwanted),
    };
    if read.is_err() {
        group.kill();
        if timeout(GONE_WITHIN, drain(&mut stderr, &mut Discard)).await.is_err() {
            tracing::warn!("a git process outlives its kill");
        }
    }
    let ended = timeout(GONE_WITHIN, group.leader.wait()).await;
    // Reaped: the number may be another's by now.
    group.id = None;
    match read {
        Err(Stopped::Late) => return Err(Failure::Late),
        Err(Stopped::Unwanted) => return Err(Failure::Stopped),
        Err(Stopped::Io(error)) => return Err(Failure::Io(error)),
        Ok(()) | Err(Stopped::Enough) => {}
    }
    let status = ended.map_err(|_| Failure::Late)?.map_err(Failure::Io)?;
    Ok(Ended {
        success: status.success(),
        how: describe(status),
        printed: String::from_utf8_lossy(&printed.0).into_owned(),
    })
}

fn start(command: Command<'_>) -> Result<Group, Failure> {
    let mut process = tokio::process::Command::new("git");
    process
        .args(command.words)
        .env_clear()
        .envs(command.environment)
        .current_dir(command.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    kruntimes_confine::limit(process.as_std_mut(), command.limits);
    let leader = process.spawn().map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        if missing { Failure::Missing } else { Failure::Io(error) }
    })?;
    let id = leader.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok(Group { leader, id })
}

/// Why a command is not read to its end.
enum Stopped {
    Late,
    Unwanted,
    Enough,
    Io(io::Error),
}

async fn drain(
    pipe: &mut (impl AsyncRead + Unpin),
    output: &mut impl Output,
) -> Result<(), Stopped> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = pipe.read(&mut buffer).await.map_err(Stopped::Io)?;
        if length == 0 {
            return Ok(());
        }
        if !output.read(&buffer[..length]) {
            return Err(Stopped::Enough);
        }
    }
}

/// The last bytes of an output.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Output for Tail {
    fn read(&mut self, piece: &[u8]) -> bool {
        self.0.extend_from_slice(piece);
        let surplus = self.0.len().saturating_sub(PRINTED_BYTES);
        self.0.drain(..surplus);
        true
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("git was ended by signal {signal}"),
        (None, Some(code)) => format!("git ended with exit status {code}"),
        (None, None) => "git ended".to_owned(),
    }
}

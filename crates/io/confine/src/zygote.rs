//! The server's side: start the zygote, ask it for commands, hold on to them.
//!
//! Nothing here waits: a full socket is `WouldBlock`, and each descriptor is non-blocking, for whichever executor the
//! server uses. When the zygote's socket becomes readable the zygote is dead.

use crate::keeper;
use crate::supervisor;
use crate::sys;
use crate::wire::{self, INLINE_BYTES, Order, REPORT_BYTES, REQUEST_BYTES, Report, Request};
use crate::{Allowance, Confinement, Namespaces};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType,
};
use rustix::pipe::PipeFlags;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long finding out about namespaces may take.
const ISOLATION_TIME: Duration = Duration::from_secs(10);

/// Why there is no zygote.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A fork would copy locks that other threads hold.
    #[error("the zygote must start before any other thread, but there are {0} threads")]
    Threads(usize),
    /// Killing whole process trees needs it.
    #[error("/proc is not readable")]
    NoProc(#[source] io::Error),
    /// A system call failed.
    #[error("the zygote could not be forked")]
    Fork(#[source] io::Error),
}

/// Why a command was not handed to the zygote.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The zygote has not yet taken earlier requests: try again when its socket is writable.
    #[error("the zygote is busy")]
    Busy,
    /// The zygote is gone.
    #[error("the zygote is dead")]
    Dead,
    /// Arguments and environment exceed what one request may hold.
    #[error("arguments and environment take {0} bytes, the limit is {REQUEST_BYTES}")]
    TooLarge(u64),
    /// No descriptors or no memory.
    #[error("no resources for a new process")]
    Resources(#[source] io::Error),
}

/// What to execute: `args` start with the program's own name, `env` is all that the process gets.
#[derive(Debug, Clone)]
pub struct Command {
    /// Path of the program; relative to the working directory if not absolute.
    pub program: CString,
    /// Directory that the process starts in.
    pub working_dir: CString,
    /// Arguments, the first being the program's name.
    pub args: Vec<CString>,
    /// `NAME=value` entries.
    pub env: Vec<CString>,
    /// What keeps it among its own; nothing keeps a command that is trusted.
    pub confinement: Option<Arc<Confinement>>,
    /// What it may use.
    pub allowance: Allowance,
}

/// A command that was handed over: its output and the line to its supervisor. Dropping `control` kills it.
#[derive(Debug)]
pub struct Child {
    /// Orders out, reports in.
    pub control: Control,
    /// Read end of the standard output.
    pub stdout: OwnedFd,
    /// Read end of the standard error.
    pub stderr: OwnedFd,
}

/// The line to a supervisor.
#[derive(Debug)]
pub struct Control {
    socket: OwnedFd,
    key: u64,
}

/// The handle of the zygote process. It ends, and every command with it, when this is dropped.
#[derive(Debug)]
pub struct Zygote {
    socket: OwnedFd,
    next_key: AtomicU64,
}

impl Zygote {
    /// Forks the zygote. Call it from `main`, before any thread or executor exists.
    pub fn start() -> Result<Self, StartError> {
        let threads = fs::read_dir("/proc/self/task").map_err(StartError::NoProc)?.count();
        if threads != 1 {
            return Err(StartError::Threads(threads));
        }
        let (ours, theirs) = socket_pair().map_err(StartError::Fork)?;
        sys::fork(|| keeper::run(&theirs)).map_err(StartError::Fork)?;
        Ok(Self { socket: ours, next_key: AtomicU64::new(0) })
    }

    /// Hands a command over. Whether it really started, its control socket tells.
    pub fn spawn(&self, command: &Command) -> Result<Child, SpawnError> {
        self.spawn_over(&self.socket, command)
    }

    /// Hands a command to who reads `socket`.
    pub(crate) fn spawn_over(
        &self,
        socket: &OwnedFd,
        command: &Command,
    ) -> Result<Child, SpawnError> {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = socket_pair().map_err(SpawnError::Resources)?;
        let (stdout, stdout_theirs) = output_pipe().map_err(SpawnError::Resources)?;
        let (stderr, stderr_theirs) = output_pipe().map_err(SpawnError::Resources)?;
        let fds = [theirs.as_fd(), stdout_theirs.as_fd(), stderr_theirs.as_fd()];
        send_command(socket, (Request::Inline, Request::InFile), key, command, &fds)?;
        Ok(Child { control: Control { socket: ours, key }, stdout, stderr })
    }

    /// Has `command` started as a fork server, which reads the other end of the returned socket.
    pub(crate) fn start_fork_server(&self, command: &Command) -> Result<OwnedFd, SpawnError> {
        let (ours, theirs) = socket_pair().map_err(SpawnError::Resources)?;
        let kinds = (Request::ForkServer, Request::ForkServerInFile);
        send_command(&self.socket, kinds, 0, command, &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Has the supervisor of a command killed, and the command with it: for one that does not answer its control
    /// socket, which ends once nothing is left.
    pub fn abandon(&self, control: &Control) -> Result<(), SpawnError> {
        send(&self.socket, &[&wire::header(Request::Abandon, control.key)], &[])
    }

    /// Has the zygote take namespaces, in which commands may have a [`crate::View`]; nobody sees what is in `covers` there, and
    /// what commands may change lies in `writable`, or is made so for each.
    /// Waits for the answer, so call it before anything is started; nothing where the system does not let it.
    ///
    /// # Errors
    /// The zygote could not be asked.
    pub fn isolate(
        &self,
        covers: &[CString],
        writable: &[CString],
    ) -> Result<Option<Namespaces>, SpawnError> {
        let (ours, theirs) = socket_pair().map_err(SpawnError::Resources)?;
        let body = wire::encode_places(covers, writable);
        if body.len() > INLINE_BYTES {
            // A part of them would leave the rest open.
            return Ok(None);
        }
        let header = wire::header(Request::Isolate, 0);
        send(&self.socket, &[&header, &body], &[theirs.as_fd()])?;
        drop(theirs);
        supervisor::poll([Some(ours.as_fd())], Some(ISOLATION_TIME));
        let mut answer = [0];
        match rustix::net::recv(&ours, &mut answer, RecvFlags::DONTWAIT) {
            Ok((1, _)) => Ok(Namespaces::decode(answer[0])),
            Ok(_) => Err(SpawnError::Dead),
            Err(error) => Err(SpawnError::Resources(error.into())),
        }
    }

    /// Whether the zygote still holds its end of the socket.
    pub fn is_alive(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // It never sends: anything but silence is its end.
        matches!(
            rustix::net::recv(&self.socket, &mut [0_u8; 1], flags),
            Err(Errno::AGAIN | Errno::INTR)
        )
    }
}

impl AsFd for Zygote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Control {
    /// Has everything told to end, and killed after [`crate::TERMINATE_GRACE`].
    pub fn terminate(&self) {
        self.order(Order::Terminate);
    }

    /// Has everything killed at once.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// The next report; `None` when the supervisor was lost and nothing of the command lives.
    pub fn receive(&self) -> io::Result<Option<Report>> {
        let mut bytes = [0; REPORT_BYTES];
        let (length, _) = rustix::net::recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT)?;
        match (length, wire::parse_report(bytes)) {
            (0, _) => Ok(None),
            (REPORT_BYTES, Some(report)) => Ok(Some(report)),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    fn order(&self, order: Order) {
        // A supervisor that cannot be told is gone: the reader of the reports meets the end.
        let _ = rustix::net::send(&self.socket, &wire::encode_order(order), SendFlags::NOSIGNAL);
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends `command` with `fds`, by the first kind of request in the packet or by the second in a file.
fn send_command(
    socket: &OwnedFd,
    (inline, in_file): (Request, Request),
    key: u64,
    command: &Command,
    fds: &[BorrowedFd<'_>],
) -> Result<(), SpawnError> {
    let body = wire::encode_command(command);
    let rules = command.confinement.as_ref().and_then(|it| it.files.as_ref()).map(AsFd::as_fd);
    let fds: Vec<_> = fds.iter().copied().chain(rules).collect();
    if body.len() <= INLINE_BYTES {
        return send(socket, &[&wire::header(inline, key), &body], &fds);
    }
    let file = memory_file(&body)?;
    let fds: Vec<_> = fds.into_iter().chain([file.as_fd()]).collect();
    send(socket, &[&wire::header(in_file, key)], &fds)
}

fn send(socket: &OwnedFd, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Result<(), SpawnError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    match rustix::net::sendmsg(socket, &slices, &mut ancillary, SendFlags::NOSIGNAL) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN | Errno::INTR) => Err(SpawnError::Busy),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(SpawnError::Dead),
        Err(error) => Err(SpawnError::Resources(error.into())),
    }
}

pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

/// A pipe whose read end does not block; the command's end blocks as programs expect.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

fn memory_file(content: &[u8]) -> Result<OwnedFd, SpawnError> {
    let length = content.len() as u64;
    if length > REQUEST_BYTES {
        return Err(SpawnError::TooLarge(length));
    }
    let fd = rustix::fs::memfd_create(c"command", MemfdFlags::CLOEXEC)
        .map_err(|error| SpawnError::Resources(error.into()))?;
    let mut file = File::from(fd);
    file.write_all(content).map_err(SpawnError::Resources)?;
    Ok(file.into())
}

impl AsRawFd for Zygote {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

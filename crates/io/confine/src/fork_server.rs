//! The server's side of a fork server: a warm interpreter that forks a command's process instead of executing a program.
//!
//! It is a process of the zygote's that reads requests as the zygote does, told by `fork_server.py` how. For each it forks
//! a process which forks the command's and then executes this very program to be its supervisor ([`supervise`]). So
//! everything that holds for a command of the zygote's holds for one of a fork server's.

use crate::launch::Started;
use crate::supervisor;
use crate::watchdog::Allowance;
use crate::zygote::{Child, Command, SpawnError, Zygote};
use rustix::net::RecvFlags;
use rustix::process::Pid;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

/// Python's end. It defines `serve(word)`, which says that word and returns `(program, args)` in each fork.
pub const PYTHON: &str = include_str!("fork_server.py");

/// What a supervisor is called that a fork server's fork became.
const SUPERVISOR: &str = "krt-supervisor";

/// Bytes of its first word.
const WORD_BYTES: usize = 4096;

/// The handle of a fork server. It ends when this is dropped; its commands go on.
#[derive(Debug)]
pub struct ForkServer {
    socket: OwnedFd,
}

impl ForkServer {
    /// Has the zygote start `command`, which serves, in place of the one before, whose commands go on.
    pub fn start(zygote: &Zygote, command: &Command) -> Result<Self, SpawnError> {
        Ok(Self { socket: zygote.start_fork_server(command)? })
    }

    /// Hands a command over, as [`Zygote::spawn`] does; the zygote takes its [`Zygote::abandon`].
    pub fn spawn(&self, zygote: &Zygote, command: &Command) -> Result<Child, SpawnError> {
        zygote.spawn_over(&self.socket, command)
    }

    /// What it says once it is ready; `None` at its end.
    pub fn receive(&self) -> io::Result<Option<String>> {
        let mut bytes = [0; WORD_BYTES];
        let (length, _) = rustix::net::recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT)?;
        let said = bytes.get(..length.min(WORD_BYTES)).unwrap_or_default();
        Ok((length > 0).then(|| String::from_utf8_lossy(said).into_owned()))
    }
}

impl AsFd for ForkServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ForkServer {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The exit code of this process's whole life, if a fork server's fork executed it to be a supervisor. Call it first in
/// `main` of every program that starts a zygote.
pub fn supervise() -> Option<u8> {
    let mut args = std::env::args_os();
    if args.next()? != SUPERVISOR {
        return None;
    }
    let mut number = || args.next().and_then(|number| number.to_str()?.parse::<i32>().ok());
    let (main, init, memory) = (number(), number(), number());
    let main = Pid::from_raw(main?)?;
    let init = init.and_then(Pid::from_raw);
    let memory = memory.and_then(|fd| crate::sys::inherited(fd).ok());
    let started = Started { main, init, memory, mounts: None };
    let mut limit = || args.next().and_then(|limit| limit.to_str()?.parse().ok());
    let (memory, processes, disk) = (limit(), limit(), limit());
    let places = args.filter_map(|place| CString::new(place.into_vec()).ok()).collect();
    let allowance = Allowance { memory, processes, disk, places };
    let code =
        supervisor::run_inherited(started, allowance).ok().and_then(|code| u8::try_from(code).ok());
    Some(code.unwrap_or(1))
}

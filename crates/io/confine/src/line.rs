//! The zygote's line to its fork server: the process, and what it tells.

use crate::filter::{self, Filters};
use crate::keeper::receive;
use crate::namespaces::{self, Namespaces};
use crate::sys::{self, Bounds, Program};
use crate::wire::{self, NOTICE_BYTES, Notice};
use crate::zygote::socket_pair;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where the fork server finds what it needs, behind standard input, output and error.
const REQUESTS_FD: i32 = 3;
const LINE_FD: i32 = 4;
/// The program that its forks execute to be supervisors: this one.
const PROGRAM_FD: i32 = 5;

#[derive(Debug)]
pub(crate) struct Line {
    pid: i32,
    socket: OwnedFd,
}

impl Line {
    /// Starts `program`, which takes its requests from `requests`, as a child of this process, and tells it the filters. It keeps the
    /// right to make namespaces within these.
    pub(crate) fn start(
        program: &Program<'_>,
        working_dir: &CStr,
        requests: BorrowedFd<'_>,
        filters: &Filters,
        namespaces: Option<Namespaces>,
    ) -> io::Result<Self> {
        rustix::process::chdir(working_dir)?;
        let (ours, theirs) = socket_pair()?;
        let path = OFlags::PATH | OFlags::CLOEXEC;
        let own = rustix::fs::open(c"/proc/self/exe", path, Mode::empty())?;
        let error = io::stderr();
        // Each is put in place after what stands there was: no source is below its target.
        let files = [
            (error.as_fd(), 1),
            (requests, REQUESTS_FD),
            (theirs.as_fd(), LINE_FD),
            (own.as_fd(), PROGRAM_FD),
        ];
        let spawned = sys::spawn(
            program,
            &files,
            Bounds { privileged: namespaces.is_some(), ..Bounds::default() },
        );
        let pid = spawned.map_err(|(_, error)| error)?.as_raw_pid();
        // It lies there before the fork server looks.
        for filter in filters {
            rustix::net::send(&ours, &filter::bytes(filter), SendFlags::NOSIGNAL)?;
        }
        rustix::net::send(&ours, &namespaces::settings(namespaces), SendFlags::NOSIGNAL)?;
        Ok(Self { pid, socket: ours })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Ends the fork server, and returns when its children are this process's.
    pub(crate) fn kill(&self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // Not reaped yet, so the pid is still its own. One that has died already is only reaped.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let wait = || rustix::process::waitpid(Some(pid), WaitOptions::empty());
        while matches!(wait(), Err(Errno::INTR)) {}
    }

    /// What it told next, if anything.
    pub(crate) fn receive(&self) -> Option<(Notice, Vec<OwnedFd>)> {
        let mut packet = [0; NOTICE_BYTES];
        let (length, fds) = receive(&self.socket, &mut packet).ok()?;
        Some((wire::parse_notice(packet.get(..length)?)?, fds))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

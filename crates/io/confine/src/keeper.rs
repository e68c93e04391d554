//! The zygote's own life: fork supervisors, reap them, and kill what a killed supervisor left behind.
//!
//! A fork server, where there is one, is its child too, and forks supervisors of its own, which it tells of.
//!
//! It holds a copy of each supervisor's end of the control socket. So the server meets end of file only when the
//! supervisor is reaped and, had it been killed, its orphans are gone too.

use crate::Namespaces;
use crate::filter::{self, Filters};
use crate::launch::Start;
use crate::line::Line;
use crate::namespaces;
use crate::supervisor::{self, CONTROL_FD, SIGNALS_FD};
use crate::sys;
use crate::tree::{self, ROUND};
use crate::wire::{self, End, INLINE_BYTES, Notice, Parsed, REQUEST_BYTES, Report, Request, Stage};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};
use rustix::process::{Resource, Rlimit, Signal, WaitOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const NAME: &CStr = c"krt-zygote";
/// Descriptors in a request: control, stdout, stderr, Landlock's rules, and the command when it is large.
const DESCRIPTORS: usize = 5;
/// How long supervisors may take to end everything once the server is gone.
const CLOSING_GRACE: Duration = Duration::from_secs(3);

/// The zygote's life, from the fork in the server to its exit code.
pub(crate) fn run(socket: &OwnedFd) -> i32 {
    match Keeper::new(socket) {
        Ok(mut keeper) => {
            keeper.serve();
            keeper.close();
            0
        }
        Err(_) => 1,
    }
}

#[derive(Debug)]
struct Supervisor {
    key: u64,
    control: OwnedFd,
    /// Of one that the fork server reaps: its pid may be another process's.
    handle: Option<OwnedFd>,
}

#[derive(Debug)]
struct Mounts {
    /// For supervisors to come back to: this process's own.
    own: OwnedFd,
    /// For a fork server, whose imports may keep something.
    writable: OwnedFd,
}

impl Mounts {
    /// Moves this process.
    fn enter(covers: &[&CStr], places: &[&CStr]) -> io::Result<Self> {
        namespaces::enter(covers)?;
        let writable = namespaces::own_mounts()?;
        namespaces::protect(places)?;
        Ok(Self { own: namespaces::own_mounts()?, writable })
    }
}

#[derive(Debug)]
struct Keeper {
    socket: OwnedFd,
    signals: OwnedFd,
    supervisors: BTreeMap<i32, Supervisor>,
    fork_server: Option<Line>,
    /// Control sockets of supervisors that were killed, closed when their orphans are gone.
    lost: Vec<OwnedFd>,
    packet: Vec<u8>,
    filters: Filters,
    /// Whether this process has namespaces of its own.
    namespaces: Option<Namespaces>,
    /// Those of mounts, where they are not the machine's.
    mounts: Option<Mounts>,
}

impl Keeper {
    fn new(socket: &OwnedFd) -> io::Result<Self> {
        sys::block_signals()?;
        sys::heed_signals()?;
        crate::hide_memory()?;
        rustix::process::setsid()?;
        rustix::thread::set_name(NAME)?;
        rustix::thread::set_no_new_privs(true)?;
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(Resource::Core, nothing)?;
        crate::set_child_subreaper()?;
        stdin_from_null()?;
        // Above every target, so that putting one in place cannot close the other.
        let high = rustix::io::fcntl_dupfd_cloexec(&sys::child_signals()?, SIGNALS_FD + 1)?;
        let socket = sys::install(socket.as_fd(), CONTROL_FD)?;
        let signals = sys::install(high.as_fd(), SIGNALS_FD)?;
        drop(high);
        sys::close_from(SIGNALS_FD + 1)?;
        let packet = vec![0; INLINE_BYTES + wire::HEADER_BYTES];
        Ok(Self {
            socket,
            signals,
            supervisors: BTreeMap::new(),
            fork_server: None,
            lost: Vec::new(),
            packet,
            filters: filter::programs(),
            namespaces: None,
            mounts: None,
        })
    }

    /// Until the server is gone.
    fn serve(&mut self) {
        loop {
            let timeout = (!self.lost.is_empty()).then_some(ROUND);
            let line = self.fork_server.as_ref().map(AsFd::as_fd);
            let fds = [Some(self.socket.as_fd()), Some(self.signals.as_fd()), line];
            let [request, children, notices] = supervisor::poll(fds, timeout);
            // What is known of a supervisor comes before what is asked about it.
            if notices {
                self.take_notices();
            }
            if request && !self.take_request() {
                return;
            }
            if children {
                supervisor::drain(self.signals.as_fd());
                self.reap();
            }
            if !self.lost.is_empty() {
                self.sweep();
            }
        }
    }

    /// The supervisors see the server's end for themselves; waits for them, then forces what is left.
    fn close(&mut self) {
        let until = Instant::now() + CLOSING_GRACE;
        while self.reap() {
            let spared = if Instant::now() < until { self.pids() } else { BTreeSet::new() };
            let _ = tree::signal_descendants(tree::own_pid(), &[Signal::KILL], &spared);
            supervisor::poll([Some(self.signals.as_fd())], Some(ROUND));
            supervisor::drain(self.signals.as_fd());
        }
    }

    /// One packet; false at the end of the socket.
    fn take_request(&mut self) -> bool {
        let mut packet = std::mem::take(&mut self.packet);
        let received = receive(&self.socket, &mut packet);
        let open = match received {
            Ok((0, _)) => false,
            Ok((length, fds)) => {
                self.handle(&packet[..length.min(packet.len())], fds);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        };
        self.packet = packet;
        open
    }

    fn handle(&mut self, packet: &[u8], mut fds: Vec<OwnedFd>) {
        match wire::parse_header(packet) {
            Some((Request::Abandon, key, _)) => self.abandon(key),
            Some((Request::Inline, key, body)) => self.start(key, body, fds, None),
            Some((Request::InFile, key, body)) => {
                let file = fds.pop();
                self.start(key, body, fds, file);
            }
            Some((Request::Isolate, _, body)) => self.isolate(body, fds),
            Some((Request::ForkServer | Request::ForkServerInFile, _, body)) => {
                self.start_fork_server(body, fds);
            }
            None => {}
        }
    }

    /// Only before anything was started, which would stay outside.
    fn isolate(&mut self, body: &[u8], fds: Vec<OwnedFd>) {
        let is_first = self.supervisors.is_empty() && self.namespaces.is_none();
        // Covers that can't be read are not left out: then nobody gets namespaces.
        if let Some((covers, writable)) = wire::parse_places(body).filter(|_| is_first)
            && let Some(found) = namespaces::attempt(&covers, &writable, &self.filters)
        {
            self.mounts = Mounts::enter(&covers, &writable).ok();
            self.namespaces = self.mounts.as_ref().map(|_| found);
            // Who is asked for this confines all commands; each says if it can't be bounded.
            let _ = rustix::process::geteuid().is_root() && sys::bound_capabilities();
        }
        for answer in fds {
            let _ = rustix::net::send(
                &answer,
                &Namespaces::encode(self.namespaces),
                SendFlags::NOSIGNAL,
            );
        }
    }

    fn start(&mut self, key: u64, body: &[u8], fds: Vec<OwnedFd>, file: Option<OwnedFd>) {
        let mut fds = fds.into_iter();
        // Descriptors are missing when this process has too many: dropping the rest ends the server's control socket.
        let (Some(control), Some(stdout), Some(stderr)) = (fds.next(), fds.next(), fds.next())
        else {
            return;
        };
        let rules = fds.next();
        let forked = sys::fork(|| {
            let content = file.map(read_file);
            let command = wire::parse_command(content.as_deref().unwrap_or(body));
            supervisor::run(&Start {
                control: control.as_fd(),
                stdout: stdout.as_fd(),
                stderr: stderr.as_fd(),
                signals: self.signals.as_fd(),
                command,
                rules: rules.as_ref().map(AsFd::as_fd),
                filters: &self.filters,
                namespaces: self.namespaces,
                mounts: self.mounts.as_ref().map(|mounts| mounts.own.as_fd()),
            })
        });
        match forked {
            Ok(pid) => {
                self.supervisors
                    .insert(pid.as_raw_pid(), Supervisor { key, control, handle: None });
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                let end = End::NotStarted { stage: Stage::Supervisor, errno };
                supervisor::send(&control, Report::Ended(end));
            }
        }
    }

    /// In place of the one before. A failure shows as the end of the socket that is dropped here.
    fn start_fork_server(&mut self, body: &[u8], fds: Vec<OwnedFd>) {
        if let Some(line) = &self.fork_server {
            line.kill();
            self.take_over();
        }
        let mut fds = fds.into_iter();
        let Some(requests) = fds.next() else { return };
        let content = fds.next().map(read_file);
        let command = wire::parse_command(content.as_deref().unwrap_or(body));
        let namespaces = self.namespaces;
        self.fork_server = command.and_then(|Parsed { program, working_dir, .. }| {
            self.enter(|mounts| &mounts.writable).ok()?;
            let line =
                Line::start(&program, working_dir, requests.as_fd(), &self.filters, namespaces);
            line.ok()
        });
        if self.enter(|mounts| &mounts.own).is_err() {
            // No Run sees what it could change.
            self.namespaces = None;
        }
    }

    fn enter(&self, which: impl Fn(&Mounts) -> &OwnedFd) -> io::Result<()> {
        self.mounts.as_ref().map_or(Ok(()), |mounts| sys::enter_mounts(which(mounts).as_fd()))
    }

    fn take_notices(&mut self) {
        while let Some((notice, fds)) = self.fork_server.as_ref().and_then(Line::receive) {
            let mut fds = fds.into_iter();
            match (notice, fds.next(), fds.next()) {
                (Notice::Forked { pid, key }, Some(control), handle @ Some(_)) => {
                    self.supervisors.insert(pid, Supervisor { key, control, handle });
                }
                (Notice::Reaped { pid, status }, None, None) => self.ended(pid, status == 0),
                // Without its descriptors a supervisor is not kept: the server meets its end with it.
                (Notice::Forked { .. } | Notice::Reaped { .. }, _, _) => {}
            }
        }
    }

    /// A supervisor that was killed leaves its children to this process.
    fn ended(&mut self, pid: i32, cleanly: bool) {
        let known = self.supervisors.remove(&pid);
        if let (Some(supervisor), false) = (known, cleanly) {
            self.lost.push(supervisor.control);
        }
    }

    /// What the dead fork server has left is this process's now, except what it had reaped and not told of.
    fn take_over(&mut self) {
        self.take_notices();
        self.fork_server = None;
        let of_fork_server = |supervisor: &Supervisor| {
            let handle = supervisor.handle.as_ref().map(AsFd::as_fd);
            handle.is_some() && supervisor::poll([handle], Some(Duration::ZERO)) == [true]
        };
        self.lost.extend(
            self.supervisors
                .extract_if(.., |_, supervisor| of_fork_server(supervisor))
                .map(|(_, supervisor)| supervisor.control),
        );
    }

    fn abandon(&self, key: u64) {
        let found = self.supervisors.iter().find(|(_, supervisor)| supervisor.key == key);
        let Some((pid, supervisor)) = found else { return };
        let _ = match (&supervisor.handle, rustix::process::Pid::from_raw(*pid)) {
            (Some(handle), _) => rustix::process::pidfd_send_signal(handle, Signal::KILL),
            // Not reaped, so the pid is still this supervisor's.
            (None, Some(pid)) => rustix::process::kill_process(pid, Signal::KILL),
            (None, None) => Ok(()),
        };
    }

    /// Takes the dead; false when no child is left.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = pid.as_raw_pid();
                    if self.fork_server.as_ref().is_some_and(|line| line.pid() == pid) {
                        self.take_over();
                    }
                    self.ended(pid, status.exit_status() == Some(0));
                }
                Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// One round against orphans; without any left the lost control sockets are closed.
    fn sweep(&mut self) {
        let spared = self.pids();
        let found = tree::signal_descendants(tree::own_pid(), &[Signal::KILL], &spared);
        if found.is_ok_and(|found| found.all == 0) {
            self.lost.clear();
        }
    }

    fn pids(&self) -> BTreeSet<i32> {
        let fork_server = self.fork_server.as_ref().map(Line::pid);
        self.supervisors.keys().copied().chain(fork_server).collect()
    }
}

fn stdin_from_null() -> io::Result<()> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open(c"/dev/null", flags, rustix::fs::Mode::empty())?;
    sys::install_stdin(null.as_fd())
}

pub(crate) fn receive(socket: &OwnedFd, packet: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut ancillary, flags)?;
    let mut fds = Vec::with_capacity(DESCRIPTORS);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}

/// An unreadable file gives no bytes, which are no command.
fn read_file(fd: OwnedFd) -> Vec<u8> {
    let mut content = Vec::new();
    let mut file = File::from(fd);
    let read = file.rewind().and_then(|()| file.take(REQUEST_BYTES).read_to_end(&mut content));
    if read.is_err() {
        content.clear();
    }
    content
}

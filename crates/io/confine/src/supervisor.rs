//! One process a command: starts it, waits for it, ends it and everything that it left, reports. It stays in the
//! zygote's session, which no terminal reaches; the command gets one of its own.
//!
//! Invariant: `Ended` is sent only after `waitpid` said that no child is left. As a subreaper this process is the parent
//! of every orphan below it, so no descendant is left either.

use crate::launch::{Start, Started, launch};
use crate::sys;
use crate::tree::{self, ROUND};
use crate::usage;
use crate::watchdog::{Allowance, Own, Watchdog};
use crate::wire::{self, End, Excess, Order, Report};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a command may go on after it was told to end.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// Between two looks at all processes.
const BETWEEN_SCANS: Duration = Duration::from_millis(50);

pub(crate) const NAME: &CStr = c"krt-supervisor";

/// Descriptors 0 to 2, then control at [`CONTROL_FD`] and the zygote's child signals behind it: all that stays open.
pub(crate) const CONTROL_FD: i32 = 3;
pub(crate) const SIGNALS_FD: i32 = 4;
/// Behind them what is held of the command's namespaces, two at most.
const FIRST_HELD_FD: i32 = 5;
/// Above every descriptor that is put in place.
pub(crate) const HIGH_FD: i32 = 7;

/// The supervisor's life, from the fork in the zygote to its exit code.
pub(crate) fn run(start: &Start<'_>) -> i32 {
    // The zygote's own socket stands there: this closes it.
    let Ok(control) = sys::install(start.control, CONTROL_FD) else { return 1 };
    let started = match launch(start) {
        Ok(started) => started,
        Err((stage, error)) => {
            let errno = error.raw_os_error().unwrap_or(0);
            send(&control, Report::Ended(End::NotStarted { stage, errno }));
            return 0;
        }
    };
    let allowance = start.command.as_ref().map(|command| command.allowance.clone());
    supervise(control, start.signals, started, allowance.unwrap_or_default())
}

/// The life of a supervisor that a fork server forked and had execute this program: control stands in its place, and the
/// processes are its children already.
pub(crate) fn run_inherited(started: Started, allowance: Allowance) -> io::Result<i32> {
    sys::block_signals()?;
    crate::hide_memory()?;
    rustix::thread::set_name(NAME)?;
    let control = sys::inherited(CONTROL_FD)?;
    // Above every target, so that putting one in place cannot close another.
    let high = rustix::io::fcntl_dupfd_cloexec(&sys::child_signals()?, HIGH_FD)?;
    let signals = sys::install(high.as_fd(), SIGNALS_FD)?;
    drop(high);
    Ok(supervise(control, signals.as_fd(), started, allowance))
}

fn supervise(
    control: OwnedFd,
    signals: BorrowedFd<'_>,
    started: Started,
    allowance: Allowance,
) -> i32 {
    let Started { main, init, memory, mounts } = started;
    let mut next = FIRST_HELD_FD;
    let mut hold = |fd: Option<OwnedFd>| -> io::Result<Option<OwnedFd>> {
        let Some(fd) = fd else { return Ok(None) };
        next += 1;
        sys::install(fd.as_fd(), next - 1).map(Some)
    };
    let (Ok(memory), Ok(_mounts)) = (hold(memory), hold(mounts)) else { return 1 };
    // The pipes must end with the command, and other commands' sockets are none of ours. The command has none of them:
    // they close on exec.
    if sys::close_from(next).is_err() {
        return 1;
    }
    send(&control, Report::Started(main.as_raw_pid()));
    let own = init.map(|init| Own { init, memory });
    let watchdog = Watchdog::new(allowance, own, Instant::now());
    if watchdog.is_some() {
        // Without it this looks later.
        let _ = sys::be_prompt();
    }
    Supervision {
        control: Some(control),
        signals,
        main,
        init,
        state: State::Running,
        end: None,
        watchdog,
        excess: None,
        reach: if sys::has_scoped_signals() { Reach::Scope } else { Reach::Each },
        scanned: None,
    }
    .until_all_are_gone()
}

#[derive(Debug, Clone, Copy)]
enum State {
    Running,
    /// Everybody was told to end.
    Terminating {
        until: Instant,
    },
    /// In rounds of SIGKILL.
    Killing,
}

/// How the command's processes are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// All at once: nobody else can be signalled.
    Scope,
    /// One by one.
    Each,
}

/// What a look for the dead found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaped {
    None,
    Some,
    /// Nobody is left.
    All,
}

#[derive(Debug)]
struct Supervision<'a> {
    /// Absent when the server is gone.
    control: Option<OwnedFd>,
    signals: BorrowedFd<'a>,
    main: Pid,
    /// Of the namespace of the command's processes, until it is reaped.
    init: Option<Pid>,
    state: State,
    end: Option<End>,
    watchdog: Option<Watchdog>,
    excess: Option<Excess>,
    reach: Reach,
    /// When it last looked at all processes to kill its own.
    scanned: Option<Instant>,
}

impl Supervision<'_> {
    fn until_all_are_gone(mut self) -> i32 {
        while self.reap() != Reaped::All {
            self.look();
            self.advance(Instant::now());
            if matches!(self.state, State::Killing) {
                self.kill();
            }
            self.wait();
        }
        let excess = self.excess.or_else(|| self.watchdog.as_mut()?.last_look());
        // Without the main process's status this is a failure of ours: the zygote then treats it as lost.
        let Some(end) = self.end else { return 1 };
        let end = match (end, excess) {
            (End::Exited(_) | End::Signaled(_), Some(excess)) => End::Exceeded(excess),
            (end, _) => end,
        };
        if let Some(control) = &self.control {
            send(control, Report::Ended(end));
        }
        0
    }

    fn look(&mut self) {
        if matches!(self.state, State::Killing) {
            return;
        }
        let excess = self.watchdog.as_mut().and_then(|watchdog| watchdog.look(Instant::now()));
        if excess.is_some() {
            self.excess = excess;
            self.state = State::Killing;
        }
    }

    /// One round. The group goes at once, which outruns those that fork without end, then the children of this process,
    /// which nobody else reaps, then whoever is left.
    fn kill(&mut self) {
        if let Some(init) = self.init {
            // The kernel does the rest, and reports this process when it is done.
            let _ = rustix::process::kill_process(init, Signal::KILL);
            return;
        }
        if self.reach == Reach::Scope {
            sys::kill_all_in_scope();
        }
        // Not reaped, so that the number is still its own.
        if self.end.is_none() {
            let _ = rustix::process::kill_process_group(self.main, Signal::KILL);
        }
        while let Some(children) = usage::children(tree::own_pid()) {
            for pid in children.into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            // What the dead leave behind are children too.
            if self.reap() != Reaped::Some {
                break;
            }
        }
        // A look at all processes is long where there are many.
        let now = Instant::now();
        if self.scanned.is_none_or(|scanned| now >= scanned + BETWEEN_SCANS) {
            signal_all(&[Signal::KILL]);
            self.scanned = Some(Instant::now());
        }
    }

    /// Takes the dead.
    fn reap(&mut self) -> Reaped {
        let mut reaped = Reaped::None;
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    reaped = Reaped::Some;
                    if pid == self.main {
                        self.end = Some(end(status));
                    }
                    if self.init == Some(pid) {
                        self.init = None;
                    }
                }
                Err(Errno::INTR) => {}
                Ok(None) => return reaped,
                Err(_) => return Reaped::All,
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        self.state = match self.state {
            State::Running if self.end.is_some() => State::Killing,
            State::Terminating { until } if until <= now || self.is_alone() => State::Killing,
            state @ (State::Running | State::Terminating { .. } | State::Killing) => state,
        };
    }

    /// Whether of a command with a namespace of processes nobody is left but the first.
    fn is_alone(&self) -> bool {
        let Some(init) = self.init else { return false };
        self.end.is_some() && usage::own_tree(Some(0), Some(init.as_raw_pid())).is_empty()
    }

    fn wait(&mut self) {
        let looks = self.watchdog.as_ref().map(Watchdog::next);
        let wakes = match self.state {
            State::Running => looks,
            // Nobody tells of the end of who is orphaned in a namespace.
            State::Terminating { .. } if self.end.is_some() && self.init.is_some() => {
                Some(Instant::now() + ROUND)
            }
            State::Terminating { until } => Some(looks.map_or(until, |looks| looks.min(until))),
            State::Killing => Some(Instant::now() + ROUND),
        };
        let timeout = wakes.map(|wakes| wakes.saturating_duration_since(Instant::now()));
        let control = self.control.as_ref().map(AsFd::as_fd);
        let [orders, children] = poll([control, Some(self.signals)], timeout);
        if children {
            drain(self.signals);
        }
        if orders {
            self.take_order();
        }
    }

    fn take_order(&mut self) {
        let Some(control) = &self.control else { return };
        let mut byte = [0];
        match rustix::net::recv(control, &mut byte, RecvFlags::DONTWAIT) {
            Ok((1, _)) => match (wire::parse_order(byte[0]), self.state) {
                (Some(Order::Terminate), State::Running) => {
                    // A stopped process could not heed the signal.
                    signal_all(&[Signal::TERM, Signal::CONT]);
                    self.state = State::Terminating { until: Instant::now() + TERMINATE_GRACE };
                }
                (Some(Order::Kill), _) => self.state = State::Killing,
                (Some(Order::Terminate), State::Terminating { .. } | State::Killing)
                | (None, _) => {}
            },
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => {
                self.control = None;
                self.state = State::Killing;
            }
        }
    }
}

fn signal_all(signals: &[Signal]) {
    // Without /proc the zygote does not start; a scan that fails for want of memory is repeated by the next round.
    let _ = tree::signal_descendants(tree::own_pid(), signals, &BTreeSet::new());
}

/// Which of the descriptors that are there are readable.
pub(crate) fn poll<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> [bool; N] {
    let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
    let mut asked: Vec<_> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    // An interrupted wait is a round without news.
    let _ = rustix::event::poll(&mut asked, timeout.as_ref());
    let mut answers = asked.iter().map(|fd| !fd.revents().is_empty());
    fds.map(|fd| fd.is_some() && answers.next().unwrap_or(false))
}

/// Empties the child signals: they only say "look", `waitpid` says who.
pub(crate) fn drain(signals: BorrowedFd<'_>) {
    let mut buffer = [0_u8; 512];
    let _ = rustix::io::read(signals, &mut buffer);
}

pub(crate) fn send(control: impl AsFd, report: Report) {
    // A server that is gone needs no report; the socket's end is met in the next poll.
    let _ = rustix::net::send(control, &wire::encode_report(report), SendFlags::NOSIGNAL);
}

fn end(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signaled(signal),
        // Without WUNTRACED a status is one of the two.
        (None, None) => End::Exited(status.as_raw()),
    }
}

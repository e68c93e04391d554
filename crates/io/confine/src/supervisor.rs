//! One process a command: starts it, waits for it, ends it and everything that it left, reports. It stays in the
//! zygote's session, which no terminal reaches; the command gets one of its own.
//!
//! Invariant: `Ended` is sent only after `waitpid` said that no child is left. As a subreaper this process is the parent
//! of every orphan below it, so no descendant is left either.

use crate::filter::{self, Filters};
use crate::sys::{self, Bounds};
use crate::tree::{self, ROUND};
use crate::usage;
use crate::watchdog::{Allowance, Watchdog};
use crate::wire::{self, End, Excess, Order, Parsed, Report, Stage};
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

const NAME: &CStr = c"krt-supervisor";

/// Descriptors 0 to 2, then control at [`CONTROL_FD`] and the zygote's child signals behind it: all that stays open.
pub(crate) const CONTROL_FD: i32 = 3;
pub(crate) const SIGNALS_FD: i32 = 4;

/// What the zygote hands to a new supervisor.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) control: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    pub(crate) signals: BorrowedFd<'a>,
    /// The command, or nothing when the request could not be read.
    pub(crate) command: Option<Parsed<'a>>,
    /// Landlock's rules for it.
    pub(crate) rules: Option<BorrowedFd<'a>>,
    pub(crate) filters: &'a Filters,
}

/// The supervisor's life, from the fork in the zygote to its exit code.
pub(crate) fn run(start: &Start<'_>) -> i32 {
    // The zygote's own socket stands there: this closes it.
    let Ok(control) = sys::install(start.control, CONTROL_FD) else { return 1 };
    let main = match launch(start) {
        Ok(main) => main,
        Err((stage, error)) => {
            let errno = error.raw_os_error().unwrap_or(0);
            send(&control, Report::Ended(End::NotStarted { stage, errno }));
            return 0;
        }
    };
    let allowance = start.command.as_ref().map(|command| command.allowance.clone());
    supervise(control, start.signals, main, allowance.unwrap_or_default())
}

/// The life of a supervisor that a fork server forked and had execute this program: control stands in its place, and the
/// main process is its child already.
pub(crate) fn run_inherited(main: Pid, allowance: Allowance) -> io::Result<i32> {
    sys::block_signals()?;
    crate::hide_memory()?;
    rustix::thread::set_name(NAME)?;
    let control = sys::inherited(CONTROL_FD)?;
    let high = rustix::io::fcntl_dupfd_cloexec(&sys::child_signals()?, SIGNALS_FD + 1)?;
    let signals = sys::install(high.as_fd(), SIGNALS_FD)?;
    drop(high);
    Ok(supervise(control, signals.as_fd(), main, allowance))
}

fn supervise(control: OwnedFd, signals: BorrowedFd<'_>, main: Pid, allowance: Allowance) -> i32 {
    // The pipes must end with the command, and other commands' sockets are none of ours. The command has none of them:
    // they close on exec.
    if sys::close_from(SIGNALS_FD + 1).is_err() {
        return 1;
    }
    send(&control, Report::Started(main.as_raw_pid()));
    let watchdog = Watchdog::new(allowance, Instant::now());
    if watchdog.is_some() {
        // Without it this looks later.
        let _ = sys::be_prompt();
    }
    Supervision {
        control: Some(control),
        signals,
        main,
        state: State::Running,
        end: None,
        watchdog,
        excess: None,
        reach: if sys::has_scoped_signals() { Reach::Scope } else { Reach::Each },
        scanned: None,
    }
    .until_all_are_gone()
}

fn launch(start: &Start<'_>) -> Result<Pid, (Stage, io::Error)> {
    let supervisor = |error: Errno| (Stage::Supervisor, error.into());
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(supervisor)?;
    rustix::thread::set_name(NAME).map_err(supervisor)?;
    let unreadable = || (Stage::Supervisor, Errno::INVAL.into());
    let Parsed { program, working_dir, bounding, .. } =
        start.command.as_ref().ok_or_else(unreadable)?;
    if bounding.has_rules != start.rules.is_some() {
        return Err(unreadable());
    }
    rustix::process::chdir(*working_dir)
        .map_err(|error| (Stage::WorkingDirectory, error.into()))?;
    let calls: &[_] = match bounding.network {
        None => &[],
        Some(network) => filter::of(start.filters, network),
    };
    // Where it fails, what the command leaves is killed one by one.
    let _ = bounding.network.is_some() && sys::scope_signals();
    let bounds = Bounds { files: start.rules, calls };
    sys::spawn(program, &[(start.stdout, 1), (start.stderr, 2)], bounds)
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
        let excess = self.excess.or_else(|| self.watchdog.as_ref()?.last_look());
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
            State::Terminating { until } if until <= now => State::Killing,
            state @ (State::Running | State::Terminating { .. } | State::Killing) => state,
        };
    }

    fn wait(&mut self) {
        let looks = self.watchdog.as_ref().map(Watchdog::next);
        let wakes = match self.state {
            State::Running => looks,
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

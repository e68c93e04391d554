//! The system calls that have no safe wrapper: fork, clone, Landlock, seccomp, signal masks, descriptor ranges.
//!
//! All but `limit_before_exec` runs in the main thread of a process that has no other thread.
#![expect(unsafe_code, reason = "fork, clone and signal sets exist only as C functions")]

mod landlock;
mod namespaces;
mod priority;
mod spawn;

pub(crate) use landlock::{Rights, add_rule, landlock_abi, make_ruleset, scope_signals};
pub(crate) use namespaces::{
    IPC, KEPT_BY_ROOT, MOUNTS, NETWORK, PROCESSES, USER, bound_capabilities, enter_mounts,
    ipc_bytes, make_writable, refuse_writes, start_init, unshare,
};
pub(crate) use priority::{YIELDING_NICE, be_prompt, yield_to_others};
pub(crate) use spawn::{Bounds, Program, Step, spawn};

use rustix::process::{Pid, Resource, Rlimit};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Exit code of a forked process whose code panicked.
const PANICKED: i32 = 70;

/// Forks; the child runs `child` and exits with its result, it never returns into the caller's frames.
///
/// The caller has made sure that this process has a single thread, so that no lock is held by a thread that the child
/// does not have.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: with one thread the child is a full copy in a consistent state, any code may run in it; it leaves through
    // `_exit` on every path, so no destructor or frame of the parent runs twice.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => libc::_exit(catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED)),
            pid => Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no pid")),
        }
    }
}

/// Has the allocator keep so few arenas that threads share them: each keeps what was freed in it.
#[cfg(target_env = "gnu")]
pub(crate) fn limit_arenas(arenas: i32) {
    // SAFETY: it only sets a number of the allocator's; a refusal leaves the default.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

/// Gives all freed pages back to the system.
#[cfg(target_env = "gnu")]
pub(crate) fn trim_memory() {
    // SAFETY: it takes the allocator's own locks and touches only memory that is free.
    unsafe { libc::malloc_trim(0) };
}

/// Blocks every signal in this thread, and so in everything it forks.
pub(crate) fn block_signals() -> io::Result<()> {
    let all = signal_set(libc::sigfillset)?;
    // SAFETY: `all` is an initialised set, the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const all, ptr::null_mut()) })
}

/// Has every signal that this process ignores do again what it does by default, also in what it executes.
pub(crate) fn heed_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: the kernel fills `action` in before it is read; only its own value goes back, with the handler that needs
        // no code. Numbers that nobody may ask for are left out.
        unsafe {
            if libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == -1 {
                continue;
            }
            let mut action = action.assume_init();
            if action.sa_sigaction == libc::SIG_IGN {
                action.sa_sigaction = libc::SIG_DFL;
                check(libc::sigaction(signal, &raw const action, ptr::null_mut()))?;
            }
        }
    }
    Ok(())
}

/// A descriptor that is readable while a child has changed its state. It serves forked processes too: each sees its own.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let mut set = signal_set(libc::sigemptyset)?;
    // SAFETY: `set` is initialised; signalfd copies it and returns a new descriptor that nobody else owns.
    unsafe {
        check(libc::sigaddset(&raw mut set, libc::SIGCHLD))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Whether this process's signals reach those only that it started, as [`scope_signals`] has it: its parent has the same
/// user and lives, and yet can't be reached.
pub(crate) fn has_scoped_signals() -> bool {
    // SAFETY: plain integers; nothing is sent.
    unsafe {
        let parent = libc::getppid();
        let refused = libc::kill(parent, 0) == -1 && *libc::__errno_location() == libc::EPERM;
        parent > 1 && refused && libc::getppid() == parent
    }
}

/// Kills all that this process may signal, itself excepted, in one step that no fork escapes.
///
/// The caller has asked [`has_scoped_signals`].
pub(crate) fn kill_all_in_scope() {
    // SAFETY: plain integers.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Makes `target` a close-on-exec copy of `fd`, closing what `target` was.
///
/// The caller gives up any other owner of `target`.
pub(crate) fn install(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() != target {
        // SAFETY: plain integers; an invalid descriptor is an error, not undefined behaviour.
        check(unsafe { libc::dup3(fd.as_raw_fd(), target, libc::O_CLOEXEC) })?;
    }
    // SAFETY: `target` is open and by contract has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(target) })
}

/// Takes `fd` over from the program that this process executed before.
///
/// The caller gives up any other owner of `fd`.
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain integers; a descriptor that is not open is an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: `fd` is open and by contract has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `fd` the standard input, kept across exec.
pub(crate) fn install_stdin(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers; descriptor 0 is never owned by an `OwnedFd` here.
    check(unsafe { libc::dup2(fd.as_raw_fd(), 0) })
}

/// Closes every descriptor from `first` on. Their owners must never use or drop them again: they live in frames below
/// a `fork`, which the process leaves through `_exit` only.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: see the contract above.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the child of `command` set its resource limits between fork and exec.
pub(crate) fn limit_before_exec(command: &mut std::process::Command, limits: crate::Limits) {
    let set = move || -> io::Result<()> {
        for (resource, limit) in [
            (Resource::Fsize, limits.file_bytes),
            (Resource::Data, limits.memory_bytes),
            (Resource::Core, 0),
        ] {
            let limit = Some(limit);
            rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: nothing is allocated and no lock is taken.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, set) };
}

fn signal_set(
    fill: unsafe extern "C" fn(*mut libc::sigset_t) -> libc::c_int,
) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `fill` is sigemptyset or sigfillset, which initialise the whole set.
    unsafe {
        check(fill(set.as_mut_ptr()))?;
        Ok(set.assume_init())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

//! The system calls that have no safe wrapper: fork, spawn, signal masks, descriptor ranges.
//!
//! All but `limit_before_exec` runs in the main thread of a process that has no other thread.
#![expect(unsafe_code, reason = "fork, posix_spawn and signal sets exist only as C functions")]

use rustix::process::{Pid, Resource, Rlimit};
use std::ffi::CStr;
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

/// The version of Landlock that the kernel offers.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`: only says the version.
    const VERSION: libc::c_uint = 1;
    let (attributes, size): (*const libc::c_void, usize) = (ptr::null(), 0);
    // SAFETY: with this flag the kernel reads no memory and makes no descriptor.
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, VERSION) };
    u32::try_from(abi).map_err(|_| io::Error::last_os_error())
}

/// Moves this process into a user namespace of its own.
pub(crate) fn enter_user_namespace() -> io::Result<()> {
    // SAFETY: plain integers; the caller has one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) })
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

/// What to execute: C strings that live in the request's buffer.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) args: Vec<&'a CStr>,
    pub(crate) env: Vec<&'a CStr>,
}

/// Starts `program` in a session of its own, with clean signals and with each of `files` as the descriptor beside it, put
/// in place in this order; 0 is shared. The error is that of `execve`.
pub(crate) fn spawn(program: &Program<'_>, files: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<Pid> {
    let argv = pointers(&program.args);
    let envp = pointers(&program.env);
    let all = signal_set(libc::sigfillset)?;
    let none = signal_set(libc::sigemptyset)?;
    let flags = libc::POSIX_SPAWN_SETSIGDEF
        | libc::POSIX_SPAWN_SETSIGMASK
        | libc::POSIX_SPAWN_SETSID as i32;
    let mut attributes = MaybeUninit::uninit();
    let mut actions = MaybeUninit::uninit();
    let mut pid = 0;
    // SAFETY: attributes and actions are initialised before use and destroyed after; argv and envp end in null and
    // their strings outlive the call; posix_spawn returns after exec or failure of the child.
    let result = unsafe {
        spawn_check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
        spawn_check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
        let (attributes, actions) = (attributes.as_mut_ptr(), actions.as_mut_ptr());
        let result = spawn_check(libc::posix_spawnattr_setflags(attributes, flags as i16))
            .and_then(|()| {
                spawn_check(libc::posix_spawnattr_setsigdefault(attributes, &raw const all))
            })
            .and_then(|()| {
                spawn_check(libc::posix_spawnattr_setsigmask(attributes, &raw const none))
            })
            .and_then(|()| {
                files.iter().try_for_each(|(file, target)| add_file(actions, *file, *target))
            })
            .and_then(|()| {
                spawn_check(libc::posix_spawn(
                    &raw mut pid,
                    program.path.as_ptr(),
                    actions,
                    attributes,
                    argv.as_ptr(),
                    envp.as_ptr(),
                ))
            });
        libc::posix_spawn_file_actions_destroy(actions);
        libc::posix_spawnattr_destroy(attributes);
        result
    };
    result?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("posix_spawn returned no pid"))
}

/// # Safety
/// `actions` is initialised.
unsafe fn add_file(
    actions: *mut libc::posix_spawn_file_actions_t,
    fd: BorrowedFd<'_>,
    target: RawFd,
) -> io::Result<()> {
    // SAFETY: by contract; the descriptors are only numbers for the child.
    spawn_check(unsafe { libc::posix_spawn_file_actions_adddup2(actions, fd.as_raw_fd(), target) })
}

fn pointers(strings: &[&CStr]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|s| s.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
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

fn spawn_check(errno: libc::c_int) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

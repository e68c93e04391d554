//! Starts a program as a child, confined before it executes.
//!
//! The child shares this process's memory until it executes, as with `posix_spawn`, which has no place for what confines:
//! nothing is copied, and this thread sleeps meanwhile. So the child only makes system calls with what was laid out for it.

use super::{landlock, namespaces};
use crate::filter::Instruction;
use crate::wire::Stage;
use rustix::process::Pid;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

/// Bytes of the child's stack: a few frames.
const STACK_BYTES: usize = 64 * 1024;
const FAILED: c_int = 127;

/// What to execute: C strings that live in the request's buffer.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) path: &'a CStr,
    pub(crate) args: Vec<&'a CStr>,
    pub(crate) env: Vec<&'a CStr>,
}

/// One of the steps that make what a program sees.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Makes a directory, unless it is there.
    Make(&'a CStr),
    /// Puts a tree that is mounted nowhere.
    Mount(OwnedFd, &'a CStr),
    /// Lets what is mounted there be written to.
    Allow(&'a CStr),
}

/// What a program is confined by.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds<'a> {
    /// What it sees beside a `/proc` of its own, in this process's namespace of mounts, and its working directory there.
    pub(crate) view: Option<(&'a [Step<'a>], &'a CStr)>,
    /// Whether it keeps what it takes to make namespaces.
    pub(crate) privileged: bool,
    /// Landlock's rules.
    pub(crate) files: Option<BorrowedFd<'a>>,
    /// seccomp's program; nothing refuses nothing.
    pub(crate) calls: &'a [Instruction],
}

/// All that the child reads, and where it says what went wrong.
struct Child {
    path: *const libc::c_char,
    argv: Vec<*mut libc::c_char>,
    envp: Vec<*mut libc::c_char>,
    files: Vec<(RawFd, RawFd)>,
    view: Option<View>,
    privileged: bool,
    ruleset: Option<RawFd>,
    filter: Option<libc::sock_fprog>,
    no_signals: libc::sigset_t,
    failure: Failure,
}

struct View {
    steps: Vec<Do>,
    working_dir: *const libc::c_char,
}

/// A [`Step`] as the child takes it.
enum Do {
    Make(*const libc::c_char),
    Mount(RawFd, *const libc::c_char),
    Allow(*const libc::c_char),
}

/// What went wrong; an error number of 0 is nothing.
#[derive(Clone, Copy)]
struct Failure {
    stage: Stage,
    errno: c_int,
}

/// Starts `program` in a session of its own, with no signal blocked, with each of `files` as the descriptor beside it, put
/// in place in this order, and within `bounds`; 0 is shared. The error is that of the step that failed, `execve` included.
///
/// The caller blocks all signals, and ignores none that the program shall heed.
pub(crate) fn spawn(
    program: &Program<'_>,
    files: &[(BorrowedFd<'_>, RawFd)],
    bounds: Bounds<'_>,
) -> Result<Pid, (Stage, io::Error)> {
    let ours = |error| (Stage::Supervisor, error);
    let mut child = Child {
        path: program.path.as_ptr(),
        argv: pointers(&program.args),
        envp: pointers(&program.env),
        files: files.iter().map(|(file, target)| (file.as_raw_fd(), *target)).collect(),
        view: bounds.view.map(|(steps, working_dir)| View {
            steps: steps.iter().map(Do::from).collect(),
            working_dir: working_dir.as_ptr(),
        }),
        privileged: bounds.privileged,
        ruleset: bounds.files.map(|fd| fd.as_raw_fd()),
        filter: (!bounds.calls.is_empty()).then(|| libc::sock_fprog {
            len: u16::try_from(bounds.calls.len()).unwrap_or(0),
            filter: bounds.calls.as_ptr().cast_mut().cast(),
        }),
        no_signals: super::signal_set(libc::sigemptyset).map_err(ours)?,
        failure: Failure { stage: Stage::Execute, errno: 0 },
    };
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    // SAFETY: `CLONE_VFORK` has this thread, the only one, sleep until the child has executed or exited, so that `child`,
    // `stack` and what they point to outlive its use, and nobody else touches them. Its stack grows down from an end that
    // is aligned to 16 bytes.
    let pid = unsafe {
        libc::clone(
            start,
            stack.as_mut_ptr_range().end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut child).cast(),
        )
    };
    super::check(pid).map_err(ours)?;
    // SAFETY: the child wrote it, or nobody did.
    let Failure { stage, errno } = unsafe { ptr::read_volatile(&raw const child.failure) };
    let no_pid = || ours(io::Error::other("clone returned no pid"));
    let pid = Pid::from_raw(pid).ok_or_else(no_pid)?;
    if errno == 0 {
        return Ok(pid);
    }
    let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
    Err((stage, io::Error::from_raw_os_error(errno)))
}

extern "C" fn start(child: *mut c_void) -> c_int {
    let child = child.cast::<Child>();
    // SAFETY: `spawn` passes a valid pointer and sleeps meanwhile; this makes no reference that outlives it.
    let failed = unsafe { become_program(&*child) };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(&raw mut (*child).failure, failed) };
    FAILED
}

/// Executes; returns what went wrong. Allocates nothing and takes no lock.
///
/// # Safety
/// `child` is as [`spawn`] has laid it out, in a process of its own.
unsafe fn become_program(child: &Child) -> Failure {
    // SAFETY: system calls with plain integers and with pointers that `spawn` keeps valid; `argv` and `envp` end in null.
    unsafe {
        let failed = |result: c_int| result == -1;
        let errno = || *libc::__errno_location();
        let ours = |errno| Failure { stage: Stage::Supervisor, errno };
        if failed(libc::setsid()) {
            return ours(errno());
        }
        for (file, target) in &child.files {
            if failed(libc::dup2(*file, *target)) {
                return ours(errno());
            }
        }
        if let Some(view) = &child.view
            && let Err(failure) = make(view)
        {
            return failure;
        }
        let is_confined = child.view.is_some() || child.ruleset.is_some() || child.filter.is_some();
        if is_confined && !namespaces::drop_privileges() {
            return ours(errno());
        }
        if child.privileged && !namespaces::keep_administration() {
            return ours(errno());
        }
        let seen = child.view.as_ref().map_or(c"/proc/self", |_| c"/proc");
        if let Some(ruleset) = child.ruleset
            && let Err(errno) = landlock::obey(ruleset, seen)
        {
            return ours(errno);
        }
        if failed(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const child.no_signals,
            ptr::null_mut(),
        )) {
            return ours(errno());
        }
        if let Some(filter) = &child.filter {
            let mode = libc::SECCOMP_MODE_FILTER;
            if failed(libc::prctl(libc::PR_SET_SECCOMP, mode, ptr::from_ref(filter))) {
                return ours(errno());
            }
        }
        libc::execve(child.path, child.argv.as_ptr().cast(), child.envp.as_ptr().cast());
        Failure { stage: Stage::Execute, errno: errno() }
    }
}

/// Makes what is seen in this process's namespace of mounts.
///
/// # Safety
/// As for [`become_program`].
unsafe fn make(view: &View) -> Result<(), Failure> {
    const EMPTY_PATH: libc::c_uint = 4;
    // SAFETY: system calls with plain integers and C strings that `spawn` keeps valid.
    unsafe {
        let done = |result: libc::c_long, stage: Stage| match result {
            -1 => Err(Failure { stage, errno: *libc::__errno_location() }),
            _ => Ok(()),
        };
        let (kind, at) = (c"proc".as_ptr(), c"/proc".as_ptr());
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let options = c"hidepid=ptraceable".as_ptr().cast();
        done(libc::mount(kind, at, kind, flags, options).into(), Stage::Namespaces)?;
        for step in &view.steps {
            match *step {
                // One that is there already will do, and one that can't be made shows at the next step.
                Do::Make(path) => drop(libc::mkdir(path, 0o700)),
                Do::Mount(tree, path) => {
                    let (call, from) = (libc::SYS_move_mount, c"".as_ptr());
                    let moved = libc::syscall(call, tree, from, libc::AT_FDCWD, path, EMPTY_PATH);
                    done(moved, Stage::Namespaces)?;
                }
                Do::Allow(path) => {
                    let allowed = namespaces::allow_writes(libc::AT_FDCWD, path);
                    done(allowed, Stage::Namespaces)?;
                }
            }
        }
        done(libc::chdir(view.working_dir).into(), Stage::WorkingDirectory)
    }
}

impl From<&Step<'_>> for Do {
    fn from(step: &Step<'_>) -> Self {
        match step {
            Step::Make(path) => Self::Make(path.as_ptr()),
            Step::Mount(tree, path) => Self::Mount(tree.as_raw_fd(), path.as_ptr()),
            Step::Allow(path) => Self::Allow(path.as_ptr()),
        }
    }
}

fn pointers(strings: &[&CStr]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|s| s.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

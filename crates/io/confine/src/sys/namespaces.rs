//! Namespaces: entering them, and the first process of one for process ids.

use super::{check, check_long};
use rustix::process::Pid;
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Namespaces that a process may leave its own for.
pub(crate) const USER: i32 = libc::CLONE_NEWUSER;
pub(crate) const MOUNTS: i32 = libc::CLONE_NEWNS;
pub(crate) const PROCESSES: i32 = libc::CLONE_NEWPID;
pub(crate) const IPC: i32 = libc::CLONE_NEWIPC;
pub(crate) const NETWORK: i32 = libc::CLONE_NEWNET;

/// Bytes of the first process's stack: it makes two system calls.
const STACK_BYTES: usize = 16 * 1024;

/// What a Run of root keeps, as with container engines, but for raw sockets: on a network that it shares they would hear
/// the pod's own calls. Nothing of it reaches the machine. Bits of capabilities(7), from `CAP_CHOWN` on.
pub(crate) const KEPT_BY_ROOT: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;
const CAP_SYS_ADMIN: u32 = 21;
/// Of the structures of capget(2).
const VERSION_3: u32 = 0x2008_0522;
/// Beyond all that kernels know.
const LAST_CAPABILITY: u32 = 63;

/// Moves this process, or for process ids its children, into new namespaces.
pub(crate) fn unshare(namespaces: i32) -> io::Result<()> {
    // SAFETY: plain integers; the caller has one thread.
    check(unsafe { libc::unshare(namespaces) })
}

/// Moves this process into a namespace of mounts.
pub(crate) fn enter_mounts(mounts: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers; the caller has one thread.
    check(unsafe { libc::setns(mounts.as_raw_fd(), MOUNTS) })
}

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `MOUNT_ATTR_RDONLY`.
const READ_ONLY: u64 = 1;

/// Has nobody in this process's namespace of mounts change anything of what is mounted there.
pub(crate) fn refuse_writes() -> io::Result<()> {
    /// `AT_RECURSIVE`.
    const WITH_ALL_BELOW: libc::c_uint = 0x8000;
    let attributes =
        MountAttributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: a C string, and a structure of the size that is said.
    let done = unsafe {
        let (call, root) = (libc::SYS_mount_setattr, c"/".as_ptr());
        let size = size_of::<MountAttributes>();
        libc::syscall(call, libc::AT_FDCWD, root, WITH_ALL_BELOW, &raw const attributes, size)
    };
    check_long(done).map(drop)
}

/// Lets what a tree that is mounted nowhere shows be changed, but not what is mounted below.
pub(crate) fn make_writable(tree: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers and a C string.
    check_long(unsafe { allow_writes(tree.as_raw_fd(), c"".as_ptr()) }).map(drop)
}

/// The same for what is mounted at `path`. Makes a system call only.
///
/// # Safety
/// `path` is a C string.
pub(super) unsafe fn allow_writes(directory: RawFd, path: *const libc::c_char) -> libc::c_long {
    let attributes =
        MountAttributes { set: 0, clear: READ_ONLY, propagation: 0, user_namespace: 0 };
    let (call, size) = (libc::SYS_mount_setattr, size_of::<MountAttributes>());
    // SAFETY: the path is the caller's, the structure has the size that is said.
    unsafe {
        libc::syscall(call, directory, path, libc::AT_EMPTY_PATH, &raw const attributes, size)
    }
}

/// Starts the first process of the namespace that [`unshare`] has made: the kernel kills all others when it ends. It ends
/// with this process at the latest.
pub(crate) fn start_init() -> io::Result<Pid> {
    let stack = Box::leak(vec![0_u128; STACK_BYTES / size_of::<u128>()].into_boxed_slice());
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::SIGCHLD;
    // It gets this from the parent: orphans that end before it runs must not stay either.
    set_child_signals(libc::SIG_IGN)?;
    // SAFETY: it uses its own stack, which is never freed, and makes system calls only, none of which fails: what both
    // share, `errno` included, it does not touch. Its signals are blocked, as the caller's are.
    let pid = unsafe {
        libc::clone(be_init, stack.as_mut_ptr_range().end.cast(), flags, std::ptr::null_mut())
    };
    let made = check(pid);
    set_child_signals(libc::SIG_DFL)?;
    made?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("clone returned no pid"))
}

extern "C" fn be_init(_: *mut c_void) -> libc::c_int {
    // SAFETY: plain integers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        loop {
            libc::pause();
        }
    }
}

fn set_child_signals(action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: neither of the two actions has code.
    let former = unsafe { libc::signal(libc::SIGCHLD, action) };
    if former == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Bytes that the memory and the messages of this process's IPC namespace take.
pub(crate) fn ipc_bytes() -> u64 {
    /// `SHM_INFO`, `SEM_INFO` and `MSG_INFO`, and a semaphore's size in the kernel.
    const SHARED: libc::c_int = 14;
    const SEMAPHORES: libc::c_int = 19;
    const MESSAGES: libc::c_int = 12;
    const SEMAPHORE_BYTES: u64 = 128;
    let mut memory = [0_u64; 8];
    let mut semaphores = [0_i32; 16];
    let mut messages = [0_i32; 16];
    // SAFETY: the kernel fills in structures that are smaller than these: `shm_info` of an integer and five longs, `seminfo`
    // of ten integers, `msginfo` of seven and a short one.
    unsafe {
        libc::syscall(libc::SYS_shmctl, 0, SHARED, memory.as_mut_ptr());
        libc::syscall(libc::SYS_semctl, 0, 0, SEMAPHORES, semaphores.as_mut_ptr());
        libc::syscall(libc::SYS_msgctl, 0, MESSAGES, messages.as_mut_ptr());
    }
    let count = |number: i32| u64::try_from(number).unwrap_or(0);
    // shm_rss; semaem, the number of all; msgtql, the bytes of all.
    memory[2] * rustix::param::page_size() as u64
        + count(semaphores[9]) * SEMAPHORE_BYTES
        + count(messages[6])
}

/// Has the program that this process executes keep [`CAP_SYS_ADMIN`], whoever the user is. Makes system calls only.
///
/// # Safety
/// None beyond that of system calls: it is called where nothing else may be done.
pub(super) unsafe fn keep_administration() -> bool {
    // SAFETY: plain integers.
    unsafe {
        hand_administration_on()
            && libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0)
                == 0
    }
}

/// # Safety
/// As for [`keep_administration`].
unsafe fn hand_administration_on() -> bool {
    // SAFETY: the structures are those of this version: a header, and effective, permitted and inheritable ones, twice.
    unsafe {
        let mut header = [VERSION_3, 0];
        let mut sets = [0_u32; 6];
        if libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) == -1 {
            return false;
        }
        sets[2] |= 1 << CAP_SYS_ADMIN;
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_mut_ptr()) == 0
    }
}

/// Has what this process of root's executes, and its children do, get no more than [`KEPT_BY_ROOT`]; the process keeps what it has.
/// To give up one right takes long: in each of the children it is only looked for then. A fork server may still be given [`CAP_SYS_ADMIN`].
pub(crate) fn bound_capabilities() -> bool {
    // SAFETY: they make system calls with plain integers and structures of their own.
    unsafe { hand_administration_on() && bound() }
}

/// # Safety
/// None beyond that of system calls: it is called where nothing else may be done.
unsafe fn bound() -> bool {
    for capability in 0..=LAST_CAPABILITY {
        // SAFETY: plain integers.
        let is_there = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        if is_there == -1 {
            // The kernel knows neither this one nor those after it.
            break;
        }
        let is_kept = KEPT_BY_ROOT & (1_u64 << capability) != 0;
        // One that is gone takes no right to drop.
        if is_there == 1 && !is_kept {
            // SAFETY: plain integers.
            let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            if dropped == -1 {
                return false;
            }
        }
    }
    true
}

/// Has this process, and the program that it executes, keep no more than [`KEPT_BY_ROOT`] if the user is root, and nothing if
/// not. Makes system calls only.
///
/// # Safety
/// None beyond that of system calls: it is called where nothing else may be done.
pub(super) unsafe fn drop_privileges() -> bool {
    // SAFETY: plain integers, and the structures of `keep_administration`.
    unsafe {
        let is_root = libc::geteuid() == 0;
        // Others keep nothing when they execute.
        if is_root && !bound() {
            return false;
        }
        let kept = if is_root { KEPT_BY_ROOT } else { 0 };
        let (low, high) = (kept as u32, (kept >> 32) as u32);
        let mut header = [VERSION_3, 0];
        let mut sets = [0_u32; 6];
        if libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) == -1 {
            return false;
        }
        // Without inheritable ones there are no ambient ones.
        for (set, mask) in sets.iter_mut().zip([low, low, 0, high, high, 0]) {
            *set &= mask;
        }
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_mut_ptr()) == 0
    }
}

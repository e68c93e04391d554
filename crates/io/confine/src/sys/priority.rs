//! Who gets the processor first.

use super::check_long;
use std::io;
use std::mem::size_of;

/// `struct sched_attr` in its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Children are as if this had not been called.
const RESET_ON_FORK: u64 = 1;
/// Where this user may go above others.
const PREFERRED_NICE: i32 = -10;
/// The shortest time slice there is: who asks for little gets it soon (Linux 6.12).
const SLICE_NANOSECONDS: u64 = 100_000;

/// Has this thread run soon after it wakes, however many processes want to. As far as this user may; its children have
/// nothing of it.
pub(crate) fn be_prompt() -> io::Result<()> {
    // SAFETY: plain integers. The answer of the system call is 20 less the value, never negative for this process.
    let nice =
        20 - check_long(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) })?;
    let nice = i32::try_from(nice).unwrap_or(0);
    // Children would be at 0 instead of where this process is.
    let preferred = if nice == 0 { PREFERRED_NICE } else { nice };
    set(preferred).or_else(|_| set(nice))
}

fn set(nice: i32) -> io::Result<()> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: RESET_ON_FORK,
        nice,
        runtime: SLICE_NANOSECONDS,
        ..Attributes::default()
    };
    // SAFETY: the kernel reads `attributes` within its size.
    check_long(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
        .map(drop)
}

/// How nice who yields is: a third of the weight of others. One that gets far less (`SCHED_IDLE` was tried) sits on locks of
/// the kernel that the starts of others wait for.
pub(crate) const YIELDING_NICE: i32 = 5;

/// Has a process, and all that it forks, yield to others. One that is gone, or is nicer, stays so.
pub(crate) fn yield_to_others(pid: i32) {
    let Ok(id) = libc::id_t::try_from(pid) else { return };
    // SAFETY: plain integers. The answer of the system call is 20 less the value.
    unsafe {
        let is_nicer = libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, id)
            <= i64::from(20 - YIELDING_NICE);
        if !is_nicer {
            libc::setpriority(libc::PRIO_PROCESS, id, YIELDING_NICE);
        }
    }
}

//! Landlock's three system calls.

use super::check_long;
use crate::Network;
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// Rights on files, as the kernel numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights(u64);

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHARACTER_DEVICE: u64 = 1 << 6;
const MAKE_BLOCK_DEVICE: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEVICE: u64 = 1 << 15;

impl Rights {
    /// To read, list and execute.
    pub(crate) const READ: Self = Self(EXECUTE | READ_FILE | READ_DIR);
    /// To list.
    pub(crate) const LIST: Self = Self(READ_DIR);
    /// To use a device that is everybody's.
    pub(crate) const DEVICE: Self = Self(WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE);
    /// Everything but to make devices.
    pub(crate) const OWN: Self =
        Self(handled(LATEST) & !(MAKE_CHARACTER_DEVICE | MAKE_BLOCK_DEVICE | IOCTL_DEVICE));

    /// As bits, those that a version knows.
    pub(crate) const fn known_to(self, abi: u32) -> u64 {
        self.0 & handled(abi)
    }

    /// Those that a file can have that is no directory.
    pub(crate) const fn of_file(self) -> Self {
        Self(self.0 & (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE))
    }
}

/// The newest version of Landlock that this code knows.
const LATEST: u32 = 7;

/// All rights that a version can refuse.
const fn handled(abi: u32) -> u64 {
    let count = match abi {
        0 => 0,
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << count) - 1
}

#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    rights: u64,
    parent: RawFd,
}

const RULE_PATH_BENEATH: libc::c_int = 1;
/// Binding and connecting of TCP sockets.
const TCP: u64 = 0b11;
/// Connecting to abstract sockets and signalling.
const SCOPES: u64 = 0b11;

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

/// A set of rules that refuses everything that this version can refuse, TCP where the Run has no network.
pub(crate) fn make_ruleset(abi: u32, network: Network) -> io::Result<OwnedFd> {
    let attributes = RulesetAttributes {
        files: handled(abi),
        network: if abi >= 4 && network == Network::None { TCP } else { 0 },
        scopes: if abi >= 6 { SCOPES } else { 0 },
    };
    // SAFETY: the kernel reads `attributes` within its size; what is zero in it, an older one ignores. The descriptor that
    // comes back has no other owner.
    unsafe {
        let fd = check_long(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<RulesetAttributes>(),
            0_u32,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Keeps the signals of this process, and of all that it starts from here on, among themselves; false where Landlock can't.
pub(crate) fn scope_signals() -> bool {
    const SIGNALS: u64 = 0b10;
    let attributes = RulesetAttributes { files: 0, network: 0, scopes: SIGNALS };
    // SAFETY: as in `make_ruleset`; the descriptor is owned here alone.
    let ruleset = unsafe {
        let made = libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<RulesetAttributes>(),
            0_u32,
        );
        let Ok(fd) = check_long(made) else { return false };
        OwnedFd::from_raw_fd(fd as RawFd)
    };
    // SAFETY: plain integers.
    unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) == 0 }
}

/// Grants `rights`, as far as this version knows them, on `path` and what lies below it.
pub(crate) fn add_rule(
    ruleset: BorrowedFd<'_>,
    path: BorrowedFd<'_>,
    rights: Rights,
    abi: u32,
) -> io::Result<()> {
    let rule = PathBeneath { rights: rights.known_to(abi), parent: path.as_raw_fd() };
    // SAFETY: the kernel reads `rule`, of the type that the number says.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    check_long(done).map(drop)
}

/// Has the calling thread, and what it executes, obey `ruleset`, which also grants it to read `seen` of `/proc`. Makes system calls only.
///
/// # Safety
/// None beyond that of system calls: it is called where nothing else may be done.
pub(super) fn obey(ruleset: RawFd, seen: &CStr) -> Result<(), i32> {
    // SAFETY: plain integers, a C string and a rule that the kernel reads.
    unsafe {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let own = libc::open(seen.as_ptr(), flags);
        if own != -1 {
            let rule = PathBeneath { rights: READ_FILE | READ_DIR, parent: own };
            let add = libc::SYS_landlock_add_rule;
            // Without this grant the Run still starts.
            libc::syscall(add, ruleset, RULE_PATH_BENEATH, &raw const rule, 0_u32);
        }
        match libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0_u32) {
            0 => Ok(()),
            _ => Err(*libc::__errno_location()),
        }
    }
}

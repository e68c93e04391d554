//! What the kernel offers for keeping Runs apart: tried, not read from a version.

use crate::sys;
use rustix::process::{WaitOptions, waitpid};
use std::io;

/// The version of Landlock.
///
/// # Errors
/// The kernel has none (`Unsupported`), or it is not enabled.
pub fn landlock_abi() -> io::Result<u32> {
    sys::landlock_abi()
}

/// Whether this user may make user namespaces. The caller has a single thread: a fork of it tries.
///
/// # Errors
/// The fork itself failed.
pub fn may_make_user_namespaces() -> io::Result<bool> {
    let child = sys::fork(|| i32::from(sys::unshare(sys::USER).is_err()))?;
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.exit_status() == Some(0)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

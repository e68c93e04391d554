//! What keeps a Run among its own: decided for each, put on by its process before it executes anything.

use crate::View;
use rustix::process::DumpableBehavior;
use std::io;
use std::os::fd::OwnedFd;

/// The sockets that a Run may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Those of the internet families.
    Full,
    /// None but pairs.
    None,
}

/// How a command is kept from all that is not its own.
#[derive(Debug)]
pub struct Confinement {
    /// From [`crate::Files::ruleset`]; nothing where the kernel has no Landlock.
    pub files: Option<OwnedFd>,
    /// Which sockets it may make.
    pub network: Network,
    /// What it sees in namespaces of its own, where [`crate::Zygote::isolate`] has said that there are some.
    pub view: Option<View>,
}

/// Keeps other processes of this user out of this process's memory, descriptors and environment.
///
/// # Errors
/// The system refused.
pub fn hide_memory() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// What this kernel can't keep apart, in words for people; empty when it has all that there is to use.
#[must_use]
pub fn lacks() -> Vec<&'static str> {
    match crate::landlock_abi() {
        Err(_) => vec!["files", "processes", "signals", "abstract sockets"],
        Ok(abi) => {
            let since = [(3, "truncation of files"), (6, "signals"), (6, "abstract sockets")];
            since.iter().filter(|(needed, _)| abi < *needed).map(|(_, what)| *what).collect()
        }
    }
}

//! What a supervisor does first: it starts the command, with all that confines it.

use crate::filter::{self, Filters, Ipc};
use crate::namespaces::{Namespaces, Room};
use crate::supervisor;
use crate::sys::{self, Bounds};
use crate::wire::{Parsed, Stage};
use rustix::io::Errno;
use rustix::process::Pid;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

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
    /// Those that the zygote has, within which the command's own are made.
    pub(crate) namespaces: Option<Namespaces>,
    /// The zygote's namespace of mounts, where it is not the machine's.
    pub(crate) mounts: Option<BorrowedFd<'a>>,
}

/// The processes that a supervisor looks after, and what it knows of their memory.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) main: Pid,
    /// The first process of their namespace, where they have one.
    pub(crate) init: Option<Pid>,
    /// The file system of their own memory.
    pub(crate) memory: Option<OwnedFd>,
    /// Their namespace of mounts, to be held until the report.
    pub(crate) mounts: Option<OwnedFd>,
}

/// Starts the command. This process becomes the parent of all that it orphans.
pub(crate) fn launch(start: &Start<'_>) -> Result<Started, (Stage, io::Error)> {
    let ours = |error: Errno| (Stage::Supervisor, error.into());
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(ours)?;
    rustix::thread::set_name(supervisor::NAME).map_err(ours)?;
    let unreadable = || (Stage::Supervisor, Errno::INVAL.into());
    let command = start.command.as_ref().ok_or_else(unreadable)?;
    let Parsed { program, working_dir, bounding, .. } = command;
    if bounding.has_rules != start.rules.is_some()
        || (bounding.has_view && start.namespaces.is_none())
    {
        return Err(unreadable());
    }
    rustix::process::chdir(*working_dir)
        .map_err(|error| (Stage::WorkingDirectory, error.into()))?;
    let calls: &[_] = match bounding.network {
        None => &[],
        Some(network) => {
            let ipc = if bounding.has_view { Ipc::Own } else { Ipc::OfAll };
            filter::of(start.filters, network, ipc)
        }
    };
    // Where it fails, what the command leaves is killed one by one.
    let _ = bounding.network.is_some() && sys::scope_signals();
    let room = Room::of(command, start.namespaces, start.rules)
        .map_err(|error| (Stage::Namespaces, error))?;
    let view = room.as_ref().map(|room| (room.steps.as_slice(), *working_dir));
    let bounds = Bounds { files: start.rules, calls, view, privileged: false };
    let spawned = sys::spawn(program, &[(start.stdout, 1), (start.stderr, 2)], bounds);
    let Some(room) = room else {
        return Ok(Started { main: spawned?, init: None, memory: None, mounts: None });
    };
    // Where it began: its own `/proc` is the command's no more.
    let back = || sys::enter_mounts(start.mounts.ok_or(Errno::INVAL)?);
    let in_order = |main| back().map(|()| main).map_err(|error| (Stage::Namespaces, error));
    // Nobody is left of what is reported not to have started.
    let main = spawned.and_then(in_order).inspect_err(|_| room.end())?;
    let Room { init, memory, mounts, .. } = room;
    Ok(Started { main, init: Some(init), memory, mounts: Some(mounts) })
}

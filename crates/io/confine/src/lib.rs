//! Starts, confines and ends the processes of a Run.
//!
//! A *zygote* (single-threaded, forked before any thread exists) forks one *supervisor* a command. The supervisor is a
//! child subreaper: whatever the command leaves behind becomes its child, so it can kill every descendant before it
//! reports the end. The supervisor ends everything when its control socket ends (the server died); what a killed
//! supervisor leaves becomes the zygote's and is killed there. A *fork server* is an interpreter below the zygote that is
//! forked instead of executing a program.
//!
//! Invariant: an `Ended` report, or end of file on a control socket, means that no process of that command lives.
//! All `unsafe` of the workspace stands in `sys.rs`.

mod confinement;
mod filter;
mod fork_server;
mod hidden;
mod keeper;
mod kernel;
mod launch;
mod limits;
mod line;
mod memory;
mod mounts;
mod namespaces;
mod rules;
mod supervisor;
mod sys;
mod tree;
mod usage;
mod view;
mod watchdog;
mod wire;
mod zygote;

pub use confinement::{Confinement, Network, hide_memory, lacks};
pub use fork_server::{ForkServer, PYTHON, supervise};
pub use hidden::Hidden;
pub use kernel::{landlock_abi, may_make_user_namespaces};
pub use limits::{Limits, limit};
pub use namespaces::Namespaces;
pub use rules::{Files, Mounts};
pub use supervisor::TERMINATE_GRACE;
pub use tree::{kill_own_descendants, kill_tree};
pub use view::{Scene, View};
pub use watchdog::Allowance;
pub use wire::{End, Excess, Report, Stage};
pub use zygote::{Child, Command, Control, SpawnError, StartError, Zygote};

use rustix::process::Signal;
use std::io;

/// Makes this process the parent of whatever its descendants orphan.
pub fn set_child_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Has the kernel send `SIGKILL` to this process when the thread that started it ends.
pub fn set_parent_death_signal() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Has the allocator share `arenas` arenas among all threads: each keeps what was freed in it.
pub fn limit_arenas(arenas: i32) {
    #[cfg(target_env = "gnu")]
    sys::limit_arenas(arenas);
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}

/// Gives memory that was freed back to the system.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    sys::trim_memory();
}

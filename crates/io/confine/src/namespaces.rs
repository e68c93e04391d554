//! The namespaces of Runs: those of user and mounts that all have in common are the zygote's, and each Run has some of its
//! own within: of processes, mounts and IPC, and of the network if it shall have none.
//!
//! The zygote's mounts follow those of the machine. The first process of a Run's namespace does nothing; with it all others
//! end. It and the supervisor, which stays outside, have nothing that the Run could reach.

use crate::Network;
use crate::filter::{self, Filters};
use crate::supervisor::HIGH_FD;
use crate::sys::{self, Bounds, Program, Rights, Step};
use crate::view::{COVER, MAKE, MEMORY, WRITABLE};
use crate::wire::{Parsed, Stage};
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags,
};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};
use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Files that a Run may have in its own memory.
const MEMORY_FILES: &CStr = c"16384";
/// What a cover may take: directories alone.
const COVER_BYTES: u64 = 64 * 1024;
const COVER_FILES: &CStr = c"64";

/// What Runs get of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// Whether those without a network have one of the network too, beside those of processes, mounts and IPC.
    pub network: bool,
}

impl Namespaces {
    pub(crate) fn encode(these: Option<Self>) -> [u8; 1] {
        [match these {
            None => b'-',
            Some(Self { network: false }) => b'p',
            Some(Self { network: true }) => b'n',
        }]
    }

    pub(crate) fn decode(byte: u8) -> Option<Self> {
        match byte {
            b'p' => Some(Self { network: false }),
            b'n' => Some(Self { network: true }),
            _ => None,
        }
    }
}

/// What can be had: processes of their own try all of it. The caller has a single thread, and waits for nobody else.
pub(crate) fn attempt(
    covers: &[&CStr],
    writable: &[&CStr],
    filters: &Filters,
) -> Option<Namespaces> {
    let works = |network| {
        let tried = sys::fork(|| i32::from(!start_nothing((covers, writable), network, filters)));
        tried.is_ok_and(|child| wait_for(child) == Some(0))
    };
    let network = works(Network::None);
    (network || works(Network::Full)).then_some(Namespaces { network })
}

/// The exit code of a child.
fn wait_for(child: Pid) -> Option<i32> {
    loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return status.exit_status(),
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Moves this process into namespaces of user, unless it is root's, and mounts, where nobody sees what is in `covers`.
pub(crate) fn enter(covers: &[&CStr]) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if !user.is_root() {
        sys::unshare(sys::USER)?;
        // What is said of this process is root's otherwise.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{0} {0} 1", user.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("{0} {0} 1", group.as_raw()))?;
        crate::hide_memory()?;
    }
    sys::unshare(sys::MOUNTS)?;
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", follow)?;
    for place in covers {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount(c"tmpfs", *place, c"tmpfs", flags, c"size=4k,mode=555")?;
    }
    Ok(())
}

/// Moves this process into a namespace of mounts in which nothing is changed but below `writable`: of what Runs see of the machine
/// Landlock would let them change modes, owners and times.
pub(crate) fn protect(writable: &[&CStr]) -> io::Result<()> {
    sys::unshare(sys::MOUNTS)?;
    sys::refuse_writes()?;
    for place in writable {
        // A mount of its own, which what is copied from it is like: to allow it for each copy takes long.
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(copy(place)?.as_fd(), c"", CWD, *place, flags)?;
    }
    Ok(())
}

/// What lies at a path, mounted nowhere and writable.
fn copy(place: &CStr) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, place, flags)?;
    if rustix::fs::fstatvfs(&tree)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        sys::make_writable(tree.as_fd())?;
    }
    Ok(tree)
}

/// The namespaces of one Run, and what it will see, from its supervisor's side.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    /// The first process.
    pub(crate) init: Pid,
    pub(crate) steps: Vec<Step<'a>>,
    /// The file system of its own memory.
    pub(crate) memory: Option<OwnedFd>,
    /// Holds what is seen: to take it apart takes longer than all the rest, and shall not come before the report.
    pub(crate) mounts: OwnedFd,
}

impl<'a> Room<'a> {
    /// That of a command, which `rules` grant what they can't name before; nothing for one that has none.
    pub(crate) fn of(
        command: &Parsed<'a>,
        zygotes: Option<Namespaces>,
        rules: Option<BorrowedFd<'_>>,
    ) -> io::Result<Option<Self>> {
        let (true, Some(zygotes)) = (command.bounding.has_view, zygotes) else { return Ok(None) };
        let network = command.bounding.network.filter(|_| zygotes.network);
        let network = network.unwrap_or(Network::Full);
        let mut room = Self::new(network)?;
        match room.lay_out(&command.steps, command.memory_bytes, rules) {
            Ok(()) => Ok(Some(room)),
            Err(error) => {
                room.end();
                Err(error)
            }
        }
    }

    /// Moves this process into namespaces of IPC and mounts, and its next children also into one of processes, whose first
    /// this starts.
    fn new(network: Network) -> io::Result<Self> {
        let own = sys::PROCESSES | sys::IPC | sys::MOUNTS;
        sys::unshare(if network == Network::None { own | sys::NETWORK } else { own })?;
        let mounts = high(&own_mounts()?)?;
        Ok(Self { init: sys::start_init()?, steps: Vec::new(), memory: None, mounts })
    }

    /// Makes what will be seen, which `rules` grant what they can't name before.
    fn lay_out(
        &mut self,
        steps: &[(&'a CStr, &'a CStr)],
        memory_bytes: u64,
        rules: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        for (source, target) in steps {
            let step = match source.to_bytes() {
                MAKE => Step::Make(target),
                WRITABLE => Step::Allow(target),
                COVER => Step::Mount(tree(COVER_BYTES, COVER_FILES, c"0755")?, target),
                MEMORY => {
                    let memory = tree(memory_bytes, MEMORY_FILES, c"1777")?;
                    self.memory = Some(high(&memory)?);
                    Step::Mount(memory, target)
                }
                _ => Step::Mount(copy(source)?, target),
            };
            self.steps.push(step);
        }
        if let (Some(rules), Some(memory)) = (rules, &self.memory) {
            sys::add_rule(rules, memory.as_fd(), Rights::OWN, sys::landlock_abi()?)?;
        }
        Ok(())
    }

    /// Ends who is in there, and takes all children of this process: the kernel lets the first one go last.
    pub(crate) fn end(&self) {
        let _ = rustix::process::kill_process(self.init, Signal::KILL);
        while !matches!(rustix::process::wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
    }
}

/// The namespace of mounts that this process is in.
pub(crate) fn own_mounts() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/proc/self/ns/mnt", flags, Mode::empty())?)
}

/// The same above all descriptors that a supervisor puts in place.
fn high(fd: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, HIGH_FD)?)
}

/// What a fork server must know to do what [`Room`] does.
pub(crate) fn settings(namespaces: Option<Namespaces>) -> Vec<u8> {
    let rights = Rights::OWN.known_to(sys::landlock_abi().unwrap_or(0));
    let own: u32 = match namespaces {
        None => 0,
        Some(Namespaces { network: false }) => 1,
        Some(Namespaces { network: true }) => 2,
    };
    let (rights, kept) = (rights.to_le_bytes(), sys::KEPT_BY_ROOT.to_le_bytes());
    [&rights[..], &kept, &own.to_le_bytes()].concat()
}

/// A file system in memory, mounted nowhere yet.
fn tree(bytes: u64, files: &CStr, mode: &CStr) -> io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in [(c"size", &*bytes.to_string()), (c"nr_inodes", &*files.to_string_lossy())]
    {
        fsconfig_set_string(context.as_fd(), name, value)?;
    }
    fsconfig_set_string(context.as_fd(), c"mode", mode)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Whether all goes well until something is executed that is no program, and back from there.
fn start_nothing(
    (covers, writable): (&[&CStr], &[&CStr]),
    network: Network,
    filters: &Filters,
) -> bool {
    if enter(covers).and_then(|()| protect(writable)).is_err() {
        return false;
    }
    let steps = [(c"/proc", c"/proc"), (c"cover", c"/proc"), (c"memory", c"/proc")];
    let Ok(back) = own_mounts() else { return false };
    let Ok(mut room) = Room::new(network) else { return false };
    if room.lay_out(&steps, COVER_BYTES, None).is_err() {
        room.end();
        return false;
    }
    let program = Program { path: c"/", args: Vec::new(), env: Vec::new() };
    let view = Some((room.steps.as_slice(), c"/"));
    let calls = filter::of(filters, network, filter::Ipc::Own);
    let ended = sys::spawn(&program, &[], Bounds { view, calls, ..Bounds::default() });
    room.end();
    matches!(ended, Err((Stage::Execute, _))) && sys::enter_mounts(back.as_fd()).is_ok()
}

/// Bytes that a Run has in `files` of its own memory, and in the IPC of System V.
pub(crate) fn memory_bytes(files: Option<&OwnedFd>) -> u64 {
    let all = files.and_then(|files| rustix::fs::fstatfs(files).ok());
    let held = all.map_or(0, |all| {
        let blocks = all.f_blocks.saturating_sub(all.f_bfree);
        blocks.saturating_mul(u64::try_from(all.f_bsize).unwrap_or(0))
    });
    held.saturating_add(sys::ipc_bytes())
}

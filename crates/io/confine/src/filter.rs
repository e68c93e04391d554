//! The system calls that a Run is refused, as a program for the kernel's seccomp filter.
//!
//! It is a list of refusals on top of what the container engine refuses: what reaches into other processes, what lives
//! on without a process, what makes namespaces or mounts, and old doors of the kernel that no work needs. A refused call
//! answers EPERM; clone3, whose flags no filter can see, ENOSYS, upon which every C library takes clone.

mod tree;

use crate::Network;
use libc::c_long;

/// One instruction: `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where `struct seccomp_data` holds the number, the architecture and the low half of the first argument.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Of Linux 6.15: `libc` names it for one architecture alone.
const OPEN_TREE_ATTR: c_long = 467;

/// Refused whatever the arguments are.
const REFUSED: &[c_long] = &[
    // Other processes' memory, descriptors and keys.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    // Memory that no count shows.
    libc::SYS_memfd_secret,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Namespaces, mounts and roots.
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The kernel itself.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// What lives on without a process: refused unless it lives in a namespace that ends with the Run.
const OF_ALL: &[c_long] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_msgget,
    libc::SYS_msgctl,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Refused for another process than the caller: its id is the first argument.
const ABOUT_OTHERS: &[c_long] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
];

/// The flags of clone and unshare that make a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32;

const FILES: u32 = libc::CLONE_FILES as u32;
const THREAD: u32 = libc::CLONE_THREAD as u32;
/// Of close_range: `CLOSE_RANGE_UNSHARE`.
const UNSHARE: u32 = 2;

/// Families of sockets that a Run with a network is refused. A path of this machine leads a Unix socket to whoever listens
/// there, which Landlock can't prevent; the others reach what others send, the host and the kernel's cryptography.
const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG];

/// Pairs of sockets that stay among themselves: one of datagrams could still send to any path.
const PAIRS: &[i32] = &[libc::SOCK_STREAM, libc::SOCK_SEQPACKET];
/// Type of a socket without its flags.
const SOCKET_TYPE: u32 = 0xF;

/// What `setpriority` and `ioprio_set` call all processes of a user.
const PRIO_USER: u32 = 2;
const IOPRIO_WHO_USER: u32 = 3;

/// Whose the IPC of System V and the message queues of POSIX are that a Run meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipc {
    /// Everybody's.
    OfAll,
    /// Its own, which end with it.
    Own,
}

/// The programs: for Runs with and without a network, both for those without and with an IPC of their own.
pub(crate) type Filters = [Vec<Instruction>; COUNT];

/// How many programs there are.
pub(crate) const COUNT: usize = 4;

/// The program of these for a Run with this network and this IPC.
pub(crate) fn of(filters: &Filters, network: Network, ipc: Ipc) -> &[Instruction] {
    let [full, none, own_full, own_none] = filters;
    match (ipc, network) {
        (Ipc::OfAll, Network::Full) => full,
        (Ipc::OfAll, Network::None) => none,
        (Ipc::Own, Network::Full) => own_full,
        (Ipc::Own, Network::None) => own_none,
    }
}

/// All programs.
pub(crate) fn programs() -> Filters {
    [
        program(Network::Full, Ipc::OfAll),
        program(Network::None, Ipc::OfAll),
        program(Network::Full, Ipc::Own),
        program(Network::None, Ipc::Own),
    ]
}

/// The program for a Run with this network and this IPC.
fn program(network: Network, ipc: Ipc) -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE_AT),
        jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        ret(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_AT),
    ];
    // The numbers of the x32 interface, which mean the same calls.
    #[cfg(target_arch = "x86_64")]
    program.extend([jump(JUMP_AT_LEAST, 0x4000_0000, 0, 1), ret(UNKNOWN)]);
    let mut answers = Vec::new();
    let mut on = |call: c_long, answer: &[Instruction]| {
        answers.push((call as u32, answer.to_vec()));
    };
    let of_all = if ipc == Ipc::Own { &[] } else { OF_ALL };
    for call in REFUSED.iter().chain(of_all) {
        on(*call, &[ret(REFUSE)]);
    }
    for call in ABOUT_OTHERS {
        on(*call, &[load(argument(0)), jump(JUMP_EQUAL, 0, 0, 1), ret(ALLOW), ret(REFUSE)]);
    }
    on(libc::SYS_clone, &clone());
    let apart = jump(JUMP_ANY_BIT, NAMESPACES | FILES, 0, 1);
    on(libc::SYS_unshare, &[load(argument(0)), apart, ret(REFUSE), ret(ALLOW)]);
    on(libc::SYS_clone3, &[ret(UNKNOWN)]);
    on(libc::SYS_prctl, &readable());
    on(
        libc::SYS_close_range,
        &[load(argument(2)), jump(JUMP_ANY_BIT, UNSHARE, 0, 1), ret(REFUSE), ret(ALLOW)],
    );
    on(libc::SYS_setpriority, &priority(PRIO_USER));
    on(libc::SYS_ioprio_set, &priority(IOPRIO_WHO_USER));
    on(libc::SYS_socket, &socket(network));
    on(libc::SYS_socketpair, &socket_pair());
    program.extend(tree::choose(answers));
    program
}

/// No namespaces, and no thread with descriptors of its own: a look at a process shows those of the first.
fn clone() -> [Instruction; 7] {
    [
        load(argument(0)),
        jump(JUMP_ANY_BIT, NAMESPACES, 0, 1),
        ret(REFUSE),
        jump(JUMP_ANY_BIT, THREAD, 0, 2),
        jump(JUMP_ANY_BIT, FILES, 1, 0),
        ret(REFUSE),
        ret(ALLOW),
    ]
}

/// A process may not hide itself from its supervisor.
fn readable() -> [Instruction; 6] {
    [
        load(argument(0)),
        jump(JUMP_EQUAL, libc::PR_SET_DUMPABLE as u32, 0, 3),
        load(argument(1)),
        jump(JUMP_EQUAL, 1, 1, 0),
        ret(REFUSE),
        ret(ALLOW),
    ]
}

/// Not that of all processes of the user, nor of one that is named.
fn priority(user: u32) -> [Instruction; 7] {
    [
        load(argument(0)),
        jump(JUMP_EQUAL, user, 0, 1),
        ret(REFUSE),
        load(argument(1)),
        jump(JUMP_EQUAL, 0, 0, 1),
        ret(ALLOW),
        ret(REFUSE),
    ]
}

fn socket(network: Network) -> Vec<Instruction> {
    match network {
        Network::None => vec![ret(REFUSE)],
        Network::Full => {
            let refused = FAMILIES
                .iter()
                .flat_map(|family| [jump(JUMP_EQUAL, *family as u32, 0, 1), ret(REFUSE)]);
            [load(argument(0))].into_iter().chain(refused).chain([ret(ALLOW)]).collect()
        }
    }
}

fn socket_pair() -> Vec<Instruction> {
    let kept = PAIRS.iter().flat_map(|kind| [jump(JUMP_EQUAL, *kind as u32, 0, 1), ret(ALLOW)]);
    let kind = [load(argument(1)), instruction(AND, SOCKET_TYPE)];
    kind.into_iter().chain(kept).chain([ret(REFUSE)]).collect()
}

/// Where the low half of an argument stands: all that the calls above read of it.
const fn argument(index: u32) -> u32 {
    ARGUMENTS_AT + 8 * index
}

const fn load(at: u32) -> Instruction {
    instruction(LOAD, at)
}

const fn ret(answer: u32) -> Instruction {
    instruction(RETURN, answer)
}

const fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, operand }
}

const fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, operand }
}

/// The program as it lies in memory, for a process that is not of this program.
pub(crate) fn bytes(program: &[Instruction]) -> Vec<u8> {
    let bytes = |it: &Instruction| -> [u8; 8] {
        let [a, b] = it.code.to_ne_bytes();
        let [c, d, e, f] = it.operand.to_ne_bytes();
        [a, b, it.if_true, it.if_false, c, d, e, f]
    };
    program.iter().flat_map(bytes).collect()
}

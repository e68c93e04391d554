"""The end of a fork server of kruntimes-confine that runs in a Python interpreter."""

import ctypes
import fcntl
import gc
import os
import select
import socket
import struct
import sys
import time
from array import array

REQUESTS, LINE, SUPERVISOR = 3, 4, 5
CONTROL = 3
HEADER_BYTES, PACKET_BYTES = 12, 32 * 1024 + 12
FORKED, REAPED = 1, 2
NOT_STARTED, AT_SUPERVISOR, AT_WORKING_DIRECTORY, AT_NAMESPACES = 4, 0, 1, 3
PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 4, 15, 36
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SYS_CLOSE_RANGE = 436
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
RULE_PATH_BENEATH, READ_FILE, READ_DIR = 1, 4, 8
SCOPE_SIGNALS = 2
IN_FILE, NETWORK, NO_NETWORK, HAS_RULES, HAS_VIEW = 2, 3, 2, 4, 8
CLONE_VM, NEW_MOUNTS, NEW_IPC, NEW_PROCESSES, NEW_NETWORK = 0x100, 0x20000, 0x8000000, 0x20000000, 0x40000000
INIT_STACK_BYTES, HIGH_FD, MAX_FD = 64 * 1024, 7, 2**31 - 1
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 428, 429, 430, 431, 432
SYS_MOUNT_SETATTR, ALL_BELOW, READ_ONLY = 442, 0x8000, 1
OPEN_TREE, MOVE_EMPTY_PATH, SET_STRING, CREATE, CLOEXEC = 0x88001, 4, 1, 6, 1
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
IS_ARM = os.uname().machine == "aarch64"
SYS_CAPGET, SYS_CAPSET = (90, 91) if IS_ARM else (125, 126)
CAPABILITIES_VERSION, LAST_CAPABILITY = 0x20080522, 63
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
CONFINE_FAILED = 126
COMMAND, UNLIMITED = "<IIIIIQQQQ", 2**64 - 1
FILTERS, SETTINGS, OWN_NETWORK = 4, "<QQI", 2
SYS_PAUSE = 34
SIGKILL, SIGCHLD, SIG_DFL, SIG_IGN, SIG_BLOCK, SIG_SETMASK = 9, 17, 0, 1, 0, 2
SIGNALS_BYTES = 128
ALL_SIGNALS = b"\xff" * SIGNALS_BYTES

libc = ctypes.CDLL(None, use_errno=True)
# What must not be freed.
KEPT = []
# Takes each request, and is wiped after: what is freed instead, later forks find in the memory they inherit.
PACKET = bytearray(PACKET_BYTES)


def serve(word):
    """Says `word`, then forks a process for each request; returns in it, with its program and arguments."""
    libc.prctl(PR_SET_NAME, b"krt-python", 0, 0, 0)
    # A Run must not read here what the next one starts from.
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    requests = socket.socket(fileno=REQUESTS)
    line = socket.socket(fileno=LINE)
    line.setblocking(True)
    filters = [line.recv(PACKET_BYTES) for _ in range(FILTERS)]
    settings = struct.unpack(SETTINGS, line.recv(PACKET_BYTES))
    if settings[2]:
        bound_capabilities(settings[1])
    requests.send(word.encode())
    poller = select.poll()
    poller.register(REQUESTS, select.POLLIN)
    poller.register(LINE, select.POLLIN)
    children = {}
    gc.collect()
    # What is frozen is not written to by the collector of a fork, and so stays shared.
    gc.freeze()
    while True:
        for fd, _ in poller.poll():
            if fd in children:
                poller.unregister(fd)
                os.close(fd)
                pid, status = os.waitpid(children.pop(fd), 0)
                line.send(struct.pack("<IiQ", REAPED, pid, status))
            elif fd == LINE:
                os._exit(0)
            else:
                command = take(requests, line, poller, children, (filters, settings))
                if command is not None:
                    return command


def take(requests, line, poller, children, told):
    length, rights, _, _ = requests.recvmsg_into(
        [PACKET], socket.CMSG_SPACE(20), socket.MSG_CMSG_CLOEXEC
    )
    if not length:
        os._exit(0)
    fds = array("i")
    for _, _, content in rights:
        fds.frombytes(content[: len(content) - len(content) % 4])
    if len(fds) < 3:
        # Too many are open here: the server meets the end of the control socket.
        wipe(length)
        close(fds)
        return None
    key = int.from_bytes(PACKET[4:HEADER_BYTES], "little")
    try:
        pid = os.fork()
    except OSError as error:
        wipe(length)
        report(fds[0], AT_SUPERVISOR, error)
        close(fds)
        return None
    if pid == 0:
        return supervised(length, fds, *told)
    wipe(length)
    handle = os.pidfd_open(pid)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fds[0], handle]))]
    line.sendmsg([struct.pack("<IiQ", FORKED, pid, key)], rights)
    close(fds)
    children[handle] = pid
    poller.register(handle, select.POLLIN)
    return None


def wipe(length):
    PACKET[:length] = bytes(length)


def body(length, fds):
    """What a request says: read by who it is for alone."""
    if int.from_bytes(PACKET[:4], "little") == IN_FILE:
        return os.pread(fds[-1], os.fstat(fds[-1]).st_size, 0)
    return bytes(memoryview(PACKET)[HEADER_BYTES:length])


def supervised(length, fds, filters, settings):
    """Returns in the process of the command; the one above it becomes its supervisor."""
    code = 1
    try:
        control, out, err = fds[:3]
        program, working_dir, args, env, bounds, allowance, view = parse(body(length, fds))
        rules = fds[3] if bounds & HAS_RULES else None
        init, memory, trees = 0, -1, []
        try:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            stage = AT_WORKING_DIRECTORY
            os.chdir(working_dir)
            stage = AT_SUPERVISOR
            if bounds & NETWORK:
                scope_signals()
            if bounds & HAS_VIEW:
                stage = AT_NAMESPACES
                init = enter_namespaces(bounds, fds, settings)
                memory, trees = lay_out(rules, view, settings)
                stage = AT_SUPERVISOR
            main = os.fork()
        except OSError as error:
            if init:
                os.kill(init, SIGKILL)
                os.waitpid(init, 0)
            report(control, stage, error)
            code = 0
            raise
        if main == 0:
            if bounds & HAS_VIEW:
                see(trees, working_dir, err)
            enter(out, err, env)
            confine(rules, chosen(filters, bounds), bool(bounds & HAS_VIEW), settings)
            return os.fsdecode(program), [os.fsdecode(arg) for arg in args]
        os.dup2(control, CONTROL)
        numbers = [b"%d" % number for number in (main, init, memory)]
        os.execve(SUPERVISOR, [b"krt-supervisor", *numbers, *allowance], {})
    except BaseException:
        os._exit(code)


def chosen(filters, bounds):
    """The filter for a command with these bounds, as `filter::programs` orders them."""
    network = bounds & NETWORK
    return filters[network - 1 + (2 if bounds & HAS_VIEW else 0)] if network else None


def enter_namespaces(bounds, fds, settings):
    """As `Room::new`: the next children are in namespaces, whose first process this starts. It must hold nothing of others."""
    own = settings[2]
    kept = sorted({SUPERVISOR, *fds})
    for low, high in zip([2, *kept], [*kept, MAX_FD]):
        if low + 1 < high:
            libc.syscall(SYS_CLOSE_RANGE, low + 1, high - 1, 0)
    network = NEW_NETWORK if bounds & NETWORK == NO_NETWORK and own == OWN_NETWORK else 0
    do(libc.unshare, NEW_PROCESSES | NEW_IPC | network)
    return start_init()


def lay_out(rules, view, settings):
    """As `Room::lay_out`: what the command will see."""
    (memory_bytes, steps), rights = view, settings[0]
    memory, trees = -1, []
    for source, target in steps:
        tree = None
        if source == b"cover":
            tree = new_tree(b"65536", b"64", b"0755")
        elif source == b"memory":
            tree = new_tree(b"%d" % memory_bytes, b"16384", b"1777")
            memory = fcntl.fcntl(tree, fcntl.F_DUPFD, HIGH_FD)
            if rules is not None:
                add_rule(rules, rights, tree)
        elif source not in (b"make", b"writable"):
            tree = do(libc.syscall, SYS_OPEN_TREE, -100, source, OPEN_TREE)
        trees.append((source, tree, target))
    return memory, trees


def start_init():
    """As `start_init` of sys/namespaces.rs: a process that waits, in this one's memory, which this leaves."""
    stack = ctypes.create_string_buffer(INIT_STACK_BYTES)
    top = (ctypes.addressof(stack) + INIT_STACK_BYTES) & ~0xFF
    # The module `signal` takes long for this.
    former = ctypes.create_string_buffer(SIGNALS_BYTES)
    libc.sigprocmask(SIG_BLOCK, ALL_SIGNALS, former)
    libc.signal(SIGCHLD, SIG_IGN)
    # It shares what C keeps for this thread, which `syscall` alone does not touch.
    wait, number = (libc.pause, 0) if IS_ARM else (libc.syscall, SYS_PAUSE)
    wait = ctypes.cast(wait, ctypes.c_void_p)
    pid = do(libc.clone, wait, ctypes.c_void_p(top), CLONE_VM | SIGCHLD, ctypes.c_void_p(number))
    libc.signal(SIGCHLD, SIG_DFL)
    libc.sigprocmask(SIG_SETMASK, former, None)
    KEPT.append(stack)
    return pid


def new_tree(size, files, mode):
    context = do(libc.syscall, SYS_FSOPEN, b"tmpfs", CLOEXEC)
    for name, value in ((b"size", size), (b"nr_inodes", files), (b"mode", mode)):
        do(libc.syscall, SYS_FSCONFIG, context, SET_STRING, name, value, 0)
    do(libc.syscall, SYS_FSCONFIG, context, CREATE, None, None, 0)
    tree = do(libc.syscall, SYS_FSMOUNT, context, CLOEXEC, MS_NOSUID | MS_NODEV)
    os.close(context)
    return tree


def see(trees, working_dir, err):
    """Makes what the command sees, in a namespace of mounts of its own."""
    try:
        do(libc.unshare, NEW_MOUNTS)
        change_mounts(b"/", ALL_BELOW, READ_ONLY, 0)
        do(libc.mount, b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, b"hidepid=ptraceable")
        for source, tree, target in trees:
            if source == b"make":
                libc.mkdir(target, 0o700)
            elif source == b"writable":
                change_mounts(target, 0, 0, READ_ONLY)
            else:
                do(libc.syscall, SYS_MOVE_MOUNT, tree, b"", -100, target, MOVE_EMPTY_PATH)
        os.chdir(working_dir)
    except OSError as error:
        os.write(err, f"the namespaces of the Run could not be made: {error.strerror}\n".encode())
        os._exit(CONFINE_FAILED)


def change_mounts(path, flags, set, clear):
    attributes = struct.pack("=QQQQ", set, clear, 0, 0)
    do(libc.syscall, SYS_MOUNT_SETATTR, -100, path, flags, attributes, len(attributes))


def bound_capabilities(kept_by_root):
    """Has what this process's forks execute as root have these at most; this process keeps what it has."""
    if os.geteuid() == 0:
        for capability in range(LAST_CAPABILITY + 1):
            # One that this kernel does not know, or that is gone, takes no right to drop.
            is_there = libc.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1
            if is_there and not kept_by_root >> capability & 1:
                do(libc.prctl, PR_CAPBSET_DROP, capability, 0, 0, 0)


def give_up_rights(settings):
    _, kept_by_root, own = settings
    try:
        if not own:
            bound_capabilities(kept_by_root)
        drop_capabilities(kept_by_root if os.geteuid() == 0 else 0)
    except OSError:
        os._exit(CONFINE_FAILED)


def drop_capabilities(kept):
    """Keeps these at most, and hands none on but by being root."""
    header = struct.pack("=Ii", CAPABILITIES_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    do(libc.syscall, SYS_CAPGET, header, sets)
    masks = struct.unpack("=6I", sets)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    left = masks[0] & low, masks[1] & low, 0, masks[3] & high, masks[4] & high, 0
    do(libc.syscall, SYS_CAPSET, header, struct.pack("=6I", *left))


def do(function, *args):
    result = function(*args)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def enter(out, err, env):
    """Makes this process as a new one: its own session, output, descriptors and environment."""
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.clear()
    for entry in env:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    time.tzset()
    libc.prctl(PR_SET_NAME, b"python3", 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def confine(rules, filter, has_view, settings):
    """Has this process obey Landlock's rules and the filter of its system calls, and drops what it must not keep."""
    if rules is not None or filter is not None:
        give_up_rights(settings)
    if rules is not None:
        own = os.open("/proc" if has_view else "/proc/self", os.O_PATH)
        add_rule(rules, READ_FILE | READ_DIR, own)
        must(libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, rules, 0))
    libc.syscall(SYS_CLOSE_RANGE, 3, ctypes.c_uint(0xFFFFFFFF), 0)
    if filter is not None:
        content = ctypes.create_string_buffer(filter)
        program = struct.pack("@HP", len(filter) // 8, ctypes.addressof(content))
        must(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0))


def add_rule(rules, rights, path):
    grant = ctypes.create_string_buffer(struct.pack("=Qi", rights, path))
    libc.syscall(SYS_LANDLOCK_ADD_RULE, rules, RULE_PATH_BENEATH, grant, 0)


def scope_signals():
    """Keeps the signals of this process and its children among themselves, where Landlock can."""
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", 0, 0, SCOPE_SIGNALS))
    rules = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, attributes, 24, 0)
    if rules >= 0:
        libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, rules, 0)
        os.close(rules)


def must(result):
    if result != 0:
        os._exit(CONFINE_FAILED)


def parse(body):
    args, env, bounds, places, steps, *limits, own_memory = struct.unpack_from(COMMAND, body)
    program, working_dir, *words = body[struct.calcsize(COMMAND) :].split(b"\0")
    limits = [b"none" if limit == UNLIMITED else b"%d" % limit for limit in limits]
    end = args + env + places
    allowance = limits + words[args + env : end]
    view = own_memory, list(zip(words[end : end + 2 * steps : 2], words[end + 1 : end + 2 * steps : 2]))
    return program, working_dir, words[:args], words[args : args + env], bounds, allowance, view


def report(control, stage, error):
    os.write(control, struct.pack("<iii", NOT_STARTED, error.errno or 0, stage))


def close(fds):
    for fd in fds:
        os.close(fd)

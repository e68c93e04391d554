"""The end of a fork server of kruntimes-confine that runs in a Python interpreter."""

import ctypes
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
NOT_STARTED, AT_SUPERVISOR, AT_WORKING_DIRECTORY = 4, 0, 1
PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 4, 15, 36
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SYS_CLOSE_RANGE = 436
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
RULE_PATH_BENEATH, READ_FILE, READ_DIR = 1, 4, 8
SCOPE_SIGNALS = 2
IN_FILE, NETWORK, HAS_RULES = 2, 3, 4
CONFINE_FAILED = 126
COMMAND, UNLIMITED = "<IIIIQQQ", 2**64 - 1

libc = ctypes.CDLL(None, use_errno=True)


def serve(word):
    """Says `word`, then forks a process for each request; returns in it, with its program and arguments."""
    libc.prctl(PR_SET_NAME, b"krt-python", 0, 0, 0)
    # A Run must not read here what the next one starts from.
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    requests = socket.socket(fileno=REQUESTS)
    line = socket.socket(fileno=LINE)
    line.setblocking(True)
    filters = [line.recv(PACKET_BYTES) for _ in range(2)]
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
                command = take(requests, line, poller, children, filters)
                if command is not None:
                    return command


def take(requests, line, poller, children, filters):
    data, rights, _, _ = requests.recvmsg(
        PACKET_BYTES, socket.CMSG_SPACE(20), socket.MSG_CMSG_CLOEXEC
    )
    if not data:
        os._exit(0)
    fds = array("i")
    for _, _, content in rights:
        fds.frombytes(content[: len(content) - len(content) % 4])
    if len(fds) < 3:
        # Too many are open here: the server meets the end of the control socket.
        close(fds)
        return None
    key = int.from_bytes(data[4:HEADER_BYTES], "little")
    in_file = int.from_bytes(data[:4], "little") == IN_FILE
    body = os.pread(fds[-1], os.fstat(fds[-1]).st_size, 0) if in_file else data[HEADER_BYTES:]
    try:
        pid = os.fork()
    except OSError as error:
        report(fds[0], AT_SUPERVISOR, error)
        close(fds)
        return None
    if pid == 0:
        return supervised(body, fds, filters)
    handle = os.pidfd_open(pid)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fds[0], handle]))]
    line.sendmsg([struct.pack("<IiQ", FORKED, pid, key)], rights)
    close(fds)
    children[handle] = pid
    poller.register(handle, select.POLLIN)
    return None


def supervised(body, fds, filters):
    """Returns in the process of the command; the one above it becomes its supervisor."""
    code = 1
    try:
        control, out, err = fds[:3]
        program, working_dir, args, env, bounds, allowance = parse(body)
        try:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            stage = AT_WORKING_DIRECTORY
            os.chdir(working_dir)
            stage = AT_SUPERVISOR
            if bounds & NETWORK:
                scope_signals()
            main = os.fork()
        except OSError as error:
            report(control, stage, error)
            code = 0
            raise
        if main == 0:
            rules = fds[3] if bounds & HAS_RULES else None
            enter(out, err, env)
            confine(rules, filters[(bounds & NETWORK) - 1] if bounds & NETWORK else None)
            return os.fsdecode(program), [os.fsdecode(arg) for arg in args]
        os.dup2(control, CONTROL)
        os.execve(SUPERVISOR, [b"krt-supervisor", b"%d" % main, *allowance], {})
    except BaseException:
        os._exit(code)


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


def confine(rules, filter):
    """Has this process obey Landlock's rules and the filter of its system calls, and closes what it must not keep."""
    if rules is not None:
        own = os.open("/proc/self", os.O_PATH)
        grant = ctypes.create_string_buffer(struct.pack("=Qi", READ_FILE | READ_DIR, own))
        libc.syscall(SYS_LANDLOCK_ADD_RULE, rules, RULE_PATH_BENEATH, grant, 0)
        must(libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, rules, 0))
    libc.syscall(SYS_CLOSE_RANGE, 3, ctypes.c_uint(0xFFFFFFFF), 0)
    if filter is not None:
        content = ctypes.create_string_buffer(filter)
        program = struct.pack("@HP", len(filter) // 8, ctypes.addressof(content))
        must(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0))


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
    args, env, bounds, places, *limits = struct.unpack_from(COMMAND, body)
    program, working_dir, *words = body[struct.calcsize(COMMAND) :].split(b"\0")
    limits = [b"none" if limit == UNLIMITED else b"%d" % limit for limit in limits]
    allowance = limits + words[args + env : args + env + places]
    return program, working_dir, words[:args], words[args : args + env], bounds, allowance


def report(control, stage, error):
    os.write(control, struct.pack("<iii", NOT_STARTED, error.errno or 0, stage))


def close(fds):
    for fd in fds:
        os.close(fd)

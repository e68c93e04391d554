"""A process that starts a command, and kills all that it leaves: run by path, without the package.

It is a child subreaper: whatever the command starts, in whatever session, becomes its child when its parent dies. It
ends when the command ends, when it is told to, or when the server is gone; by then nothing of the command is alive.
Its stdin is a socket: it reads `t` (end the command's group politely), end of file means kill; it writes the command's wait status.
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("prctl")
    # The server ends this process by the socket; a signal to the command's group may reach it too.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    socket = os.dup(0)
    command = os.fork()
    if command == 0:
        become(sys.argv[1:])
    try:
        # Both sides do it, so that it is done for either.
        os.setpgid(command, command)
    except OSError:
        pass
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    watch(command, socket)
    status = kill_all(command)
    try:
        os.write(socket, b"%d" % status)
    except OSError:
        pass


def become(argv: "list[str]") -> None:
    try:
        os.setpgid(0, 0)
        for usual in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(usual, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 256)
        os.execvp(argv[0], argv)
    except OSError as error:
        message = "{}: {}\n".format(argv[0], error.strerror)
        os.write(2, message.encode())
    except ValueError as error:
        os.write(2, "{}\n".format(error).encode())
    os._exit(127)


def watch(command: int, socket: int) -> None:
    """Waits until the command has ended or shall be killed."""
    end = os.pidfd_open(command)
    while True:
        ready, _, _ = select.select([end, socket], [], [])
        if end in ready:
            return
        try:
            if os.read(socket, 1) != b"t":
                return
            os.killpg(command, signal.SIGTERM)
        except OSError:
            return


def kill_all(command: int) -> int:
    """Kills children until there is none, for those of a dead child are children by then: the command's wait status."""
    status = 0
    # The command is not waited for yet, so the group's number is its own. At once: a fork bomb has less time so.
    os.killpg(command, signal.SIGKILL)
    while True:
        for child in children():
            os.kill(child, signal.SIGKILL)
        try:
            child, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        if child == command:
            status = ended


def children() -> "list[int]":
    with open("/proc/self/task/{}/children".format(os.getpid())) as file:
        return [int(word) for word in file.read().split()]


if __name__ == "__main__":
    main()

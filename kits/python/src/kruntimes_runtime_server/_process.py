"""Commands of an execution: none of their processes outlives them, whatever session it is in."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Set

_SUPERVISOR = str(Path(__file__).with_name("_supervise.py"))
#: Between SIGTERM and SIGKILL.
GRACE_SECONDS = 2.0
_CHUNK = 64 * 1024
_DRAIN_SECONDS = 1.0


class Process:
    """A running command. It lives as long as somebody holds its socket."""

    def __init__(self, control: socket.socket, supervisor: asyncio.subprocess.Process) -> None:
        self._control = control
        self._supervisor = supervisor
        #: Set when nothing of it is left, and all that it printed is told.
        self.gone = asyncio.Event()

    def terminate(self) -> None:
        try:
            self._control.send(b"t")
        except OSError:
            pass  # It has ended.

    def kill(self) -> None:
        try:
            self._control.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has ended.

    async def wait(self) -> int:
        """The wait status, when all is dead."""
        await self._supervisor.wait()
        try:
            told = self._control.recv(32)
        except OSError:
            told = b""
        if not told.isdigit():
            raise RuntimeError("execution lost: the supervisor of the command died")
        return int(told)

    async def end(self) -> None:
        """Ends it: politely, then not."""
        self.terminate()
        try:
            await asyncio.wait_for(self._supervisor.wait(), GRACE_SECONDS)
        except asyncio.TimeoutError:
            self.kill()
            await self._supervisor.wait()


async def run(
    argv: Sequence[str],
    directory: str,
    env: Dict[str, str],
    write: Callable[[int, bytes], None],
    running: Set[Process],
) -> int:
    """Runs a command to its end, or kills it when this is cancelled. The exit code, 128 + n for signal n."""
    ours, theirs = socket.socketpair()
    # Only read once the supervisor is dead, and then it has written all.
    ours.setblocking(False)
    start = asyncio.ensure_future(_start(argv, directory, env, theirs))
    try:
        supervisor = await asyncio.shield(start)
    except asyncio.CancelledError:
        # A half-started process would be nobody's.
        process = Process(ours, await start)
        process.kill()
        await process.wait()
        raise
    process = Process(ours, supervisor)
    running.add(process)
    streams = enumerate((supervisor.stdout, supervisor.stderr))
    readers = [asyncio.ensure_future(_copy(stream, number, write)) for number, stream in streams]
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        await process.end()
        raise
    finally:
        # All writers are dead, so the streams end; but for those of a supervisor that was killed.
        await asyncio.wait(readers, timeout=_DRAIN_SECONDS)
        for reader in readers:
            reader.cancel()
        running.discard(process)
        process.gone.set()
        ours.close()
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


async def _start(
    argv: Sequence[str], directory: str, env: Dict[str, str], control: socket.socket
) -> asyncio.subprocess.Process:
    with control:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", _SUPERVISOR, *argv,
            stdin=control.fileno(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=directory,
            env=env,
            start_new_session=True,
        )  # fmt: skip


async def _copy(
    stream: Optional[asyncio.StreamReader], number: int, write: Callable[[int, bytes], None]
) -> None:
    while stream is not None:
        data = await stream.read(_CHUNK)
        if not data:
            return
        write(number, data)

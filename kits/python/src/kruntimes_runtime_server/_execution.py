"""What your function gets."""

from __future__ import annotations

import os
import threading
from typing import Awaitable, Callable, Dict, List, Optional, Set, Union

from . import _process, _wire

Function = Callable[["Execution"], Union[Optional[int], Awaitable[Optional[int]]]]
_OWN = ("KRUNTIMES_", "KUBERNETES_")


class Failure(Exception):
    """Raise it to fail with a message of your own and an exit code."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Execution:
    """One execution: the request, and where its output goes."""

    def __init__(
        self, request: _wire.ExecuteRequest, directory: str, write: Callable[[int, bytes], None]
    ) -> None:
        self.id: str = request.id
        self.args: List[str] = request.args
        self.env: Dict[str, str] = request.env
        self.working_dir: str = directory
        self.entrypoint: str = request.entrypoint
        self.handler: str = request.handler
        self.timeout_seconds: int = request.timeout_seconds
        #: Set when a function without `async` shall end; one with it is cancelled.
        self.cancelled = threading.Event()
        self._write = write
        self._processes: Set[_process.Process] = set()
        self._callbacks: List[Callable[[], None]] = []

    def stdout(self, data: Union[str, bytes]) -> None:
        """Prints. Text or any bytes; what is beyond 1 MiB is counted, not kept."""
        self._write(0, data if isinstance(data, bytes) else data.encode("utf-8", "replace"))

    def stderr(self, data: Union[str, bytes]) -> None:
        """Prints on the standard error."""
        self._write(1, data if isinstance(data, bytes) else data.encode("utf-8", "replace"))

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Has `callback` called, in another thread, when a function without `async` shall end."""
        self._callbacks.append(callback)
        if self.cancelled.is_set():
            callback()

    async def run(self, *argv: str, env: Optional[Dict[str, str]] = None) -> int:
        """Runs a command in the working directory to its end, and returns its exit code.

        Its output is the execution's, its environment the server's with `env` (the Run's, unless given) on top. All
        its processes are dead when this returns.
        """
        if not argv:
            raise Failure("no command: args is empty")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
        environment.update(self.env if env is None else env)
        return await _process.run(
            argv, self.working_dir, environment, self._write, self._processes
        )

    def path(self, name: str) -> str:
        """The path of a file in the working directory; a link, a directory or anything else is refused."""
        directory = os.path.realpath(self.working_dir)
        path = os.path.join(directory, name)
        if os.path.realpath(path) != path or not os.path.isfile(path):
            raise Failure(f"{name!r} is no file in the working directory")
        return path

    def _cancel(self) -> None:
        self.cancelled.set()
        for callback in list(self._callbacks):
            callback()

    async def _kill(self) -> None:
        for process in list(self._processes):
            process.kill()
        for process in list(self._processes):
            await process.gone.wait()

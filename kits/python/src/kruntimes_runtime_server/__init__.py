"""A Runtime Server for kruntimes from one function. `docs/custom-runtime.md` of kruntimes is the guide.

    from kruntimes_runtime_server import Execution, serve

    async def execute(execution: Execution) -> int:
        execution.stdout("hello\\n")
        return await execution.run(*execution.args)

    if __name__ == "__main__":
        serve(execute)

A function with `async` is cancelled when the execution shall end; one without runs in a thread and sees it in
`execution.cancelled`. It returns an exit code or nothing; an exception fails the execution.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import List, Optional

import grpc.aio

from ._execution import Execution, Failure, Function
from ._server import Server

__all__ = ["Execution", "Failure", "Function", "serve"]


def serve(function: Function, argv: Optional[List[str]] = None) -> None:
    """Serves `function` with the flags `--port` and `--work-dir`, until SIGTERM, SIGINT or the end of the local home."""
    parser = argparse.ArgumentParser(description="A Runtime Server for kruntimes")
    parser.add_argument("--port", type=int, default=9091, help="on the loopback address only")
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path(os.environ.get("KRUNTIMES_WORKSPACE", "/workspace")),
        help="where executions without a working directory get one",
    )
    arguments = parser.parse_args(argv)
    try:
        asyncio.run(_serve(function, arguments.port, arguments.work_dir))
    except RuntimeError as error:
        sys.exit(f"error: {error}")


async def _serve(function: Function, port: int, work_dir: Path) -> None:
    control = Path(os.environ.get("KRUNTIMES_CONTROL", "/var/run/kruntimes"))
    address = f"{os.environ.get('KRUNTIMES_LOOPBACK', '127.0.0.1')}:{port}"
    server = Server(function, work_dir, control)
    # Two servers on one port would get half of the calls each.
    transport = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    transport.add_generic_rpc_handlers(server.handlers())
    if transport.add_insecure_port(address) == 0:
        raise RuntimeError(f"can't listen on {address}")
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    if os.environ.get("KRUNTIMES_LIFELINE") == "stdin":
        threading.Thread(target=_read_lifeline, args=(loop, end), daemon=True).start()
    await transport.start()
    await end.wait()
    await server.close()
    await transport.stop(grace=0.5)
    if server.stuck:
        # asyncio would wait for them.
        os._exit(0)


def _read_lifeline(loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    """The local home holds the other end of stdin; its end is the home's."""
    while os.read(0, 64):
        pass
    loop.call_soon_threadsafe(end.set)

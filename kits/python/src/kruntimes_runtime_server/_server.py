"""The services `executor.v1.Runtime` and `executor.v1.RuntimeEvents` around one function."""

from __future__ import annotations

import asyncio
import hmac
import inspect
import os
import sys
import threading
import traceback
from collections import deque
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Deque, Dict, Optional, Set, Tuple, Type

import grpc
import grpc.aio

from . import _record, _wire
from ._events import Events
from ._execution import Execution, Failure, Function
from ._record import Outcome, Record

#: How long a function may go on after it was asked to end, in time for a Cancel to be answered within five seconds.
ANSWER_SECONDS = 3.0
ID_BYTES, RUNNING, WATCHERS = 200, 1024, 16
ENDED, ENDED_BYTES = 256, 32 * 1024 * 1024
LIST_BYTES, ENTRY_BYTES = 2 * 1024 * 1024, 512


class Server:
    """The executions of one server."""

    def __init__(self, function: Function, work_dir: Path, control: Path) -> None:
        self._function = function
        self._work_dir = work_dir
        self._token_file = control / "token"
        self._token = b""
        self._loop = asyncio.get_running_loop()
        self._table: Dict[str, Record] = {}
        self._ended: Deque[Record] = deque()
        self._events = Events()
        self._watchers = 0
        #: Functions that went on when they should have ended.
        self.stuck = 0
        self._renewed_until: Optional[float] = None
        self._alarm: Optional[asyncio.TimerHandle] = None

    def handlers(self) -> Tuple[grpc.GenericRpcHandler, ...]:
        w = _wire
        runtime: Dict[str, Tuple[Type[w.Message], Callable[..., Any]]] = {
            "Execute": (w.ExecuteRequest, self.execute),
            "Status": (w.IdRequest, self.status),
            "List": (w.Empty, self.list),
            "Cancel": (w.IdRequest, self.cancel),
            "Forget": (w.IdRequest, self.forget),
            "Health": (w.Empty, self.health),
        }
        methods = {name: self._unary(*method) for name, method in runtime.items()}
        events = {
            "Renew": self._unary(w.RenewRequest, self.renew),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self.watch, w.WatchRequest.decode, _encode
            ),
        }
        handler = grpc.method_handlers_generic_handler
        return (
            handler("executor.v1.Runtime", methods),
            handler("executor.v1.RuntimeEvents", events),
        )

    def _unary(self, kind: Type[_wire.Message], call: Callable[..., Any]) -> Any:
        async def guarded(request: Any, context: Any) -> Any:
            await self._authorize(context)
            return await call(request, context)

        return grpc.unary_unary_rpc_method_handler(guarded, kind.decode, _encode)

    async def _authorize(self, context: Any) -> None:
        """Only who knows the control token may call; a restarted runtimed writes a new one."""
        metadata = dict(context.invocation_metadata())
        given = str(metadata.get("kruntimes-token", "")).encode()
        if not given:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "metadata kruntimes-token is missing"
            )
        if not hmac.compare_digest(self._token, given):
            try:
                self._token = self._token_file.read_bytes().strip()
            except OSError:
                self._token = b""
        if not hmac.compare_digest(self._token, given):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "metadata kruntimes-token is not the token"
            )

    async def execute(self, request: _wire.ExecuteRequest, context: Any) -> _wire.ExecuteResponse:
        problem = _problem(request)
        if problem is None and request.working_dir:
            problem = _misplaced(request.working_dir, self._work_dir)
        if problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        while request.id in self._table:
            await self._discard(self._table[request.id])
        if len(self._table) - len(self._ended) >= RUNNING:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{RUNNING} executions run already"
            )
        if self._renewed_until is not None and self._renewed_until <= self._loop.time():
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "no renewal in time: Renew comes first"
            )
        record = Record(request)
        self._table[request.id] = record
        self._loop.create_task(self._run(record))
        return _wire.ExecuteResponse(request.id)

    async def status(self, request: _wire.IdRequest, context: Any) -> _wire.StatusResponse:
        return (await self._get(request.id, context)).status(_record.STREAM_BYTES)

    async def list(self, _: _wire.Empty, context: Any) -> _wire.ListResponse:
        share = LIST_BYTES // max(len(self._table), 1)
        limit = max(share - ENTRY_BYTES, 0) // 2
        return _wire.ListResponse([record.status(limit) for record in self._table.values()])

    async def cancel(self, request: _wire.IdRequest, context: Any) -> _wire.Empty:
        await self._discard(await self._get(request.id, context))
        return _wire.Empty()

    async def forget(self, request: _wire.IdRequest, context: Any) -> _wire.Empty:
        record = await self._get(request.id, context)
        if record.outcome is None:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"execution {request.id!r} is running"
            )
        await record.ended.wait()
        self._remove(record)
        self._events.forget(record)
        return _wire.Empty()

    async def health(self, _: _wire.Empty, context: Any) -> _wire.HealthResponse:
        return _wire.HealthResponse(healthy=True)

    async def watch(
        self, request: _wire.WatchRequest, context: Any
    ) -> AsyncIterator[_wire.ExecutionEvent]:
        await self._authorize(context)
        if self._watchers >= WATCHERS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHERS} watchers read already"
            )
        self._watchers += 1
        try:
            # A client knows that it watches before there is an event.
            await context.send_initial_metadata(())
            async for event in self._events.watch(request.resume_after):
                yield event
        finally:
            self._watchers -= 1

    async def renew(self, request: _wire.RenewRequest, context: Any) -> _wire.Empty:
        if request.ttl_millis <= 0:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "ttl_millis must be positive"
            )
        seconds = request.ttl_millis / 1000
        if self._alarm is not None:
            self._alarm.cancel()
        self._renewed_until = self._loop.time() + seconds
        self._alarm = self._loop.call_later(seconds, self._end_running, _record.NOT_RENEWED)
        return _wire.Empty()

    async def close(self) -> None:
        """Ends all executions and tells it."""
        self._end_running(_record.SHUTTING_DOWN)
        for record in list(self._table.values()):
            await record.ended.wait()
        self._events.close()

    def _end_running(self, why: str) -> None:
        for record in self._table.values():
            if record.outcome is None:
                record.end(why)

    async def _get(self, id: str, context: Any) -> Record:
        record = self._table.get(id)
        if record is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"execution {id[:200]!r} is unknown")
            raise AssertionError("abort raises")
        return record

    async def _discard(self, record: Record) -> None:
        """Ends an execution, waits until it is dead, and drops it."""
        record.end(_record.CANCELLED)
        await record.ended.wait()
        self._remove(record)

    def _remove(self, record: Record) -> None:
        if self._table.get(record.id) is record:
            del self._table[record.id]
        if record in self._ended:
            self._ended.remove(record)

    async def _run(self, record: Record) -> None:
        try:
            outcome = await self._until_the_end(record)
        except (Exception, asyncio.CancelledError) as error:
            # An execution that never ends would keep its slot for ever.
            traceback.print_exc()
            outcome = Outcome(-1, f"execution lost: {error or type(error).__name__}")
        self._events.exited(record, outcome)
        self._ended.append(record)
        while len(self._ended) > ENDED or (
            sum(other.kept_bytes() for other in self._ended) > ENDED_BYTES
        ):
            oldest = self._ended[0]
            self._remove(oldest)
            self._events.forget(oldest)
        record.ended.set()

    async def _until_the_end(self, record: Record) -> Outcome:
        request = record.request
        try:
            directory = self._directory(request)
        except OSError as error:
            return Outcome(1, f"mkdir: {error}")

        def write(stream: int, data: bytes) -> None:
            if threading.get_ident() == thread:
                self._events.output(record, stream, data)
            else:
                self._loop.call_soon_threadsafe(self._events.output, record, stream, data)

        thread = threading.get_ident()
        execution = Execution(request, directory, write)
        self._events.started(record)
        work = asyncio.ensure_future(self._work(execution))
        limit = request.timeout_seconds if request.timeout_seconds > 0 else None
        ends: Set[asyncio.Future[Any]] = {work, record.wish}
        await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and not record.wish.done():
            return work.result()
        record.end(_record.TIMEOUT)
        execution._cancel()
        work.cancel()
        await asyncio.wait({work}, timeout=ANSWER_SECONDS)
        if not work.done():
            self.stuck += 1
            print(f"execution {record.id}: the function does not end", file=sys.stderr)
        await execution._kill()
        why = record.wish.result()
        return Outcome(-1, why)

    async def _work(self, execution: Execution) -> Outcome:
        try:
            if inspect.iscoroutinefunction(self._function):
                code = await self._function(execution)
            else:
                code = await _in_thread(self._function, execution)
        except Failure as failure:
            return Outcome(failure.exit_code or 1, str(failure) or "failed")
        except Exception as error:
            execution.stderr(traceback.format_exc())
            return Outcome(1, f"{type(error).__name__}: {error}")
        finally:
            await execution._kill()
        code = int(code or 0)
        return Outcome(code, f"exit status {code}" if code else "")

    def _directory(self, request: _wire.ExecuteRequest) -> str:
        if request.working_dir:
            return request.working_dir
        directory = self._work_dir / request.id
        directory.mkdir(parents=True, exist_ok=True)
        return str(directory)


async def _in_thread(function: Function, execution: Execution) -> Any:
    """A thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[Any] = loop.create_future()

    def work() -> None:
        try:
            result, error = function(execution), None
        except BaseException as raised:
            result, error = None, raised

        def tell() -> None:
            if end.done():
                return
            if error is None:
                end.set_result(result)
            else:
                end.set_exception(error)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            pass  # The server has ended.

    threading.Thread(target=work, daemon=True, name=f"execution {execution.id}").start()
    return await end


def _misplaced(asked: str, work_dir: Path) -> Optional[str]:
    """What is wrong with a working directory that is not within one directory of the work directory."""
    path, root = Path(asked), Path(os.path.abspath(work_dir))
    rest = path.parts[len(root.parts) :] if path.parts[: len(root.parts)] == root.parts else ()
    if rest and not rest[0].startswith(".") and ".." not in rest:
        own, real = Path(os.path.realpath(root), rest[0]), Path(os.path.realpath(path))
        if own == real or own in real.parents:
            return None
    return f"working_dir {asked!r} is not in the workspace: name a directory below {str(root)!r}, or none"


def _problem(request: _wire.ExecuteRequest) -> Optional[str]:
    """What is wrong with a request, whoever executes it."""
    id = request.id
    if not id or "/" in id or id.startswith(".") or "\0" in id or len(id.encode()) > ID_BYTES:
        return f"id must be a file name of at most {ID_BYTES} bytes without a leading dot"
    if any(not name or "=" in name for name in request.env):
        return "the name of an environment variable is empty or has a ="
    texts = [*request.args, *request.env, *request.env.values()]
    if any("\0" in t for t in [*texts, request.entrypoint, request.working_dir, request.handler]):
        return "arguments, environment and paths cannot hold a NUL character"
    return None


def _encode(message: _wire.Message) -> bytes:
    return message.encode()

"""One execution: what it printed, within limits, how it ended, and the wish to end it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import List, Optional

from . import _wire

STREAM_BYTES = 1024 * 1024
TRUNCATED = "\n[output truncated]\n"
TIMEOUT, CANCELLED = "timeout", "cancelled"
NOT_RENEWED = "killed: not renewed in time"
SHUTTING_DOWN = "killed: the runtime server shuts down"


@dataclass(frozen=True)
class Outcome:
    """The end; without a message it went well."""

    exit_code: int = 0
    message: str = ""
    signal: int = 0


class Kept:
    """The first bytes of a stream."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.dropped = 0
        #: The event that carries the newest bytes, which the next bytes may still join.
        self.last_event = 0

    def take(self, data: bytes) -> int:
        """Keeps what fits, and says how much that was."""
        length = min(len(data), STREAM_BYTES - len(self.data))
        self.data += data[:length]
        self.dropped += len(data) - length
        return length

    def text(self, limit: int) -> str:
        """Valid text of at most so many bytes, and a note where that is not all."""
        text = self.data.decode("utf-8", "replace").encode()
        cut = len(text) > limit or self.dropped > 0
        return text[:limit].decode("utf-8", "ignore") + (TRUNCATED if cut else "")


class Record:
    """What the server knows of one execution."""

    def __init__(self, request: _wire.ExecuteRequest) -> None:
        self.request = request
        self.id = request.id
        self.streams: List[Kept] = [Kept(), Kept()]
        self.started = False
        self.outcome: Optional[Outcome] = None
        #: Resolves to the reason when the execution shall end.
        self.wish: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        #: Set once all is dead and the end is told.
        self.ended = asyncio.Event()

    def end(self, why: str) -> None:
        """Wishes the end. The first reason stays."""
        if not self.wish.done():
            self.wish.set_result(why)

    def kept_bytes(self) -> int:
        return sum(len(stream.data) for stream in self.streams)

    def status(self, limit: int) -> _wire.StatusResponse:
        outcome = self.outcome
        limit = min(limit, STREAM_BYTES)
        status = _wire.StatusResponse(id=self.id, state=_wire.RUNNING)
        status.stdout, status.stderr = (stream.text(limit) for stream in self.streams)
        if outcome is not None:
            status.state = _wire.FAILED if outcome.message else _wire.SUCCEEDED
            status.exit_code = outcome.exit_code
            status.error_message = outcome.message
        return status

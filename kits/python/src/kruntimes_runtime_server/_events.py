"""The events of all executions: bounded rings that every watcher reads at its own pace.

Output stands here as a place in the kept bytes of its execution. Starts and ends have a ring of their own, which output
cannot push out.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from typing import AsyncIterator, List, Optional

from . import _wire
from ._record import Outcome, Record

MARKS, PIECES, PIECE_BYTES = 4096, 8192, 64 * 1024


class _Entry:
    def __init__(self, sequence: int, record: Record) -> None:
        self.sequence = sequence
        self.record = record
        self.time = time.time_ns()
        self.started: Optional[_wire.Empty] = None
        self.exited: Optional[_wire.ExecutionExited] = None
        self.stream = self.offset = self.length = 0

    def event(self) -> _wire.ExecutionEvent:
        event = _wire.ExecutionEvent(self.sequence, self.record.id, self.time, self.started)
        event.exited = self.exited
        if self.started is None and self.exited is None:
            data = bytes(self.record.streams[self.stream].data[self.offset :][: self.length])
            event.output = _wire.ExecutionOutput(self.stream + 1, self.offset, data)
        return event


class Events:
    def __init__(self) -> None:
        # Numbers begin at the time, so that a restarted server's are above those of its former life.
        self._next = time.time_ns() // 1000
        self._read = self._next - 1
        self._marks: List[_Entry] = []
        self._pieces: List[_Entry] = []
        self._news = asyncio.Event()
        self._closed = False

    def started(self, record: Record) -> None:
        if not record.started:
            record.started = True
            entry = self._entry(record)
            entry.started = _wire.Empty()
            self._push(self._marks, MARKS, entry)

    def output(self, record: Record, stream: int, data: bytes) -> None:
        """Keeps what fits and tells it. Nothing comes after the end."""
        if record.outcome is not None or not data:
            return
        self.started(record)
        kept = record.streams[stream]
        for at in range(0, len(data), PIECE_BYTES):
            offset = len(kept.data)
            length = kept.take(data[at : at + PIECE_BYTES])
            if length and not self._grow(kept.last_event, offset, length):
                entry = self._entry(record)
                entry.stream, entry.offset, entry.length = stream, offset, length
                kept.last_event = entry.sequence
                self._push(self._pieces, PIECES, entry)

    def exited(self, record: Record, outcome: Outcome) -> None:
        record.outcome = outcome
        entry = self._entry(record)
        dropped = sum(stream.dropped for stream in record.streams)
        entry.exited = _wire.ExecutionExited(
            outcome.exit_code, outcome.signal, outcome.message, dropped
        )
        self._push(self._marks, MARKS, entry)

    def forget(self, record: Record) -> None:
        for ring in (self._marks, self._pieces):
            ring[:] = [entry for entry in ring if entry.record is not record]

    def close(self) -> None:
        """Ends every watcher once it has read all."""
        self._closed = True
        self._wake()

    async def watch(self, after: int) -> AsyncIterator[_wire.ExecutionEvent]:
        # A number from the future is from another life of the server.
        after = after if after < self._next else 0
        while True:
            news = self._news
            entry = self._after(after)
            if entry is not None:
                after = entry.sequence
                self._read = max(self._read, after)
                yield entry.event()
            elif self._closed:
                return
            else:
                await news.wait()

    def _after(self, after: int) -> Optional[_Entry]:
        found = []
        for ring in (self._marks, self._pieces):
            at = bisect_right(_Numbers(ring), after)
            found += ring[at : at + 1]
        return min(found, key=lambda entry: entry.sequence, default=None)

    def _grow(self, last: int, offset: int, length: int) -> bool:
        """Adds bytes to the piece `last` if nobody has read it yet and they continue it."""
        if last <= self._read:
            return False
        at = bisect_right(_Numbers(self._pieces), last) - 1
        if at < 0 or self._pieces[at].sequence != last:
            return False
        piece = self._pieces[at]
        fits = piece.offset + piece.length == offset and piece.length + length <= PIECE_BYTES
        if fits:
            piece.length += length
        return fits

    def _entry(self, record: Record) -> _Entry:
        self._next += 1
        return _Entry(self._next - 1, record)

    def _push(self, ring: List[_Entry], limit: int, entry: _Entry) -> None:
        if len(ring) == limit:
            # In one go, for a list gives up its front slowly.
            del ring[: limit // 8]
        ring.append(entry)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class _Numbers:
    """A ring as the sorted numbers of its entries."""

    def __init__(self, ring: List[_Entry]) -> None:
        self._ring = ring

    def __len__(self) -> int:
        return len(self._ring)

    def __getitem__(self, at: int) -> int:
        return self._ring[at].sequence

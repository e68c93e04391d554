"""Messages of `executor.v1`, as far as a server needs them, and how they stand on the wire (proto3).

The fields are those of `api/runtime/v1/runtime.proto`; a test compares them. Fields that are not known are passed over.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields
from typing import Any, Dict, Iterator, List, Tuple, Type, TypeVar

M = TypeVar("M", bound="Message")

RUNNING, SUCCEEDED, FAILED = 2, 3, 4


class Message:
    """A message whose dataclass fields name their number and kind."""

    @classmethod
    def decode(cls: Type[M], data: bytes) -> M:
        message = cls()
        known = {spec.metadata["number"]: spec for spec in fields(message)}  # type: ignore[arg-type]
        for number, value in _parts(data):
            spec = known.get(number)
            if spec is None:
                continue
            kind, name = spec.metadata["kind"], spec.name
            if kind == "map":
                pair = Pair.decode(_bytes(value))
                getattr(message, name)[pair.key] = pair.value
            elif kind == "strings":
                getattr(message, name).append(_bytes(value).decode())
            elif kind == "string":
                setattr(message, name, _bytes(value).decode())
            elif kind == "int":
                if not isinstance(value, int):
                    raise ValueError(f"field {number} is no number")
                setattr(message, name, value - (1 << 64) if value >> 63 else value)
        return message

    def encode(self) -> bytes:
        out = bytearray()
        for spec in fields(self):  # type: ignore[arg-type]
            number, kind = spec.metadata["number"], spec.metadata["kind"]
            value: Any = getattr(self, spec.name)
            if kind == "string":
                value = value.encode()
            elif kind == "bool":
                value = int(value)
            if kind in ("int", "bool"):
                if value:
                    out += _varint(number << 3) + _varint(value & (1 << 64) - 1)
            elif kind == "messages":
                for item in value:
                    out += _delimited(number, item.encode())
            elif kind == "message":
                if value is not None:
                    out += _delimited(number, value.encode())
            elif value:
                out += _delimited(number, value)
        return bytes(out)


def _of(number: int, kind: str) -> Any:
    metadata = {"number": number, "kind": kind}
    if kind == "map":
        return field(default_factory=dict, metadata=metadata)
    if kind in ("strings", "messages"):
        return field(default_factory=list, metadata=metadata)
    defaults: Dict[str, Any] = {"string": "", "bytes": b"", "int": 0, "bool": False, "message": None}
    return field(default=defaults[kind], metadata=metadata)


@dataclass
class Pair(Message):
    key: str = _of(1, "string")
    value: str = _of(2, "string")


@dataclass
class ExecuteRequest(Message):
    id: str = _of(1, "string")
    args: List[str] = _of(2, "strings")
    env: Dict[str, str] = _of(3, "map")
    timeout_seconds: int = _of(4, "int")
    working_dir: str = _of(5, "string")
    entrypoint: str = _of(6, "string")
    handler: str = _of(7, "string")


@dataclass
class ExecuteResponse(Message):
    id: str = _of(1, "string")


@dataclass
class IdRequest(Message):
    """StatusRequest, CancelRequest and ForgetRequest."""

    id: str = _of(1, "string")


@dataclass
class StatusResponse(Message):
    id: str = _of(1, "string")
    state: int = _of(2, "int")
    exit_code: int = _of(3, "int")
    stdout: str = _of(4, "string")
    stderr: str = _of(5, "string")
    error_message: str = _of(6, "string")


@dataclass
class Empty(Message):
    pass


@dataclass
class ListResponse(Message):
    entries: List[StatusResponse] = _of(1, "messages")


@dataclass
class HealthResponse(Message):
    healthy: bool = _of(1, "bool")
    message: str = _of(2, "string")


@dataclass
class WatchRequest(Message):
    resume_after: int = _of(1, "int")


@dataclass
class RenewRequest(Message):
    ttl_millis: int = _of(1, "int")


@dataclass
class ExecutionOutput(Message):
    stream: int = _of(1, "int")
    offset: int = _of(2, "int")
    data: bytes = _of(3, "bytes")


@dataclass
class ExecutionExited(Message):
    exit_code: int = _of(1, "int")
    signal: int = _of(2, "int")
    error_message: str = _of(3, "string")
    dropped_bytes: int = _of(4, "int")


@dataclass
class ExecutionEvent(Message):
    sequence: int = _of(1, "int")
    id: str = _of(2, "string")
    time_unix_nano: int = _of(3, "int")
    started: Empty | None = _of(4, "message")
    output: ExecutionOutput | None = _of(5, "message")
    exited: ExecutionExited | None = _of(6, "message")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where text should")
    return value


def _read_varint(data: bytes, at: int) -> Tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise ValueError("a number is too long")


def _parts(data: bytes) -> Iterator[Tuple[int, int | bytes]]:
    """The fields in their order: number and value."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            number, at = _read_varint(data, at)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, at = _read_varint(data, at)
        elif kind in (1, 5):
            size = struct.calcsize("<Q" if kind == 1 else "<I")
        else:
            raise ValueError(f"wire type {kind} is unknown")
        if at + size > len(data):
            raise ValueError("the message is cut off")
        yield tag >> 3, data[at : at + size]
        at += size

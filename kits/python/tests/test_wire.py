"""The messages are those of the proto, byte for byte."""

import dataclasses
import re
import unittest
from pathlib import Path

from kruntimes_runtime_server import _wire

PROTO = Path(__file__).parents[3] / "api/runtime/v1/runtime.proto"
KINDS = {
    "string": "string",
    "bytes": "bytes",
    "bool": "bool",
    "int32": "int",
    "int64": "int",
    "ExecutionState": "int",
    "repeated string": "strings",
    "map<string, string>": "map",
    "repeated StatusResponse": "messages",
}
#: Messages that share a class here.
SAME = {
    "StatusRequest": "IdRequest",
    "CancelRequest": "IdRequest",
    "ForgetRequest": "IdRequest",
    "CancelResponse": "Empty",
    "ForgetResponse": "Empty",
    "RenewResponse": "Empty",
    "ListRequest": "Empty",
    "HealthRequest": "Empty",
    "ExecutionStarted": "Empty",
}


class Proto(unittest.TestCase):
    def test_every_message_has_the_fields_of_the_proto(self):
        text = re.sub(r"//.*", "", PROTO.read_text())
        messages = re.findall(r"message (\w+) \{(.*?)\n?\}(?=\n|$)", text, re.S)
        self.assertGreater(len(messages), 15)
        for name, body in messages:
            fields = re.findall(r"([\w<>, ]+?) (\w+) = (\d+);", body)
            want = {n: (int(number), KINDS.get(kind.strip(), "message")) for kind, n, number in fields}
            kind = getattr(_wire, SAME.get(name, name))
            have = {
                spec.name: (spec.metadata["number"], spec.metadata["kind"])
                for spec in dataclasses.fields(kind)
            }
            self.assertEqual(have, want, name)

    def test_every_message_that_is_named_is_there(self):
        states = dict(re.findall(r"EXECUTION_STATE_(\w+) = (\d+);", PROTO.read_text()))
        have = (_wire.RUNNING, _wire.SUCCEEDED, _wire.FAILED)
        self.assertEqual(have, tuple(int(states[s]) for s in ("RUNNING", "SUCCEEDED", "FAILED")))


class Bytes(unittest.TestCase):
    def test_a_request_is_read_with_what_is_not_known(self):
        pair = b"\x0a\x01A\x12\x01b"
        data = (
            b"\x0a\x02id" + b"\x12\x01x" + b"\x12\x00" + b"\x1a\x06" + pair
            + b"\x20" + b"\xff" * 9 + b"\x01"  # timeout_seconds: -1
            + b"\xa2\x06\x01z" + b"\xa5\x06abcd" + b"\xa1\x06abcdefgh" + b"\xa0\x06\x07"
        )  # fmt: skip
        request = _wire.ExecuteRequest.decode(data)
        want = _wire.ExecuteRequest("id", ["x", ""], {"A": "b"}, -1)
        self.assertEqual(request, want)

    def test_a_status_is_written_as_protobuf_does(self):
        status = _wire.StatusResponse("a", _wire.FAILED, -1, "o", "", "timeout")
        self.assertEqual(
            status.encode(),
            b"\x0a\x01a\x10\x04\x18" + b"\xff" * 9 + b"\x01" + b"\x22\x01o\x32\x07timeout",
        )
        self.assertEqual(_wire.ListResponse([status]).encode()[:2], b"\x0a\x1c")

    def test_an_empty_member_of_an_event_is_there(self):
        event = _wire.ExecutionEvent(300, "a", 0, _wire.Empty())
        self.assertEqual(event.encode(), b"\x08\xac\x02\x12\x01a\x22\x00")

    def test_what_is_cut_off_or_no_text_is_refused(self):
        for data in (b"\x0a\x05ab", b"\x0a", b"\x0a\x01\xff", b"\x0b", b"\x08" + b"\xff" * 11, b"\x08\x01"):
            with self.assertRaises((ValueError, IndexError), msg=data):
                _wire.IdRequest.decode(data)


if __name__ == "__main__":
    unittest.main()

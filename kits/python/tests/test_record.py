"""Output is bounded and always text, events come once and in order."""

import asyncio
import unittest

from kruntimes_runtime_server import _events, _record, _wire
from kruntimes_runtime_server._record import STREAM_BYTES, TRUNCATED, Kept, Outcome, Record


class Output(unittest.TestCase):
    def test_the_first_bytes_are_kept_and_the_rest_counted(self):
        kept = Kept()
        self.assertEqual(kept.take(b"a" * (STREAM_BYTES - 1)), STREAM_BYTES - 1)
        self.assertEqual((kept.take(b"bcd"), kept.take(b"e")), (1, 0))
        self.assertEqual((len(kept.data), kept.dropped), (STREAM_BYTES, 3))
        self.assertTrue(kept.text(STREAM_BYTES).endswith("ab" + TRUNCATED))

    def test_any_bytes_become_text_of_bounded_size(self):
        kept = Kept()
        kept.take(b"a\xffb")
        self.assertEqual(kept.text(100), "a\ufffdb")
        # Three bytes for the replacement, which must not be cut in two.
        self.assertEqual(kept.text(3), "a" + TRUNCATED)
        self.assertEqual(kept.text(5), "a\ufffdb")


class Events(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.events = _events.Events()
        self.record = Record(_wire.ExecuteRequest("a"))

    async def read(self, after=0):
        self.events.close()
        return [event async for event in self.events.watch(after)]

    async def test_pieces_grow_until_they_are_read_or_full(self):
        for _ in range(3):
            self.events.output(self.record, 0, b"abc")
        self.events.output(self.record, 0, b"x" * _events.PIECE_BYTES)
        self.events.exited(self.record, Outcome())
        events = await self.read()
        sizes = [len(event.output.data) for event in events if event.output]
        self.assertEqual(sizes, [9, _events.PIECE_BYTES])
        self.assertIsNotNone(events[0].started)
        self.assertIsNotNone(events[-1].exited)

    async def test_what_was_read_does_not_grow(self):
        self.events.output(self.record, 0, b"abc")
        watch = self.events.watch(0)
        read = [await watch.__anext__(), await watch.__anext__()]
        self.events.output(self.record, 0, b"def")
        rest = await self.read(read[-1].sequence)
        self.assertEqual([(e.output.offset, e.output.data) for e in rest], [(3, b"def")])

    async def test_nothing_comes_after_the_end(self):
        self.events.exited(self.record, Outcome())
        self.events.output(self.record, 0, b"late")
        self.assertEqual(len(await self.read()), 1)

    async def test_a_flood_cannot_push_out_an_end(self):
        self.events.exited(self.record, Outcome(7, "exit status 7"))
        other = Record(_wire.ExecuteRequest("b"))
        for at in range(2 * _events.PIECES):
            self.events.output(other, at % 2, b"x")
            other.streams[at % 2].last_event = 0
        events = await self.read()
        self.assertEqual(events[0].exited.exit_code, 7)
        self.assertLessEqual(len(events), _events.PIECES + 2)

    async def test_a_number_from_the_future_brings_everything(self):
        self.events.started(self.record)
        self.assertEqual(len(await self.read(1 << 62)), 1)

    async def test_the_first_wish_stays(self):
        self.record.end(_record.TIMEOUT)
        self.record.end(_record.CANCELLED)
        self.assertEqual(await asyncio.wait_for(self.record.wish, 1), _record.TIMEOUT)


if __name__ == "__main__":
    unittest.main()

"""Functions without `async`, exceptions, and what does not end when it should."""

import asyncio
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from kruntimes_runtime_server import Execution, Failure, _server, _wire


class Functions(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    async def run_it(self, function, timeout_seconds=0):
        server = _server.Server(function, self.directory, self.directory)
        await server.execute(_wire.ExecuteRequest("a", timeout_seconds=timeout_seconds), None)
        await asyncio.wait_for(server._table["a"].ended.wait(), 10)
        return server._table["a"].status(1000)

    async def test_a_function_in_a_thread_prints_and_returns(self):
        def execute(execution: Execution):
            execution.stdout("a")
            execution.stderr(b"\xff")
            return 3

        status = await self.run_it(execute)
        self.assertEqual((status.exit_code, status.error_message), (3, "exit status 3"))
        self.assertEqual((status.stdout, status.stderr), ("a", "\ufffd"))

    def test_a_working_directory_is_within_one_of_the_workspace(self):
        (self.directory / "a").mkdir()
        (self.directory / "b").mkdir()
        (self.directory / "a" / "out").symlink_to("/etc")
        (self.directory / "a" / "other").symlink_to("../b")
        (self.directory / "a" / "in").symlink_to(".")
        for below in ["a", "a/in", "a/not/there"]:
            self.assertIsNone(_server._misplaced(str(self.directory / below), self.directory), below)
        for below in ["", ".", ".tmp/a", "a/../b", "a/out", "a/other", "../x"]:
            self.assertIn("not in the workspace", _server._misplaced(f"{self.directory}/{below}", self.directory), below)
        for elsewhere in ["/", "/etc", "a"]:
            self.assertIn("not in the workspace", _server._misplaced(elsewhere, self.directory), elsewhere)

    async def test_nothing_returned_is_success(self):
        async def execute(_):
            pass

        self.assertEqual((await self.run_it(execute)).state, _wire.SUCCEEDED)

    async def test_an_exception_fails_with_its_message(self):
        async def execute(_):
            raise KeyError("x")

        status = await self.run_it(execute)
        self.assertEqual((status.exit_code, status.error_message), (1, "KeyError: 'x'"))
        self.assertIn("Traceback", status.stderr)

    async def test_a_failure_has_its_own_code(self):
        def execute(_):
            raise Failure("no such table", 5)

        status = await self.run_it(execute)
        self.assertEqual((status.exit_code, status.error_message), (5, "no such table"))

    async def test_a_function_that_cancels_itself_ends(self):
        async def execute(_):
            raise asyncio.CancelledError

        with mock.patch("traceback.print_exc"):
            self.assertIn("execution lost", (await self.run_it(execute)).error_message)

    async def test_a_function_in_a_thread_is_told_to_end(self):
        told = []
        seen = threading.Event()

        def execute(execution: Execution):
            execution.on_cancel(lambda: told.append("called"))
            if execution.cancelled.wait(10):
                seen.set()

        status = await self.run_it(execute, timeout_seconds=1)
        self.assertEqual((status.exit_code, status.error_message), (-1, "timeout"))
        self.assertEqual(told, ["called"])
        self.assertTrue(seen.wait(5))

    async def test_a_function_that_does_not_end_is_let_go(self):
        released = asyncio.Event()

        async def execute(_):
            while not released.is_set():
                try:
                    await asyncio.wait_for(released.wait(), 30)
                except asyncio.CancelledError:
                    pass

        with mock.patch.object(_server, "ANSWER_SECONDS", 0.1), mock.patch("builtins.print"):
            status = await self.run_it(execute, timeout_seconds=1)
        released.set()
        self.assertEqual(status.error_message, "timeout")

    async def test_a_command_has_the_runs_environment_on_top(self):
        async def execute(execution: Execution):
            execution.env["A"] = "run"
            return await execution.run("sh", "-c", 'echo "$A $KRUNTIMES_CONTROL"; exit 4')

        with mock.patch.dict("os.environ", {"A": "server", "KRUNTIMES_CONTROL": "/secret"}):
            status = await self.run_it(execute)
        self.assertEqual((status.stdout, status.exit_code), ("run \n", 4))

    async def test_a_command_that_is_not_there_says_so(self):
        async def execute(execution: Execution):
            return await execution.run("no-such-command")

        status = await self.run_it(execute)
        self.assertEqual(status.exit_code, 127)
        self.assertEqual(status.stderr, "no-such-command: No such file or directory\n")

    async def test_a_killed_command_tells_its_signal(self):
        async def execute(execution: Execution):
            return await execution.run("sh", "-c", "kill -9 $$")

        self.assertEqual((await self.run_it(execute)).exit_code, 137)

    async def test_a_killed_supervisor_is_a_lost_execution(self):
        async def execute(execution: Execution):
            return await execution.run("sh", "-c", "kill -9 $PPID; sleep 1")

        status = await self.run_it(execute)
        self.assertIn("the supervisor of the command died", status.error_message)

    async def test_a_path_is_a_file_of_the_working_directory(self):
        execution = Execution(_wire.ExecuteRequest("a"), str(self.directory), lambda *_: None)
        (self.directory / "file").write_text("x")
        (self.directory / "link").symlink_to("/bin/sh")
        self.assertTrue(execution.path("file").endswith("/file"))
        for name in ("link", "missing", ".", "../" + self.directory.name, "/bin/sh"):
            with self.assertRaises(Failure, msg=name):
                execution.path(name)


if __name__ == "__main__":
    unittest.main()

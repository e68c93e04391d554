"""Semaphores of `multiprocessing` for Runs that may not use those of the system: they are files that all Runs would share.

Processes that are forked have them too. Those that are spawned don't: to them the system's are all that can be named.
"""

import _multiprocessing
import _thread
import errno
import mmap
import time

REAL = _multiprocessing.SemLock
RECURSIVE, SEM_BYTES = 0, 64


class SemLock:
    """As `_multiprocessing.SemLock`, in memory that forks share."""

    SEM_VALUE_MAX = REAL.SEM_VALUE_MAX
    _rebuild = REAL._rebuild

    def __new__(cls, kind, value, maxvalue, name, unlink):
        try:
            return REAL(kind, value, maxvalue, name, unlink)
        except PermissionError:
            if not unlink:
                raise
            return super().__new__(cls)

    def __init__(self, kind, value, maxvalue, name, unlink):
        self.kind, self.maxvalue, self.name = kind, maxvalue, None
        self._memory = mmap.mmap(-1, SEM_BYTES)
        self._semaphore = (ctypes.c_char * SEM_BYTES).from_buffer(self._memory)
        self.handle = ctypes.addressof(self._semaphore)
        self._held, self._owner = 0, None
        answer(libc.sem_init, self._semaphore, 1, ctypes.c_uint(value))

    def acquire(self, block=True, timeout=None):
        if self.kind == RECURSIVE and self._is_mine():
            self._held += 1
            return True
        if not self._wait(block, timeout):
            return False
        self._held += 1
        self._owner = _thread.get_ident()
        return True

    def _wait(self, block, timeout):
        if answer(libc.sem_trywait, self._semaphore, expected=errno.EAGAIN):
            return True
        if not block:
            return False
        wait = (libc.sem_wait, self._semaphore)
        if timeout is not None:
            until = time.time_ns() + int(max(timeout, 0) * 1e9)
            wait = (libc.sem_timedwait, self._semaphore, struct.pack("@qq", *divmod(until, 10**9)))
        while True:
            try:
                return answer(*wait, expected=errno.ETIMEDOUT)
            except InterruptedError:
                # A signal's handler has run by then.
                continue

    def release(self):
        if self.kind == RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._held > 1:
                self._held -= 1
                return
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        answer(libc.sem_post, self._semaphore)
        self._held -= 1

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()

    def _count(self):
        return self._held

    def _is_mine(self):
        return self._held > 0 and self._owner == _thread.get_ident()

    def _get_value(self):
        value = ctypes.c_int()
        answer(libc.sem_getvalue, self._semaphore, ctypes.byref(value))
        return max(value.value, 0)

    def _is_zero(self):
        return self._get_value() == 0

    def _after_fork(self):
        self._held = 0


def answer(function, *args, expected=None):
    """Whether the call succeeded; false only for the expected error."""
    if function(*args) == 0:
        return True
    number = ctypes.get_errno()
    if number == expected:
        return False
    raise OSError(number, os.strerror(number))


_multiprocessing.SemLock = SemLock

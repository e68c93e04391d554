//! Scripts that end as they would in `python3` itself: what they print, their exit code, the files that they leave.

pub(crate) const SCRIPTS: &[&str] = &[
    "import sys; sys.exit(7)",
    "import sys; sys.exit('why')",
    "raise SystemExit",
    "def f():\n    1 / 0\nf()",
    "print('x'); raise KeyboardInterrupt",
    "import os; os.kill(os.getpid(), 15)",
    "import os; os.abort()",
    "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('é') from error",
    "if:\n",
    "# coding: latin-1\nprint('\\xe4')",
    "import sys; sys.excepthook = lambda *a: print('hook', a[0].__name__); 1 / 0",
    "import atexit, threading, time\natexit.register(print, 'last')\n\
         t = threading.Thread(target=lambda: (time.sleep(0.05), print('thread')))\nt.start()\n1 / 0",
    "open('left', 'w').write('x' * 10); f = open('left2', 'w'); f.write('y')",
    "import sys; sys.stdout.write('no newline'); sys.stdout.buffer.write(b'\\xff\\x00')",
    "import sys; print(sys.flags, sys.executable != '', sys.warnoptions, sys._xoptions)",
    "print(sorted(globals()), __spec__, __builtins__.__name__, __doc__, __annotations__)",
    "import sys; print(sorted(set(sys.modules) & {'socket', 'ctypes', 'json', 'struct', 'threading'}))",
    "import multiprocessing as m\ndef f(x): return x * x\nif __name__ == '__main__':\n    \
         print(m.get_context('fork').Pool(2).map(f, [1, 2]), m.get_context('spawn').Pool(1).map(f, [3]))",
    "import inspect\ndef f(): pass\nprint(inspect.getsource(f), open(__file__).read() > '')",
    "import sys; print(sys.stdin.read() == '', sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors)",
    "import signal; print(*[signal.getsignal(s) for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)])",
    "import os; print(os.umask(0), os.nice(0))",
    "class A:\n    def __del__(self): print('del', A.__name__)\na = A()\nb = A()\nb.me = b",
    "import sys; sys.stdout = open('log', 'w'); print('x' * 99)",
    "import sys; f = open('log', 'w'); f.write('y'); g = lambda: f; sys.kept = open('log2', 'w'); sys.kept.write('z')",
    "import ctypes; ctypes.CDLL(None).printf(b'from C\\n'); print('from Python')",
    "import sys; sys.exit(True)",
    "import sys; sys.exit(-1)",
    "import sys; sys.exit(1 << 70)",
    "import sys; print('out', end=''); sys.exit(('a', 1))",
    "import sys\ndef hook(*all): raise ValueError('hook')\nsys.excepthook = hook\n1 / 0",
    "import sys\ndef hook(*all): sys.exit(5)\nsys.excepthook = hook\n1 / 0",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\nprint('main')",
    "import atexit\natexit.register(print, 'second')\natexit.register(lambda: None)\natexit.register(print, 'first')",
    "import collections.abc, typing, concurrent.futures, http.client, atexit\nclass A:\n    \
     def __del__(self): print(issubclass(dict, collections.abc.MutableSequence), len(A.__mro__))\na = A()\nb = A()\nb.me = b",
    "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'finalized')",
    "def g():\n    try: yield 1\n    finally: print('closed')\nx = g(); next(x)",
    "import concurrent.futures as f\nwith f.ThreadPoolExecutor() as p: print(list(p.map(str, range(3))))\n\
         held = f.ProcessPoolExecutor(1)\nprint(held.submit(abs, -1).result())",
    "import logging; logging.basicConfig(filename='log'); logging.warning('written'); logging.error('x')",
    "import sys\nclass Bad:\n    def __repr__(self): return 'bad'\n    def write(self, text): pass\n    def flush(self):\n        raise OSError('x')\nsys.stdout = Bad()",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 7\nprint(asyncio.run(f()))",
    "import multiprocessing as m, threading\n\
         def work(lock, queue, total, event, n):\n    event.wait(5)\n    with lock, lock: total.put(total.get(timeout=5) + n)\n    queue.put(n)\n\
         lock, queue, total, event = m.RLock(), m.Queue(), m.Queue(), m.Event()\n\
         all = [m.Process(target=work, args=(lock, queue, total, event, n)) for n in range(5)]\n\
         [p.start() for p in all]; total.put(0); event.set(); print(sorted(queue.get(timeout=9) for p in all), [p.join() for p in all], total.get())\n\
         s = m.BoundedSemaphore(1); print(s.acquire(), s.acquire(False), s.acquire(timeout=0.05), s.release(), s.get_value())\n\
         try: s.release()\nexcept ValueError as error: print(error)\n\
         try: lock.release()\nexcept AssertionError as error: print(error)\n\
         print(m.Pool(2).map(abs, [-1, -2]), m.Lock().acquire(timeout=1), m.JoinableQueue(3).full())\n\
         with m.Condition() as c: print(c)",
    "print(open('/proc/self/cmdline').read().rstrip('\\0').split('\\0')[1:], open('/proc/self/comm').read())",
];

"""The processes of a warm interpreter: each executes what one Run asks for, as a new interpreter would.

Before it stand `PRISTINE`, the names of the modules of a new interpreter, and, in a warm one, `serve` of the fork server.
"""

import _io
import _signal
import _weakref
import atexit
import builtins
import gc
import importlib.machinery
import json as own_json
import os
import sys

PREPARED, FAILED = "ready", "failed"
WORD_CHARS, NAMES_SHOWN, KEY_SHOWN = 1000, 10, 40
NUMPY = "numpy.random"
MAX_CODE = 1 << 63
FLUSH_FAILED, INTERRUPTED = 120, -1
# Names of the modules that every Run finds imported.
SHARED = set()


def main(names):
    """Imports `names`, then serves; goes on in each process of a Run."""
    forget()
    sys.modules["_multiprocessing"] = _multiprocessing
    title = Title()
    title.show(["krt-python", "warm interpreter", *names])
    version = ".".join(str(part) for part in sys.version_info[:3])
    try:
        for name in names:
            __import__(name)
    except BaseException as error:
        why = f"--preload {name}: {type(error).__name__}: {error}"
        requests = socket.socket(fileno=REQUESTS)
        requests.send("\n".join([FAILED, version, sys.executable, why[:WORD_CHARS]]).encode())
        sys.exit(1)
    SHARED.update(sys.modules)
    try:
        kind, args = serve("\n".join([PREPARED, version, sys.executable]))
    except BrokenPipeError:
        # The server ended before this was ready.
        os._exit(0)
    begin(kind, args)
    title.show(sys.orig_argv)
    finish(run(kind, args))


class Title:
    """The command line as `ps` shows it: this file is no part of it."""

    def __init__(self):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # arg_start and arg_end of proc(5).
        self.start, end = int(fields[45]), int(fields[46])
        self.size = end - self.start

    def show(self, words):
        text = os.fsencode("\0".join(words))[: self.size - 1]
        ctypes.memset(self.start, 0, self.size)
        ctypes.memmove(self.start, text, len(text))


def forget():
    """What was imported here is not the Run's: its imports are its own, as in a new interpreter."""
    for name in sys.modules.keys() - PRISTINE:
        del sys.modules[name]


def begin(kind, args):
    """Makes this a new interpreter's state: what importing took from the surroundings is taken anew."""
    sys.stdout.reconfigure(line_buffering=True)
    flags = {"code": ["-c"], "module": ["-m"], "handler": ["-c"]}.get(kind, [])
    sys.orig_argv = [sys.executable, *flags, *args]
    sys.argv = [*flags, *args[1:]] if flags else args
    if "tempfile" in sys.modules:
        sys.modules["tempfile"].tempdir = None
    if NUMPY in sys.modules:
        # It is seeded at its import, which all Runs have in common.
        sys.modules[NUMPY].seed()


def run(kind, args):
    """Executes, and says how: an exit code, or that a SIGINT was the end."""
    new = type(sys)("__main__")
    new.__dict__.update(__builtins__=builtins, __annotations__={}, __cached__=None)
    sys.modules["__main__"] = new
    try:
        if kind == "file":
            run_file(new, args[0])
        elif kind == "module":
            sys.path.insert(0, os.getcwd())
            import runpy

            runpy._run_module_as_main(args[0])
        elif kind == "handler":
            sys.path.insert(0, os.getcwd())
            call(args[0], args[1:])
        else:
            sys.path.insert(0, "")
            new.__loader__ = importlib.machinery.BuiltinImporter
            exec(compile(args[0], "<string>", "exec", dont_inherit=True), new.__dict__)
        return 0
    except SystemExit as error:
        return asked(error.code)
    except KeyboardInterrupt as error:
        tell(error)
        return INTERRUPTED
    except BaseException as error:
        return tell(error)


def run_file(new, path):
    path = os.path.join(os.getcwd(), path)
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
        sys.exit(2)
    new.__file__ = path
    new.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    exec(compile(source, path, "exec", dont_inherit=True), new.__dict__)


def asked(code):
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF if -MAX_CODE <= (code or 0) < MAX_CODE else 0xFF
    print(code, file=sys.stderr)
    return 1


def tell(error):
    """Prints the traceback as the interpreter does, without the frames of this file; the answer is the exit code."""
    try:
        sys.excepthook(type(error), error, own_frames_off(error))
    except SystemExit as end:
        return asked(end.code)
    except BaseException as second:
        if second.__context__ is error:
            # The interpreter's own call of the hook is no part of the handling of this error.
            second.__context__ = None
        sys.stderr.write("Error in sys.excepthook:\n")
        sys.__excepthook__(type(second), second, own_frames_off(second))
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 1


def own_frames_off(error):
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    error.__traceback__ = trace
    return trace


def finish(code):
    """Ends as the interpreter does, but leaves what all Runs have in common as it is: to take that apart takes long."""
    for end in (getattr(sys.modules.get("threading"), "_shutdown", None), atexit._run_exitfuncs):
        try:
            end and end()
        except BaseException as error:
            tell(error)
    failed = flush()
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    write_files()
    clear_modules()
    code = FLUSH_FAILED if flush() or failed else code
    if code == INTERRUPTED:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)
    # It holds on to the interpreter's lock, so that no thread goes on meanwhile, and writes what C has in its buffers.
    ctypes.PyDLL(None).exit(code)


def flush():
    failed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            if not (stream is None or getattr(stream, "closed", False)):
                stream.flush()
        except BaseException as error:
            if stream is sys.stdout:
                failed = True
                ignored(error, stream)
    return failed


def ignored(error, culprit):
    """Says of an error that nobody can handle what the interpreter says."""
    trace = own_frames_off(error)
    where = "on flushing sys.stdout:" if sys.version_info >= (3, 13) else f"in: {culprit!r}"
    sys.stderr.write(f"Exception ignored {where}\n")
    sys.__excepthook__(type(error), error, trace)


def write_files():
    """Files that are still open: the collector would close them from below."""
    for thing in gc.get_objects():
        if issubclass(type(thing), (_io.TextIOWrapper, _io.BufferedWriter, _io.BufferedRandom)):
            try:
                thing.flush()
            except BaseException:
                continue


def clear_modules():
    """Lets go of all that the Run's own modules hold, so that files are written and finalizers run."""
    # Some have two names, one of which only the Run has used.
    shared = {id(sys.modules.get(name)) for name in SHARED if name != "__main__"}
    own = []
    for name in [name for name in sys.modules if name == "__main__" or name not in SHARED]:
        module = sys.modules.pop(name)
        if isinstance(module, type(sys)) and id(module) not in shared:
            own.append(_weakref.ref(module))
    del module
    gc.collect()
    for module in filter(None, (reference() for reference in reversed(own))):
        content = vars(module)
        for private in (True, False):
            for key in list(content):
                is_private = key[:1] == "_" and key[1:2] != "_"
                if key != "__builtins__" and is_private == private:
                    content[key] = None
    gc.collect()


def call(name, args):
    """Calls the function `name` with the arguments, and prints what it returns as JSON; a dict of strings is outputs too."""
    outputs = os.environ.get("KRUNTIME_OUTPUTS")
    module_name, _, function_name = name.rpartition(".")
    module = load(name, module_name)
    function = getattr(module, function_name, None)
    if function is None:
        own = [key for key, value in vars(module).items() if callable(value) and value.__module__ == module_name]
        fail(name, f"the module {module_name!r} has no function {function_name!r}: it has {shown(own)}")
    if not callable(function):
        fail(name, f"{function_name!r} in the module {module_name!r} is a {type(function).__name__}, not a function")
    result = function({"args": args})
    if result is None:
        return
    try:
        text = own_json.dumps(result)
    except (TypeError, ValueError, RecursionError) as error:
        fail(name, f"what it returned is not JSON: {error}")
    print(text)
    strings = isinstance(result, dict) and all(isinstance(text, str) for item in result.items() for text in item)
    if outputs and strings and result:
        give_out(name, outputs, result)


def give_out(name, path, result):
    written = []
    for key, value in result.items():
        letters = key.replace("_", "a").replace("-", "a").replace(".", "a")
        if key[:1] in ("-", ".") or not (letters.isascii() and letters.isalnum()):
            why = "it must have letters, digits, _, - and . only, and begin with none of the last two"
            fail(name, f"the key {key[:KEY_SHOWN]!r} of the dict that it returned can't be the name of an output: {why}")
        end = "END"
        while end in value:
            end += "_"
        written.append(f"{key}<<{end}\n{value}\n{end}\n")
    try:
        text = "".join(written).encode()
        with open(path, "ab") as file:
            # What the function itself wrote there may lack the end of its last line.
            file.write(b"\n" + text if file.tell() else text)
    except (OSError, UnicodeEncodeError) as error:
        fail(name, f"what it returned can't be written to $KRUNTIME_OUTPUTS: {error}")


def load(name, module_name):
    try:
        __import__(module_name)
        return sys.modules[module_name]
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing != module_name and not module_name.startswith(missing + "."):
            tell(error)
            fail(name, f"the module {module_name!r} could not be imported")
        if missing == module_name and os.path.isfile(module_name):
            return load_script(module_name)
        fail(name, f"{error}: the working directory has {shown(modules())}")
    except Exception as error:
        tell(error)
        fail(name, f"the module {module_name!r} could not be imported")


def load_script(name):
    """Source of one file is in a file without the ending of a module."""
    loader = importlib.machinery.SourceFileLoader(name, os.path.abspath(name))
    module = type(sys)(name)
    module.__dict__.update(__file__=loader.path, __loader__=loader)
    sys.modules[name] = module
    try:
        exec(compile(loader.get_data(loader.path), loader.path, "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        tell(error)
        fail(name, f"the module {name!r} could not be imported")
    return module


def modules():
    with os.scandir() as entries:
        return sorted(
            entry.name.removesuffix(".py")
            for entry in entries
            if (entry.name.endswith(".py") or entry.is_dir() and not entry.name.startswith("__"))
            and entry.name.removesuffix(".py").isidentifier()
        )


def shown(names):
    more = ", …" if len(names) > NAMES_SHOWN else ""
    return (", ".join(names[:NAMES_SHOWN]) + more) or "none"


def fail(name, why):
    sys.stderr.write(f"handler {name!r}: {why}\n")
    sys.exit(1)

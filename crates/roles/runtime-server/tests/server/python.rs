//! Python: what is executed, and that it is as `python3` itself would.

use crate::fixture::{Fixture, Language, Seen, handle, kill, parent, request, wait_for_end};
use crate::scripts::SCRIPTS;
use kruntimes_proto::executor::v1::{CancelRequest, ExecuteRequest, HealthRequest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Fixture {
    /// Runs `code` as a script.
    async fn run_script(&mut self, id: &str, code: &str, args: &[&str]) -> Seen {
        self.write(id, "script", code);
        self.run_args(id, args).await
    }
}

pub(crate) async fn what_is_executed(mut fixture: Fixture) {
    let show = "import sys, os; print(__name__, globals().get('__file__'), sys.argv, sys.path[0], os.getcwd())";
    let dir = |id: &str| fixture.workspace().join(id).display().to_string();
    let (a, b, c, d) = (dir("a"), dir("b"), dir("c"), dir("d"));
    let seen = fixture.run_script("a", show, &["x y", ""]).await;
    let expected = format!("__main__ {a}/script ['{a}/script', 'x y', ''] {a} {a}\n");
    assert_eq!((seen.stdout(), seen.exit(), seen.started), (expected, (0, 0, ""), 1));
    fixture.write("b", "sub/run.py", show);
    fixture.write("b", "sub/beside.py", "");
    let other = ExecuteRequest { entrypoint: "sub/run.py".to_owned(), ..request("b", &[]) };
    let expected = format!("__main__ {b}/sub/run.py ['{b}/sub/run.py'] {b}/sub {b}\n");
    assert_eq!(fixture.run(other).await.stdout(), expected);
    let seen = fixture.run_args("c", &["-c", show, "x"]).await;
    assert_eq!(seen.stdout(), format!("__main__ None ['-c', 'x']  {c}\n"));
    fixture.write("d", "pkg/__main__.py", show);
    let seen = fixture.run_args("d", &["-m", "pkg", "x"]).await;
    let expected = format!("__main__ {d}/pkg/__main__.py ['{d}/pkg/__main__.py', 'x'] {d} {d}\n");
    assert_eq!(seen.stdout(), expected);
    let seen = fixture.run_args("e", &["print(6 * 7)"]).await;
    assert_eq!(seen.stdout(), "42\n");
    let seen = fixture.run_args("f", &["-OO", "-c", "import sys; print(sys.flags.optimize)"]).await;
    assert_eq!(seen.stdout(), "2\n");
    let seen = fixture.run_args("g", &["missing.py"]).await;
    assert_eq!(seen.exit(), (2, 0, "exit status 2"));
    assert!(String::from_utf8_lossy(&seen.stderr).contains("can't open file"), "{seen:?}");
    assert_eq!(fixture.run_args("h", &[]).await.exit(), (0, 0, "no script or args provided"));
}

pub(crate) async fn exits_signals_and_tracebacks_are_those_of_python3(mut fixture: Fixture) {
    let mut differences = Vec::new();
    let mut free = Fixture::start_with(Language::Python, &["--isolation", "none"]).await;
    for (number, code) in SCRIPTS.iter().enumerate() {
        let id = format!("run-{number}");
        // Semaphores of spawned processes are files that all Runs of a machine would share.
        let fixture = if code.contains("'spawn'") { &mut free } else { &mut fixture };
        let seen = fixture.run_script(&id, code, &[]).await;
        let dir = fixture.workspace().join(&id);
        let our_files = take_files(&dir);
        // Who runs the tests in the background ignores signals, and children inherit that.
        let own = std::process::Command::new("/usr/bin/env")
            .args(["--default-signal", "/usr/bin/python3"])
            .arg(dir.join("script"))
            .current_dir(&dir)
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env("HOME", &dir)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&own.status);
        let expected = signal.map_or_else(|| own.status.code().unwrap(), |signal| 128 + signal);
        let (exit_code, own_signal, _) = seen.exit();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ours = (text(&seen.stdout), text(&seen.stderr), exit_code, own_signal, our_files);
        let theirs =
            (text(&own.stdout), text(&own.stderr), expected, signal.unwrap_or(0), take_files(&dir));
        if ours != theirs {
            differences.push(format!("{code}\n  ours: {ours:?}\n  own:  {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a script has left beside itself, which is removed.
fn take_files(directory: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("script") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.insert(name, std::fs::read_to_string(&path).unwrap());
            std::fs::remove_file(path).unwrap();
        }
    }
    files
}

fn handler(id: &str, name: &str, args: &[&str]) -> ExecuteRequest {
    ExecuteRequest { handler: name.to_owned(), ..request(id, args) }
}

const JOBS: &str = "import os
print('imported', __name__, os.getcwd() == os.path.dirname(os.path.abspath(__file__)))
def echo(event):
    print('own', end='')
    return {'event': event, 'é': [1.5, None, True]}
def nothing(event): pass
def bad(event): return {1, 2}
def fails(event): 1 / 0
number = 7
";

pub(crate) async fn a_handler_is_called_and_its_result_printed(mut fixture: Fixture) {
    for id in ["a", "b", "c"] {
        fixture.write(id, "jobs.py", JOBS);
        fixture.write(id, "deep/er/mod.py", "def f(event): return event['args'][::-1]");
        fixture.write(id, "script", "def main(event): return len(event['args'])");
    }
    let seen = fixture.run(handler("a", "jobs.echo", &["x y", ""])).await;
    let expected = "imported jobs True\nown{\"event\": {\"args\": [\"x y\", \"\"]}, \"\\u00e9\": [1.5, null, true]}\n";
    assert_eq!(
        (seen.stdout(), seen.exit(), seen.stderr.len()),
        (expected.to_owned(), (0, 0, ""), 0)
    );
    let seen = fixture.run(handler("b", "deep.er.mod.f", &["1", "2"])).await;
    assert_eq!(seen.stdout(), "[\"2\", \"1\"]\n");
    let seen = fixture.run(handler("c", "script.main", &["1", "2"])).await;
    assert_eq!(seen.stdout(), "2\n", "source of one file needs no ending");
    fixture.write("d", "jobs.py", JOBS);
    let seen = fixture.run(handler("d", "jobs.nothing", &[])).await;
    assert_eq!((seen.stdout().as_str(), seen.exit()), ("imported jobs True\n", (0, 0, "")));
    fixture.write("e", "jobs.py", JOBS);
    let mut fresh = handler("e", "jobs.echo", &["x"]);
    fresh.env.insert("PYTHONHASHSEED".to_owned(), "0".to_owned());
    let seen = fixture.run(fresh).await;
    assert!(seen.stdout().contains("own{\"event\": {\"args\": [\"x\"]}"), "{seen:?}");
}

pub(crate) async fn a_bad_handler_says_what_is_wrong(mut fixture: Fixture) {
    let cases = [
        (
            "nowhere.f",
            "handler 'nowhere.f': No module named 'nowhere': the working directory has broken, jobs, raises\n",
        ),
        (
            "jobs.nope",
            "handler 'jobs.nope': the module 'jobs' has no function 'nope': it has echo, nothing, bad, fails\n",
        ),
        (
            "jobs.number",
            "handler 'jobs.number': 'number' in the module 'jobs' is a int, not a function\n",
        ),
        (
            "jobs.bad",
            "handler 'jobs.bad': what it returned is not JSON: Object of type set is not JSON serializable\n",
        ),
        (
            "jobs.sub.f",
            "handler 'jobs.sub.f': No module named 'jobs.sub'; 'jobs' is not a package: the working directory has broken, jobs, raises\n",
        ),
        ("broken.f", "handler 'broken.f': the module 'broken' could not be imported\n"),
        ("raises.f", "handler 'raises.f': the module 'raises' could not be imported\n"),
    ];
    for (number, (name, expected)) in cases.into_iter().enumerate() {
        let id = format!("run-{number}");
        fixture.write(&id, "jobs.py", JOBS);
        fixture.write(&id, "broken.py", "import no_such_module");
        fixture.write(&id, "raises.py", "1 / 0");
        let seen = fixture.run(handler(&id, name, &[])).await;
        let stderr = String::from_utf8(seen.stderr.clone()).unwrap();
        assert_eq!(seen.exit(), (1, 0, "exit status 1"), "{name}");
        assert!(stderr.ends_with(expected), "{name}: {stderr}");
        assert!(!stderr.contains("<string>"), "no frame of ours: {stderr}");
    }
    fixture.write("x", "jobs.py", JOBS);
    let seen = fixture.run(handler("x", "jobs.fails", &[])).await;
    let file = fixture.workspace().join("x/jobs.py");
    let expected = format!(
        "Traceback (most recent call last):\n  File \"{}\", line 8, in fails\n    \
         def fails(event): 1 / 0\n                      ~~^~~\nZeroDivisionError: division by zero\n",
        file.display()
    );
    assert_eq!(String::from_utf8(seen.stderr).unwrap(), expected);
    for name in ["main", "a/b.f", "..", "a..f", "a.b ", "1.f", "a.b\n"] {
        let refused = fixture.runtime.execute(handler("y", name, &[])).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{name:?}");
        assert!(refused.message().contains("MODULE.FUNCTION"), "{refused}");
    }
}

/// Prints what a Run before could have changed.
const LOOK: &str = "
import gc, json, os, resource, signal, sys, threading, random, locale
open_files = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))
print(os.getcwd() == os.environ['HOME'], sorted(os.environ), os.umask(0o22), json.__dict__.get('left'))
print(signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM), threading.enumerate())
print(open_files, resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0), os.getgroups() == os.getgroups())
print(sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.excepthook is sys.__excepthook__)
print('left' in sys.modules, sys.path[1:], len(sys.meta_path), len(sys.path_hooks))
print(hasattr(__builtins__, 'left'), gc.isenabled(), locale.setlocale(locale.LC_ALL), os.path.exists('/proc/self/task/2'))
print(os.listdir(os.environ['TMPDIR']), len(os.listdir('/proc/self/task')), os.getppid() != 1)
";
const SPOIL: &str = "
import atexit, gc, json, os, resource, signal, sys, threading, types, builtins, locale
atexit.register(print, 'at exit')
json.left = 1; builtins.left = 1; sys.modules['left'] = types.ModuleType('left')
os.environ['LEFT'] = '1'; os.putenv('LEFT2', '2'); os.umask(0o77); os.chdir('/')
signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGALRM, lambda *a: None)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); os.nice(5)
sys.setrecursionlimit(500); sys.path.append('/left'); sys.meta_path.append(None); sys.path_hooks.clear()
sys.excepthook = print; gc.disable(); locale.setlocale(locale.LC_ALL, 'C')
files = [open('/dev/null') for _ in range(9)]; os.set_inheritable(files[0].fileno(), True)
open(os.path.join(os.environ['TMPDIR'], 'left'), 'w').close()
threading.Thread(target=threading.Event().wait, daemon=True).start()
if os.fork() == 0: os.setsid(); threading.Event().wait()
print('spoilt', flush=True)
";

pub(crate) async fn a_run_leaves_nothing_in_the_next(mut fixture: Fixture) {
    let before = fixture.run_args("look", &["-c", LOOK]).await;
    assert_eq!(before.exit(), (0, 0, ""), "{before:?}");
    for round in 0..3 {
        let id = format!("spoil-{round}");
        assert_eq!(fixture.run_args(&id, &["-c", SPOIL]).await.stdout(), "spoilt\nat exit\n");
        let after = fixture.run_args(&format!("look-{round}"), &["-c", LOOK]).await;
        assert_eq!(after.stdout(), before.stdout());
    }
    let random = "import random, uuid, tempfile\n\
                  print(random.random(), uuid.uuid4(), tempfile.gettempdir(), tempfile.mktemp()[-8:])";
    let first = fixture.run_args("random-1", &["-c", random]).await.stdout();
    let second = fixture.run_args("random-2", &["-c", random]).await.stdout();
    for (first, second) in first.split(' ').zip(second.split(' ')) {
        assert_ne!(first, second, "no state is shared");
    }
}

impl Fixture {
    /// Health as soon as it is what it must become.
    async fn health_until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let health = self.runtime.health(HealthRequest {}).await.unwrap().into_inner();
            assert_eq!(health.healthy, health.message.is_empty(), "{health:?}");
            if wanted(&health.message) {
                return health.message;
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn what_is_preloaded_is_there(_: Fixture) {
    let args = ["--preload", "xml.dom, decimal", "--preload=socket"];
    let mut fixture = Fixture::start_with(Language::Python, &args).await;
    let code = "import sys; wanted = {'xml.dom', 'decimal', 'socket', 'json', 'ctypes'}\n\
                print(sorted(wanted & set(sys.modules)))\n\
                import socket, _socket; print(issubclass(socket.socket, _socket.socket))";
    let seen = fixture.run_args("a", &["-c", code]).await;
    assert_eq!(seen.stdout(), "['decimal', 'socket', 'xml.dom']\nTrue\n");
    fixture.health_until(str::is_empty).await;
}

pub(crate) async fn without_an_interpreter_health_says_what_to_do(_: Fixture) {
    let cases = [
        (["--python", "/nowhere/python3"], "--python /nowhere/python3: there is no such program"),
        (["--preload", "json,no_such"], "--preload no_such: ModuleNotFoundError: No module named"),
        (["--python", "true"], "true ended before it was ready"),
    ];
    for (args, expected) in cases {
        let mut fixture = Fixture::start_with(Language::Python, &args).await;
        let message = fixture.health_until(|message| message.contains(expected)).await;
        let seen = fixture.run_args("a", &["-c", "1"]).await;
        assert_eq!((seen.exit(), seen.started), ((0, 0, message.as_str()), 0));
    }
}

pub(crate) async fn a_killed_interpreter_is_replaced_and_its_runs_go_on(mut fixture: Fixture) {
    let wait = "import os, threading; print(os.getpid()); threading.Event().wait()";
    let run = fixture.start_and_read_pid("a", &["-c", wait]).await;
    let process = handle(run).unwrap();
    let interpreter = parent(parent(run));
    let ended = handle(interpreter).unwrap();
    kill(interpreter);
    wait_for_end(ended).await;
    for id in ["b", "c"] {
        assert_eq!(fixture.run_args(id, &["print(7)"]).await.stdout(), "7\n");
    }
    fixture.health_until(str::is_empty).await;
    let cancel = CancelRequest { id: "a".to_owned() };
    fixture.runtime.cancel(cancel).await.unwrap();
    wait_for_end(process).await;
}

/// A virtual environment with a module that is seeded at its import, as numpy is, and one that remembers a directory.
fn virtual_environment() -> PathBuf {
    let name = format!("krt-venv-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let minor = std::process::Command::new("/usr/bin/python3")
        .args(["-c", "import sys; print(sys.version_info[1])"])
        .output()
        .unwrap();
    let minor = String::from_utf8(minor.stdout).unwrap();
    let packages = directory.join(format!("lib/python3.{}/site-packages", minor.trim()));
    std::fs::create_dir_all(packages.join("numpy")).unwrap();
    std::fs::create_dir_all(directory.join("bin")).unwrap();
    std::fs::write(directory.join("pyvenv.cfg"), "home = /usr/bin\n").unwrap();
    let python = directory.join("bin/python3");
    std::os::unix::fs::symlink("/usr/bin/python3", &python).unwrap();
    let random = "import os\nstate = 'import'\ndef seed():\n    global state\n    state = os.urandom(9).hex()\n";
    for (file, content) in [
        ("numpy/__init__.py", "from numpy import random\n"),
        ("numpy/random.py", random),
        ("early.py", "import tempfile\ntempfile.gettempdir()\n"),
    ] {
        std::fs::write(packages.join(file), content).unwrap();
    }
    directory
}

pub(crate) async fn what_imports_took_from_their_surroundings_is_taken_anew(_: Fixture) {
    let directory = virtual_environment();
    let python = directory.join("bin/python3").display().to_string();
    let args = ["--python", &python, "--preload", "numpy,early"];
    let mut fixture = Fixture::start_with(Language::Python, &args).await;
    let code = "import os, sys, numpy, tempfile\n\
                print(sys.prefix, tempfile.gettempdir() == os.environ['TMPDIR'], numpy.random.state)";
    let first = fixture.run_args("a", &["-c", code]).await.stdout();
    let second = fixture.run_args("b", &["-c", code]).await.stdout();
    let start = format!("{} True ", directory.display());
    assert!(first.starts_with(&start) && !first.contains("import"), "{first}");
    assert!(second.starts_with(&start) && second != first, "{second}");
    std::fs::remove_dir_all(directory).unwrap();
}

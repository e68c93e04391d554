//! Python: what is executed, and that it is as `python3` itself would.

use crate::fixture::{Fixture, Language, Seen, request};
use kruntimes_proto::executor::v1::ExecuteRequest;

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
    let scripts = [
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
    ];
    let mut differences = Vec::new();
    let mut free = Fixture::start_with(Language::Python, &["--isolation", "none"]).await;
    for (number, code) in scripts.into_iter().enumerate() {
        let id = format!("run-{number}");
        // Its semaphores are files that all Runs of a machine would share.
        let fixture = if code.contains("multiprocessing") { &mut free } else { &mut fixture };
        let seen = fixture.run_script(&id, code, &[]).await;
        let dir = fixture.workspace().join(&id);
        let own = std::process::Command::new("/usr/bin/python3")
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
        let ours = (text(&seen.stdout), text(&seen.stderr), exit_code, own_signal);
        let theirs = (text(&own.stdout), text(&own.stderr), expected, signal.unwrap_or(0));
        if ours != theirs {
            differences.push(format!("{code}\n  ours: {ours:?}\n  own:  {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

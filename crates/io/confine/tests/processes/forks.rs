//! Commands of a fork server: a Python interpreter that executes its first argument.

use super::{
    DAEMON, command, finish, first_number, is_gone, parent, read_line, reports, started, wait_for,
    watch,
};
use kruntimes_confine::{Child, Command, End, ForkServer, PYTHON, SpawnError, Stage, Zygote};
use rustix::process::{Pid, Signal};
use std::ffi::CString;

pub(super) const CASES: &[super::Case] = &[
    ("forks::a_fork_is_a_process_as_any_other", a_fork_is_a_process_as_any_other),
    ("forks::ends_are_reported", ends_are_reported),
    ("forks::one_fork_leaves_nothing_to_the_next", one_fork_leaves_nothing_to_the_next),
    ("forks::secrets_go_with_their_fork", secrets_go_with_their_fork),
    ("forks::large_commands_and_bad_directories", large_commands_and_bad_directories),
    ("forks::a_daemon_is_gone_at_the_end", a_daemon_is_gone_at_the_end),
    ("forks::a_dropped_line_kills", a_dropped_line_kills),
    ("forks::a_killed_supervisor_leaves_nothing", a_killed_supervisor_leaves_nothing),
    ("forks::a_stopped_supervisor_can_be_abandoned", a_stopped_supervisor_can_be_abandoned),
    ("forks::a_killed_fork_server_lets_its_forks_live", a_killed_fork_server_lets_its_forks_live),
    (
        "forks::a_second_fork_server_takes_the_place_of_the_first",
        a_second_fork_server_takes_the_place_of_the_first,
    ),
    ("forks::what_is_no_fork_server_ends", what_is_no_fork_server_ends),
];

pub(super) struct Server<'a> {
    zygote: &'a Zygote,
    forks: ForkServer,
}

/// Runs the first argument as code, with all in `args`; the end of the code is the end of the process.
const RUN: &str = "
program, args = serve('ready')
sys.stdout.reconfigure(line_buffering=True)
exec(args[1])
";

impl<'a> Server<'a> {
    pub(super) fn start(zygote: &'a Zygote) -> Self {
        let script = format!("{PYTHON}{RUN}");
        let forks =
            ForkServer::start(zygote, &command(&["/usr/bin/env", "python3", "-c", &script]))
                .unwrap();
        wait_for(&forks);
        assert_eq!(forks.receive().unwrap().as_deref(), Some("ready"));
        Self { zygote, forks }
    }

    pub(super) fn spawn(&self, command: &Command) -> Child {
        self.forks.spawn(self.zygote, command).unwrap()
    }

    fn python(&self, code: &str) -> Child {
        self.spawn(&command(&["python3", code]))
    }

    fn run(&self, code: &str) -> (String, End) {
        let (output, end) = finish(self.python(code));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        (String::from_utf8(output.stdout).unwrap(), end)
    }
}

pub(super) fn a_fork_is_a_process_as_any_other(zygote: &Zygote) {
    let server = Server::start(zygote);
    let code = "print(os.listdir('/proc/self/fd'), os.readlink('/proc/self/fd/0'), os.getcwd())
print(sorted(os.environb.items()), args[2:], os.getsid(0) == os.getpid(), threading.active_count())
print([line for line in open('/proc/self/status') if line[:6] in ('NoNewP', 'SigBlk', 'SigCgt')])";
    let code = format!("import threading\n{code}");
    let mut command = command(&["python3", &code, "a b", ""]);
    command.working_dir = c"/usr".to_owned();
    command.env = vec![c"B=2".to_owned(), c"A= x\ny".to_owned()];
    let (output, end) = finish(server.spawn(&command));
    assert_eq!(end, End::Exited(0));
    // 3 is the directory that is read; SIGINT is Python's own.
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "['0', '1', '2', '3'] /dev/null /usr\n\
         [(b'A', b' x\\ny'), (b'B', b'2')] ['a b', ''] True 1\n\
         ['SigBlk:\\t0000000000000000\\n', 'SigCgt:\\t0000000000000002\\n', 'NoNewPrivs:\\t1\\n']\n"
    );
}

pub(super) fn ends_are_reported(zygote: &Zygote) {
    let server = Server::start(zygote);
    assert_eq!(server.run("print('x' * 3)"), ("xxx\n".to_owned(), End::Exited(0)));
    assert_eq!(server.run("sys.exit(7)").1, End::Exited(7));
    assert_eq!(server.run("os.kill(os.getpid(), 9)").1, End::Signaled(9));
    let child = server.python("import time; print('ready'); time.sleep(1000)");
    let mut out = child.stdout.try_clone().unwrap();
    assert_eq!(read_line(&mut out), "ready");
    child.control.terminate();
    assert_eq!(finish(child).1, End::Signaled(15));
}

pub(super) fn one_fork_leaves_nothing_to_the_next(zygote: &Zygote) {
    let server = Server::start(zygote);
    let look = "import json, signal
print(os.getcwd(), os.umask(0o22), json.__dict__.get('left'), signal.getsignal(signal.SIGTERM))";
    let clean = server.run(look);
    let spoil = "import json, signal, threading
json.left = 1; os.chdir('/tmp'); os.umask(0o77); os.environ['LEFT'] = '1'
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print('spoilt')";
    assert_eq!(server.run(spoil), ("spoilt\n".to_owned(), End::Exited(0)));
    assert_eq!(server.run(look), clean);
    assert_eq!(clean.0, "/ 18 None Handlers.SIG_DFL\n".replace("Handlers.SIG_DFL", "0"));
}

/// Prints each needle in this process's own memory; its own text is none.
const SCAN: &str = r"
import re
found = set()
with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as memory:
    for line in maps.read().splitlines():
        span, rights, _, _, inode, *name = line.split(None, 5)
        if inode == '0' and rights[:2] == 'rw' and name[:1] != ['[vvar]']:
            start, end = (int(edge, 16) for edge in span.split('-'))
            memory.seek(start)
            found.update(re.findall(rb'[n]eedle-[a-z]+', memory.read(end - start)))
print(sorted(found))
";

pub(super) fn secrets_go_with_their_fork(zygote: &Zygote) {
    let server = Server::start(zygote);
    for (name, count) in [("needle-small ", 1000), ("needle-large ", 5000)] {
        let mut command = command(&["python3", "print('ran')", "needle-argument"]);
        command.env.push(CString::new(format!("SECRET={}", name.repeat(count))).unwrap());
        assert_eq!(finish(server.spawn(&command)).1, End::Exited(0));
    }
    let mut command = command(&["python3", SCAN]);
    command.env.push(c"SECRET=needle-own".to_owned());
    let (output, end) = finish(server.spawn(&command));
    assert_eq!(
        (String::from_utf8(output.stdout).unwrap().as_str(), end),
        ("[b'needle-own']\n", End::Exited(0))
    );
}

pub(super) fn large_commands_and_bad_directories(zygote: &Zygote) {
    let server = Server::start(zygote);
    let long = "x".repeat(3_000_000);
    let (output, end) = finish(server.spawn(&command(&["python3", "print(len(args[2]))", &long])));
    assert_eq!((output.stdout.as_slice(), end), (&b"3000000\n"[..], End::Exited(0)));
    let homeless = Command { working_dir: c"/nowhere".to_owned(), ..command(&["python3", "1"]) };
    let errno = rustix::io::Errno::NOENT.raw_os_error();
    let end = End::NotStarted { stage: Stage::WorkingDirectory, errno };
    assert_eq!(finish(server.spawn(&homeless)).1, end);
}

pub(super) fn a_daemon_is_gone_at_the_end(zygote: &Zygote) {
    let server = Server::start(zygote);
    let code =
        format!("import subprocess; subprocess.run(['bash', '-c', {DAEMON:?}]); sys.exit(3)");
    let (output, end) = finish(server.python(&code));
    assert_eq!(end, End::Exited(3));
    assert!(is_gone(first_number(&output.stdout)));
}

pub(super) fn a_dropped_line_kills(zygote: &Zygote) {
    let server = Server::start(zygote);
    let mut child = server.python("import time; print(os.getpid()); time.sleep(1000)");
    let process = watch(read_line(&mut child.stdout).parse().unwrap()).unwrap();
    drop(child);
    wait_for(&process);
}

const SLEEPER: &str = "import subprocess, time
print(subprocess.Popen(['sleep', '1000']).pid, flush=True)";

pub(super) fn a_killed_supervisor_leaves_nothing(zygote: &Zygote) {
    let server = Server::start(zygote);
    let code = format!("{SLEEPER}; os.kill(os.getppid(), 9); time.sleep(1000)");
    let mut child = server.python(&code);
    let sleeper = read_line(&mut child.stdout).parse().unwrap();
    assert_eq!(reports(&child).last(), Some(&None));
    assert!(is_gone(sleeper));
    assert_eq!(server.run("sys.exit(4)").1, End::Exited(4), "the fork server works on");
}

pub(super) fn a_stopped_supervisor_can_be_abandoned(zygote: &Zygote) {
    let server = Server::start(zygote);
    let code = format!("{SLEEPER}; os.kill(os.getppid(), 19); print('stopped'); time.sleep(1000)");
    let mut child = server.python(&code);
    let sleeper = read_line(&mut child.stdout).parse().unwrap();
    assert_eq!(read_line(&mut child.stdout), "stopped");
    zygote.abandon(&child.control).unwrap();
    assert_eq!(reports(&child).last(), Some(&None));
    assert!(is_gone(sleeper));
}

pub(super) fn a_killed_fork_server_lets_its_forks_live(zygote: &Zygote) {
    let server = Server::start(zygote);
    let doomed = server.python("import time; time.sleep(1000)");
    let supervisor = parent(started(&doomed));
    let fork_server = parent(supervisor);
    let mut child = server.python("import time; print('up'); time.sleep(1000)");
    assert_eq!(read_line(&mut child.stdout), "up");
    let process = watch(fork_server).unwrap();
    rustix::process::pidfd_send_signal(&process, Signal::KILL).unwrap();
    wait_for(&server.forks);
    assert_eq!(server.forks.receive().unwrap(), None);
    // Its supervisors are the zygote's now: a killed one is missed, one that is told ends in order.
    rustix::process::kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    assert_eq!(reports(&doomed).last(), Some(&None));
    child.control.terminate();
    assert_eq!(finish(child).1, End::Signaled(15));
    assert_eq!(Server::start(zygote).run("sys.exit(5)").1, End::Exited(5), "there can be another");
}

pub(super) fn a_second_fork_server_takes_the_place_of_the_first(zygote: &Zygote) {
    let first = Server::start(zygote);
    let mut child = first.python("import time; print('up'); time.sleep(1000)");
    assert_eq!(read_line(&mut child.stdout), "up");
    let second = Server::start(zygote);
    wait_for(&first.forks);
    assert_eq!(first.forks.receive().unwrap(), None);
    assert_eq!(second.run("sys.exit(6)").1, End::Exited(6));
    child.control.terminate();
    assert_eq!(finish(child).1, End::Signaled(15));
}

pub(super) fn what_is_no_fork_server_ends(zygote: &Zygote) {
    let forks = ForkServer::start(zygote, &command(&["/nowhere/python3"])).unwrap();
    wait_for(&forks);
    assert_eq!(forks.receive().unwrap(), None);
    assert!(matches!(forks.spawn(zygote, &command(&["x"])), Err(SpawnError::Dead)));
}

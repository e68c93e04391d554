//! Real process trees. The zygote must fork before any thread exists, so this test has its own `main`: it starts the
//! zygote, then runs the cases one after the other.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it reports as the standard test runner does; a test may fail"
)]

#[path = "processes/aliased.rs"]
mod aliased;
#[path = "processes/confined.rs"]
mod confined;
#[path = "processes/forks.rs"]
mod forks;
#[path = "processes/hidden.rs"]
mod hidden;
#[path = "processes/limited.rs"]
mod limited;
#[path = "processes/own.rs"]
mod own;
#[path = "processes/own_changes.rs"]
mod own_changes;
#[path = "processes/own_limited.rs"]
mod own_limited;
#[path = "processes/rates.rs"]
mod rates;

use kruntimes_confine::{Allowance, Child, Command, End, Report, Stage, Zygote};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use std::ffi::CString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

type Named<'a> = (&'static str, Box<dyn Fn() + 'a>);
type Case = (&'static str, fn(&Zygote));

const CASES: &[Case] = &[
    ("exit_codes_and_signals_are_reported", exit_codes_and_signals_are_reported),
    ("output_keeps_every_byte", output_keeps_every_byte),
    ("the_environment_is_exactly_the_given_one", the_environment_is_exactly_the_given_one),
    ("no_descriptor_is_inherited", no_descriptor_is_inherited),
    ("signals_are_as_new", signals_are_as_new),
    ("limits_are_the_servers_but_no_core_is_dumped", limits_are_the_servers_but_no_core_is_dumped),
    ("a_start_that_fails_says_at_which_step", a_start_that_fails_says_at_which_step),
    ("a_command_larger_than_a_packet_starts", a_command_larger_than_a_packet_starts),
    ("a_daemon_is_gone_at_the_end", a_daemon_is_gone_at_the_end),
    ("a_stopped_child_is_gone_at_the_end", a_stopped_child_is_gone_at_the_end),
    ("termination_is_heeded", termination_is_heeded),
    ("who_ignores_termination_is_killed", who_ignores_termination_is_killed),
    ("a_dropped_line_kills", a_dropped_line_kills),
    ("a_killed_supervisor_leaves_nothing", a_killed_supervisor_leaves_nothing),
    ("a_stopped_supervisor_can_be_abandoned", a_stopped_supervisor_can_be_abandoned),
    ("a_killed_server_leaves_nothing", a_killed_server_leaves_nothing),
    ("aliased::no_mount_leads_to_a_hidden_place", aliased::no_mount_leads_to_a_hidden_place),
    ("confined::only_its_own_files", confined::only_its_own_files),
    ("confined::nothing_of_other_processes", confined::nothing_of_other_processes),
    ("confined::refused_calls", confined::refused_calls),
    ("confined::sockets", confined::sockets),
    ("confined::large_commands", confined::large_commands),
    ("confined::forks", confined::forks),
    ("limited::memory", limited::memory),
    ("limited::processes", limited::processes),
    ("limited::a_crowd_yields_to_others", limited::a_crowd_yields_to_others),
    ("limited::disk", limited::disk),
    ("hidden::memory_that_hides_counts", hidden::memory_that_hides_counts),
    ("hidden::what_cannot_be_counted_ends", hidden::what_cannot_be_counted_ends),
    ("limited::a_fork_bomb_ends", limited::a_fork_bomb_ends),
    ("limited::forks", limited::forks),
];

/// Set in the process that a case starts to kill it.
const VICTIM: &str = "KRUNTIMES_TEST_VICTIM";

fn main() -> std::process::ExitCode {
    if let Some(code) = kruntimes_confine::supervise() {
        return code.into();
    }
    if let Some(place) = std::env::var_os(aliased::PLACE) {
        return aliased::be_server(place.as_ref());
    }
    // All before there is a thread.
    let zygote = Zygote::start().unwrap();
    if std::env::var_os(VICTIM).is_some() {
        return be_victim(&zygote);
    }
    let (own, refused) = (own::Isolated::start(), own::Isolated::refused());
    let of = |(name, case): &own::Case, isolated| {
        let (name, case) = (*name, *case);
        (name, Box::new(move || case(isolated)) as Box<dyn Fn()>)
    };
    let shared = CASES
        .iter()
        .chain(forks::CASES)
        .map(|(name, case)| (*name, Box::new(|| case(&zygote)) as Box<_>));
    let all: Vec<Named<'_>> = shared
        .chain(own::CASES.iter().map(|case| of(case, &own)))
        .chain(own::REFUSED.iter().map(|case| of(case, &refused)))
        .collect();
    if std::env::args().any(|arg| arg == "--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return std::process::ExitCode::SUCCESS;
    }
    let filter: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let count = all.len();
    let chosen = all
        .into_iter()
        .filter(|(name, _)| filter.is_empty() || filter.iter().any(|f| name.contains(f)));
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in chosen {
        let ok = catch_unwind(AssertUnwindSafe(case)).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    if filter == ["rates"] {
        rates::print(&zygote, &own);
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    let left_out = count - passed - failed;
    println!(
        "test result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {left_out} filtered out"
    );
    std::process::ExitCode::from(u8::from(failed > 0))
}

fn exit_codes_and_signals_are_reported(zygote: &Zygote) {
    assert_eq!(run(zygote, "exit 0").1, End::Exited(0));
    assert_eq!(run(zygote, "exit 7").1, End::Exited(7));
    assert_eq!(run(zygote, "kill -KILL $$").1, End::Signaled(9));
    assert_eq!(run(zygote, "kill -SEGV $$").1, End::Signaled(11));
}

fn output_keeps_every_byte(zygote: &Zygote) {
    let (output, end) = run(zygote, r"printf 'a\xff\x00b'; printf '\xfe' >&2");
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"a\xff\0b"[..], &b"\xfe"[..])
    );
    assert_eq!(end, End::Exited(0));
}

fn the_environment_is_exactly_the_given_one(zygote: &Zygote) {
    let mut command = command(&["/usr/bin/env"]);
    command.env = vec![c"B=2".to_owned(), c"A=a b".to_owned()];
    let (output, _) = finish(zygote.spawn(&command).unwrap());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "B=2\nA=a b\n");
}

fn no_descriptor_is_inherited(zygote: &Zygote) {
    // 3 is the directory that ls reads.
    let (output, _) = run(
        zygote,
        "ls /proc/self/fd; readlink /proc/self/fd/0; grep NoNewPrivs /proc/self/status",
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "0\n1\n2\n3\n/dev/null\nNoNewPrivs:\t1\n"
    );
}

fn signals_are_as_new(zygote: &Zygote) {
    let (output, _) = run(zygote, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
    let masks = String::from_utf8(output.stdout).unwrap();
    let masks: Vec<_> = masks
        .lines()
        .map(|line| u64::from_str_radix(line.split_once(":\t").unwrap().1, 16).unwrap())
        .collect();
    // The C library may ignore its own two signals, 32 and 33, until it has set itself up.
    assert_eq!([masks[0], masks[1] & !0x1_8000_0000], [0, 0]);
}

fn limits_are_the_servers_but_no_core_is_dumped(zygote: &Zygote) {
    let (output, _) = run(zygote, "ulimit -c; ulimit -Hc; ulimit -n; ulimit -Hn; ulimit -f");
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let shown =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let expected = ["0", "0", &shown(own.current), &shown(own.maximum), "unlimited"].join("\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), expected);
}

fn a_start_that_fails_says_at_which_step(zygote: &Zygote) {
    let failure =
        |stage, errno: rustix::io::Errno| End::NotStarted { stage, errno: errno.raw_os_error() };
    let missing = command(&["/nowhere/x"]);
    let end = finish(zygote.spawn(&missing).unwrap()).1;
    assert_eq!(end, failure(Stage::Execute, rustix::io::Errno::NOENT));
    let homeless = Command { working_dir: c"/nowhere".to_owned(), ..command(&["/bin/bash"]) };
    let end = finish(zygote.spawn(&homeless).unwrap()).1;
    assert_eq!(end, failure(Stage::WorkingDirectory, rustix::io::Errno::NOENT));
}

fn a_command_larger_than_a_packet_starts(zygote: &Zygote) {
    let long = "x".repeat(100_000);
    let list: Vec<_> = ["/bin/bash", "-c", "echo ${#1} ${#2} ${#3}", "bash"]
        .into_iter()
        .chain(std::iter::repeat_n(long.as_str(), 3))
        .collect();
    let (output, end) = finish(zygote.spawn(&command(&list)).unwrap());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "100000 100000 100000\n");
    assert_eq!(end, End::Exited(0));
}

/// Double fork, a session of its own, every mild signal ignored, the pipes held.
const DAEMON: &str = "exec 5>&1; read -r daemon < <(trap '' TERM HUP INT; setsid bash -c 'trap \"\" TERM; echo $BASHPID; exec >&5; while :; do read -t 60 <> <(:); done' &); echo $daemon";

fn a_daemon_is_gone_at_the_end(zygote: &Zygote) {
    let child = zygote.spawn(&bash(&format!("{DAEMON}; exit 3"))).unwrap();
    let (output, end) = finish(child);
    assert_eq!(end, End::Exited(3));
    let daemon = first_number(&output.stdout);
    assert!(is_gone(daemon), "{daemon} lives");
}

fn a_stopped_child_is_gone_at_the_end(zygote: &Zygote) {
    let (output, end) = run(zygote, "sleep 1000 & echo $!; kill -STOP $!; exit 0");
    assert_eq!(end, End::Exited(0));
    assert!(is_gone(first_number(&output.stdout)));
}

fn termination_is_heeded(zygote: &Zygote) {
    // A trap waits for the end of the command that runs: short naps.
    let script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let mut child = zygote.spawn(&bash(script)).unwrap();
    assert_eq!(read_line(&mut child.stdout), "ready");
    let told = Instant::now();
    child.control.terminate();
    let (output, end) = finish(child);
    assert_eq!(
        (String::from_utf8(output.stdout).unwrap().as_str(), end),
        ("bye\n", End::Exited(5))
    );
    assert!(told.elapsed() < kruntimes_confine::TERMINATE_GRACE);
}

fn who_ignores_termination_is_killed(zygote: &Zygote) {
    let mut child = zygote
        .spawn(&bash("trap '' TERM; echo ready; while :; do read -t 60 <> <(:); done"))
        .unwrap();
    assert_eq!(read_line(&mut child.stdout), "ready");
    let told = Instant::now();
    child.control.terminate();
    let (_, end) = finish(child);
    assert_eq!(end, End::Signaled(9));
    assert!(told.elapsed() >= kruntimes_confine::TERMINATE_GRACE);
    assert!(told.elapsed() < Duration::from_secs(3));
}

fn a_dropped_line_kills(zygote: &Zygote) {
    let mut child = zygote.spawn(&bash("echo $$; exec sleep 1000")).unwrap();
    let pid = read_line(&mut child.stdout).parse().unwrap();
    let process = watch(pid).unwrap();
    drop(child);
    wait_for(&process);
}

fn a_killed_supervisor_leaves_nothing(zygote: &Zygote) {
    // The command kills its own supervisor: it runs as the same user.
    let mut child =
        zygote.spawn(&bash("sleep 1000 & echo $!; kill -KILL $PPID; exec sleep 1000")).unwrap();
    let sleeper = read_line(&mut child.stdout).parse().unwrap();
    // It may be killed before it said that it started.
    assert_eq!(reports(&child).last(), Some(&None));
    assert!(is_gone(sleeper));
    assert_eq!(run(zygote, "exit 4").1, End::Exited(4), "the zygote works on");
}

fn a_stopped_supervisor_can_be_abandoned(zygote: &Zygote) {
    let mut child = zygote.spawn(&bash("kill -STOP $PPID; echo $$; exec sleep 1000")).unwrap();
    let pid = read_line(&mut child.stdout).parse().unwrap();
    zygote.abandon(&child.control).unwrap();
    assert_eq!(reports(&child).last(), Some(&None));
    assert!(is_gone(pid));
}

fn a_killed_server_leaves_nothing(_: &Zygote) {
    let me = std::env::current_exe().unwrap();
    let mut server = std::process::Command::new(me)
        .env(VICTIM, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let processes: Vec<_> =
        (0..3).map(|_| watch(lines.next().unwrap().unwrap().parse().unwrap()).unwrap()).collect();
    server.kill().unwrap();
    server.wait().unwrap();
    processes.iter().for_each(wait_for);
}

/// Starts a daemon, says who lives (daemon, supervisor, zygote) and goes on until it is killed.
fn be_victim(zygote: &Zygote) -> std::process::ExitCode {
    let script = format!("{DAEMON}; exec sleep 1000");
    let mut child = zygote.spawn(&bash(&script)).unwrap();
    println!("{}", read_line(&mut child.stdout));
    let supervisor = parent(started(&child));
    println!("{supervisor}\n{}", parent(supervisor));
    reports(&child);
    std::process::ExitCode::SUCCESS
}

fn started(child: &Child) -> i32 {
    match reports_until(child, 1).pop() {
        Some(Some(Report::Started(pid))) => pid,
        other => panic!("{other:?}"),
    }
}

struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn command(args: &[&str]) -> Command {
    let args: Vec<_> = args.iter().map(|arg| CString::new(*arg).unwrap()).collect();
    Command {
        program: args[0].clone(),
        working_dir: c"/".to_owned(),
        args,
        env: vec![c"PATH=/usr/local/bin:/usr/bin:/bin".to_owned()],
        confinement: None,
        allowance: Allowance::default(),
    }
}

fn bash(script: &str) -> Command {
    command(&["/bin/bash", "-c", script])
}

fn run(zygote: &Zygote, script: &str) -> (Output, End) {
    finish(zygote.spawn(&bash(script)).unwrap())
}

/// Waits for the end first: nothing in these tests prints more than a pipe holds.
fn finish(mut child: Child) -> (Output, End) {
    let reports = reports(&child);
    let Some(Some(Report::Ended(end))) = reports.last() else { panic!("{reports:?}") };
    (Output { stdout: rest(&mut child.stdout), stderr: rest(&mut child.stderr) }, *end)
}

fn reports(child: &Child) -> Vec<Option<Report>> {
    reports_until(child, usize::MAX)
}

fn reports_until(child: &Child, count: usize) -> Vec<Option<Report>> {
    let mut reports = Vec::new();
    while reports.len() < count && !matches!(reports.last(), Some(None | Some(Report::Ended(_)))) {
        wait_for(&child.control);
        reports.push(child.control.receive().unwrap());
    }
    reports
}

/// Everything that is left in a pipe. The last to hold its other end may be about to close it.
fn rest(pipe: &mut OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = std::fs::File::from(pipe.try_clone().unwrap()).read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    bytes
}

fn read_line(pipe: &mut OwnedFd) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        wait_for(&*pipe);
        match rustix::io::read(&*pipe, &mut byte).unwrap() {
            1 if byte[0] != b'\n' => line.push(byte[0]),
            _ => return String::from_utf8(line).unwrap(),
        }
    }
}

fn first_number(output: &[u8]) -> i32 {
    String::from_utf8_lossy(output).lines().next().unwrap().parse().unwrap()
}

fn watch(pid: i32) -> rustix::io::Result<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty())
}

fn is_gone(pid: i32) -> bool {
    watch(pid).is_err()
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

fn wait_for(fd: &impl AsFd) {
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut fds, Some(&limit)).unwrap(), 1, "nothing within 10 s");
}

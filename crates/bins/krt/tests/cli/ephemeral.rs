//! `krt run --local` without a running home: one of its own that leaves nothing behind.

use crate::support::{User, collect, descendants, ends, processes_with, read_until, send};
use rustix::process::Signal;
use std::io::BufReader;
use std::process::{Child, ChildStdout, Stdio};

#[test]
fn hello_is_all_that_is_printed_and_nothing_stays() {
    let user = User::new();
    let ended = user.run(&[
        "run",
        "--local",
        "-f",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/hello.yaml"),
    ]);
    ended.expect(0);
    assert_eq!(ended.out(), "hello\n");
    assert_eq!(ended.stderr, "");
    assert!(user.temporary_is_empty());
    assert!(!user.path("data").exists());
}

/// Starts a Run of three processes, and waits until it has begun.
fn sleeper(user: &User) -> (Child, BufReader<ChildStdout>) {
    let script = "sleep 1000 & setsid sleep 1000 & echo begun; wait";
    let mut command = user.krt(&["run", "--local", "--", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut stdout, |line| !line.is_empty());
    (child, stdout)
}

#[test]
fn sigint_cancels_the_run_and_nothing_stays() {
    let user = User::new();
    let (child, _stdout) = sleeper(&user);
    let processes = descendants(child.id());
    assert!(processes.len() >= 5, "two of the pod and three of the Run: {}", processes.len());
    send(&child, Signal::INT);
    let ended = collect(child);
    ended.expect(130);
    assert!(
        ended.stderr.contains(" Cancelled (Cancelled): cancelled by user after "),
        "{}",
        ended.stderr
    );
    for (pid, process) in &processes {
        assert!(ends(process), "process {pid} stayed");
    }
    assert!(user.temporary_is_empty());
}

#[test]
fn sigkill_leaves_no_process_and_no_directory() {
    let user = User::new();
    let (mut child, _stdout) = sleeper(&user);
    let processes = descendants(child.id());
    assert!(processes.len() >= 5, "two of the pod and three of the Run: {}", processes.len());
    let janitor = processes_with(user.temporary().to_str().unwrap());
    assert!(!janitor.is_empty() && !user.temporary_is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    for (pid, process) in processes.iter().chain(&janitor) {
        assert!(ends(process), "process {pid} stayed");
    }
    assert!(user.temporary_is_empty());
}

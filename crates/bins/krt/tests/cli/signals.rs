//! What signals to `krt run` do to the Run's own processes.

use crate::support::{collect, ends, process_of_run, read_until, send, shared};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

#[test]
fn sigterm_ends_the_process_of_the_run() {
    let mut command = shared().krt(&["run", "--", "echo begun; exec sleep 1000.0001"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut stdout, |line| !line.is_empty());
    let run = process_of_run("1000.0001", &child);
    send(&child, Signal::TERM);
    collect(child).expect(130);
    assert!(ends(&run));
}

#[test]
fn a_second_sigint_leaves_at_once() {
    // It ignores SIGTERM: only the SIGKILL 2 s later ends it.
    let script = "trap '' TERM; echo begun; while :; do sleep 1000.0002; done";
    let mut command = shared().krt(&["run", "-v", "--", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut stdout, |line| !line.is_empty());
    let run = process_of_run("1000.0002", &child);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    send(&child, Signal::INT);
    let mut line = String::new();
    while !line.contains("once more leaves at once") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "krt ended without a word");
    }
    send(&child, Signal::INT);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with(" was asked to cancel; its end was not awaited\n"), "{rest}");
    collect(child).expect(130);
    assert!(ends(&run), "the Run is cancelled all the same");
}

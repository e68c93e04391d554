//! `krt run`: output, exit codes and signals.

use crate::support::{collect, finish_with_input, read_until, send, shared};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

#[test]
fn two_arguments_are_a_command_and_keep_their_blanks() {
    let ended = shared().run(&["run", "--", "echo", "a  b"]);
    ended.expect(0);
    assert_eq!(ended.out(), "a  b\n");
    assert_eq!(ended.stderr, "");
}

#[test]
fn one_argument_is_a_script_and_its_exit_code_is_krts() {
    let ended = shared().run(&["run", "--", "echo out; echo err >&2; exit 7"]);
    ended.expect(7);
    assert_eq!(ended.out(), "out\n");
    let (own, line) = ended.stderr.split_once('\n').unwrap();
    assert_eq!(own, "err");
    assert!(
        line.starts_with("run-") && line.contains(" Failed (RuntimeError): exit status 7 after "),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn any_bytes_come_out_as_they_went_in() {
    let ended = shared().run(&["run", "--", r"printf '\377\000\r\nx'; printf '\200' >&2"]);
    ended.expect(0);
    assert_eq!(ended.stdout, b"\xff\0\r\nx");
    let all = shared().run(&["run", "--", "head -c 1048576 /dev/zero | tr '\\0' x"]);
    assert_eq!(all.expect(0).stdout, vec![b'x'; 1 << 20]);
    assert_eq!(all.stderr, "");
    let more = shared().run(&["run", "--", "head -c 1048579 /dev/zero | tr '\\0' x"]);
    assert_eq!(more.expect(0).stdout, all.stdout);
    assert_eq!(
        more.stderr,
        "3 bytes of output were thrown away: a Run keeps the first 1 MiB of each stream\n"
    );
}

#[test]
fn a_file_or_stdin_is_a_script_with_arguments_and_an_environment() {
    let script = b"#!/bin/bash\necho \"$WHO: $1, $2\"\n";
    let mut command = shared().krt(&[
        "run",
        "-f",
        "-",
        "--env",
        "WHO=a=b",
        "--entrypoint",
        "tools/greet.sh",
        "--",
        "x y",
        "z",
    ]);
    let ended = finish_with_input(&mut command, script);
    ended.expect(0);
    assert_eq!(ended.out(), "a=b: x y, z\n");
}

#[test]
fn a_timeout_is_124() {
    let ended = shared().run(&["run", "--timeout", "1s", "--", "echo before; sleep 1000"]);
    ended.expect(124);
    assert_eq!(ended.out(), "before\n");
    assert!(ended.stderr.contains(" Timeout (Timeout): timeout after 1s\n"), "{}", ended.stderr);
}

#[test]
fn output_is_live_and_sigterm_cancels() {
    let mut command = shared().krt(&["run", "-v", "--", "echo begun; exec sleep 1000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut stdout, |line| !line.is_empty());
    send(&child, Signal::TERM);
    let ended = collect(child);
    ended.expect(130);
    assert!(ended.stderr.contains(" Cancelled (Cancelled): cancelled by user"), "{}", ended.stderr);
}

#[test]
fn an_unknown_runtime_waits_and_says_so() {
    let mut command = shared().krt(&["run", "-v", "-r", "nowhere", "--", "true"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" waits: ") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "krt ended without saying why it waits");
    }
    assert!(line.contains("nowhere"), "{line}");
    send(&child, Signal::INT);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(" Cancelled (Cancelled): cancelled by user"), "{rest}");
    collect(child).expect(130);
}

#[test]
fn no_wait_prints_the_name_and_a_second_run_of_that_name_is_refused() {
    let manifest = "{apiVersion: kruntimes.io/v1alpha1, kind: Run, metadata: {name: twice}, spec: {runtime: bash, args: ['true']}}";
    let mut command = shared().krt(&["run", "--no-wait", "-f", "-"]);
    let ended = finish_with_input(&mut command, manifest.as_bytes());
    ended.expect(0);
    assert_eq!(ended.out(), "run.kruntimes.io/twice\n");
    let again = shared().apply(manifest);
    again.expect(125);
    assert_eq!(
        again.stderr,
        "error: Run \"twice\" already exists in namespace \"default\": delete it, or use metadata.generateName\n"
    );
}

#[test]
fn wrong_command_lines_are_2() {
    for args in [
        &["run"][..],
        &["run", "--timeout", "soon", "--", "true"],
        &["run", "--env", "novalue", "--", "true"],
        &["run", "-o", "json", "--", "true"],
        &["run", "--wait", "--no-wait", "--", "true"],
        &["run", "--frobnicate"],
        &["frobnicate"],
    ] {
        shared().run(args).expect(2);
    }
}

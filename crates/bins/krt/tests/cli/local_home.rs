//! `krt local`: one home per data directory, durable, with one clear sentence when it can't be.

use crate::support::{User, finish, shared};
use rustix::process::Signal;
use std::net::TcpListener;

#[test]
fn a_home_keeps_its_state_over_a_restart_and_stops_by_down_and_sigterm() {
    let user = User::new();
    let mut up = user.up(&[]);
    let hello = user.write(
        "kept.yaml",
        "{apiVersion: kruntimes.io/v1alpha1, kind: Run, metadata: {name: kept}, spec: {runtime: bash, args: [echo, kept]}}",
    );
    assert_eq!(user.run(&["run", "-f", &hello]).expect(0).out(), "kept\n");
    user.run(&["local", "down"]).expect(0);
    assert_eq!(up.ended(), Some(0));

    let up = user.up(&[]);
    let path = user.run(&["local", "kubeconfig"]);
    let kept =
        user.run(&["--kubeconfig", path.expect(0).out().trim_end(), "get", "kept", "-o", "json"]);
    let kept: serde_json::Value = serde_json::from_str(kept.expect(0).out()).unwrap();
    assert_eq!(kept["status"]["phase"], "Succeeded");
    assert_eq!(user.run(&["run", "--", "echo", "again"]).expect(0).out(), "again\n");
    assert_eq!(up.stop(Signal::TERM), Some(0));
    let down = user.run(&["local", "down"]);
    assert!(
        down.expect(125).stderr.starts_with("error: no local home runs on "),
        "{}",
        down.stderr
    );
}

#[test]
fn two_homes_live_beside_each_other_and_one_directory_has_one() {
    let user = User::new();
    let up = user.up(&["--port", "0"]);
    let second = user.run(&["local", "up"]);
    second.expect(125);
    assert!(second.stderr.contains("already runs on"), "{}", second.stderr);
    assert_eq!(second.stderr.lines().count(), 1);

    let other = shared().kubeconfig();
    let created = finish(user.krt(&["--local", "run", "--", "true"]).env("KUBECONFIG", &other));
    created.expect(0);
    let count = |list: &str| list.lines().count();
    assert_eq!(count(user.run(&["list", "-o", "name"]).out()), 1);
    finish(user.krt(&["run", "--", "true"]).env("KUBECONFIG", &other)).expect(0);
    assert_eq!(
        count(user.run(&["list", "-o", "name"]).out()),
        1,
        "$KUBECONFIG goes before a running home"
    );
    assert_eq!(up.stop(Signal::INT), Some(0));
}

#[test]
fn without_any_home_the_three_ways_are_said() {
    let user = User::new();
    let ended = user.run(&["run", "--", "true"]);
    ended.expect(125);
    for way in ["--local", "krt local up", "KUBECONFIG"] {
        assert!(ended.stderr.contains(way), "{}", ended.stderr);
    }
    let ended = user.run(&["--local", "list"]);
    assert!(ended.expect(125).stderr.contains("krt local up"), "{}", ended.stderr);
}

#[track_caller]
fn refused(user: &User, args: &[&str], parts: &[&str]) {
    let ended = user.run(&[&["local", "up"], args].concat());
    ended.expect(125);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in {}", ended.stderr);
    }
}

#[test]
fn a_taken_port_is_named() {
    let user = User::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&user, &["--port", &port], &[&port]);
}

#[test]
fn a_data_directory_that_is_none_is_named() {
    let user = User::new();
    let file = user.write("file", "");
    refused(&user, &["--data-dir", &file], &[&file]);
}

#[test]
fn a_corrupt_store_is_named() {
    let user = User::new();
    assert_eq!(user.up(&[]).stop(Signal::TERM), Some(0));
    let dir = user.path("data/kruntimes");
    let store = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "redb"))
        .unwrap();
    std::fs::write(&store, "this is no store\n".repeat(1000)).unwrap();
    refused(&user, &[], &[store.to_str().unwrap()]);
}

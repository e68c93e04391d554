//! `krt local up --detach`, `status`, `reset`, and `krt doctor`.

use crate::support::{Ended, User, collect, finish};
use serde_json::Value;
use std::process::{ChildStdin, Stdio};

/// Starts a home in the background; it ends with this test, however that ends.
fn detach(user: &User) -> (Ended, Option<ChildStdin>) {
    let mut command = user.krt(&["local", "up", "--detach"]);
    let mut child = command
        .env("KRUNTIMES_LIFELINE", "stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lifeline = child.stdin.take();
    (collect(child), lifeline)
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(ended.out()).unwrap()
}

#[test]
fn a_home_in_the_background_is_up_until_it_is_stopped() {
    let user = User::new();
    let (up, _lifeline) = detach(&user);
    let words = up.expect(0).out();
    assert!(
        words.starts_with("The local home is ready. To use it:\n\n  export KUBECONFIG="),
        "{words}"
    );
    assert!(words.contains("`krt local down` stops it; its log is "), "{words}");
    assert_eq!(up.stderr, "");
    assert_eq!(user.run(&["run", "--", "echo", "hi"]).expect(0).out(), "hi\n");

    let status = user.run(&["local", "status", "-o", "json"]);
    let status = json(status.expect(0));
    assert_eq!(status["state"], "up");
    // The pod of Python is not waited for.
    assert_eq!(status["pods"]["total"], 3);
    assert!(status["pods"]["ready"].as_u64() >= Some(2), "{status}");
    assert_eq!(status["runs"], serde_json::json!({"Succeeded": 1}));
    assert_eq!(status["server"], format!("https://127.0.0.1:{}", status["port"]));
    assert!(status["diskBytes"].as_u64().unwrap() > 4096, "{status}");
    let pid = status["pid"].as_u64().unwrap();
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(String::from_utf8_lossy(&line).contains("--detached"), "{line:?}");
    let table = user.run(&["local", "status"]);
    assert!(table.expect(0).out().contains("Runs:        1 (1 Succeeded)\n"), "{}", table.out());

    let second = user.run(&["local", "up", "--detach"]);
    let runs = format!("(pid {pid})");
    assert!(second.expect(125).stderr.contains(&runs), "{}", second.stderr);
    assert_eq!(second.stderr.lines().count(), 1);
    let reset = user.run(&["local", "reset", "--yes"]);
    assert!(reset.expect(125).stderr.contains(&runs), "{}", reset.stderr);

    user.run(&["local", "down"]).expect(0);
    let status = user.run(&["local", "status", "-o", "json"]);
    assert_eq!(json(status.expect(1))["state"], "down");
}

#[test]
fn a_reset_deletes_what_is_a_homes_and_nothing_else() {
    let user = User::new();
    let dir = user.path("data/kruntimes");
    assert!(user.run(&["local", "reset", "--yes"]).expect(0).stderr.contains("nothing to delete"));
    assert!(!dir.exists());
    let (up, _lifeline) = detach(&user);
    up.expect(0);
    user.run(&["run", "--", "true"]).expect(0);
    user.run(&["local", "down"]).expect(0);
    std::fs::write(dir.join("notes"), "mine").unwrap();
    std::os::unix::fs::symlink(user.temporary(), dir.join("link")).unwrap();
    let names = || {
        let entries = std::fs::read_dir(&dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = names();
    let asked = user.run(&["local", "reset"]);
    assert!(asked.expect(2).stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(names(), before);
    let reset = user.run(&["local", "reset", "--yes"]);
    assert!(
        reset.expect(0).stderr.ends_with("Left what is not krt's: link, notes\n"),
        "{}",
        reset.stderr
    );
    assert_eq!(names(), ["link", "notes"]);
    std::fs::remove_file(dir.join("notes")).unwrap();
    std::fs::remove_file(dir.join("link")).unwrap();

    let (again, _lifeline) = detach(&user);
    again.expect(0);
    assert_eq!(user.run(&["list", "-o", "name"]).expect(0).out(), "", "the Run of before is gone");
    user.run(&["local", "down"]).expect(0);
    user.run(&["local", "reset", "-y"]).expect(0);
    assert!(!dir.exists(), "an empty directory goes too");
}

/// Name and state of each line.
fn states(examination: &Value) -> Vec<(&str, &str)> {
    let checks = examination["checks"].as_array().unwrap();
    for check in checks {
        assert_eq!(check["state"] == "ok", check.get("remedy").is_none(), "{check}");
    }
    checks
        .iter()
        .map(|check| (check["name"].as_str().unwrap(), check["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_doctor_names_what_is_missing_and_only_then_says_no() {
    let user = User::new();
    let well = user.run(&["doctor", "-o", "json"]);
    let well = json(well.expect(0));
    let states_of_all = states(&well);
    for name in ["kernel", "pidfd", "bash", "data directory", "disk", "kubeconfig"] {
        assert!(states_of_all.contains(&(name, "ok")), "{name}: {well}");
    }
    for name in ["landlock", "user namespaces", "cgroup", "seccomp", "git", "python3", "ports"] {
        assert!(states_of_all.iter().any(|(known, _)| *known == name), "{name}: {well}");
    }
    let mut poor = user.krt(&["doctor", "-o", "json", "--kubeconfig", "/missing"]);
    let poor = finish(poor.env("PATH", "/nowhere"));
    let poor = json(poor.expect(1));
    assert_eq!(poor["ok"], false);
    for expected in [("bash", "missing"), ("git", "degraded"), ("kubeconfig", "missing")] {
        assert!(states(&poor).contains(&expected), "{expected:?}: {poor}");
    }
    let table = user.run(&["doctor"]);
    assert_eq!(table.out().lines().count(), states_of_all.len());
}

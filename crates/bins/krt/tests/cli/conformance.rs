//! `krt runtime conformance` on servers that it starts.

use crate::support::User;
use serde_json::Value;

/// This krt as the Runtime Server for bash.
fn bash() -> String {
    format!("{} serve runtime-bash", env!("CARGO_BIN_EXE_krt"))
}

fn lines(user: &User, command: &str, only: &str, code: i32) -> Vec<(String, String, String)> {
    let args = ["runtime", "conformance", "--only", only, "-o", "json", "--command", command];
    let report: Value = serde_json::from_str(user.run(&args).expect(code).out()).unwrap();
    assert_eq!(report["ok"], Value::Bool(code == 0));
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let lines = report["rules"].as_array().unwrap().iter();
    lines.map(|line| (text(line, "rule"), text(line, "result"), text(line, "why"))).collect()
}

#[test]
fn our_server_for_bash_keeps_every_rule() {
    let user = User::new();
    for (rule, result, why) in lines(&user, &bash(), "", 0) {
        assert_eq!(result, "pass", "{rule}: {why}");
    }
    assert!(user.temporary_is_empty());
}

/// The process that the kit ends leaves a server behind, which still knows all.
#[test]
fn a_server_that_outlives_its_end_is_found_out() {
    let user = User::new();
    let pid = user.path("pid");
    let left = format!(
        "setsid {} \"$@\" & echo $! >> {}; trap 'exit 0' TERM; while :; do wait; done",
        bash(),
        pid.display()
    );
    let script = user.write("server", left);
    for (only, expected) in
        [("restart/forgets", "not refused as NotFound"), ("restart/ends", "lives")]
    {
        let lines = lines(&user, &format!("bash {script}"), only, 1);
        let [(rule, result, why)] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((rule.as_str(), result.as_str()), (only, "fail"));
        assert!(why.contains(expected), "{why}");
        std::fs::read_to_string(&pid).unwrap().lines().for_each(kill);
    }
}

/// What a server says has no end, and is not kept.
#[test]
fn a_server_that_ends_says_why_behind_all_else() {
    let user = User::new();
    let command = "sh -c 'head -c 9000000 /dev/zero | tr \\\\0 x; echo no disk; exit 3'";
    let ended = user.run(&["runtime", "conformance", "--command", command]);
    ended.expect(125);
    let line = ended.stderr.trim();
    assert!(line.ends_with("xno disk") && line.contains("exit status: 3"), "{line}");
    assert!(line.len() < 2200, "{}", line.len());
}

fn kill(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // It is its own group's leader, unless setsid had to fork.
    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
}

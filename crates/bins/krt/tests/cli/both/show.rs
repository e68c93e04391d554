//! `krt get`, `list`, `logs`, `cancel`, `runtime` beside the shared home.

use crate::support::{collect, finish_with_input, read_until, shared};
use std::io::BufReader;
use std::process::Stdio;

fn create(name: &str, script: &str) {
    let manifest = serde_json::json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
        "spec": {"runtime": "bash", "args": [script]},
    });
    finish_with_input(&mut shared().krt(&["run", "-f", "-"]), manifest.to_string().as_bytes());
}

#[test]
fn a_run_is_shown_for_people_and_programs() {
    create("shown", "echo hi; exit 3");
    let table = shared().run(&["list", "--phase", "failed", "--runtime", "bash"]);
    table.expect(0);
    let mut lines = table.out().lines();
    assert!(lines.next().unwrap().starts_with("NAME"), "{}", table.out());
    let row = lines.find(|line| line.starts_with("shown ")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[..4], ["shown", "default", "bash", "Failed"]);
    assert!(cells[5].ends_with('s'), "{row}");
    assert!(!shared().run(&["list", "--phase", "Timeout"]).out().contains("shown "));

    let details = shared().run(&["get", "shown"]);
    assert!(details.out().contains("Exit Code:        3\n"), "{}", details.out());
    let json: serde_json::Value =
        serde_json::from_str(shared().run(&["get", "shown", "-o", "json"]).out()).unwrap();
    assert_eq!(json["kind"], "Run");
    assert_eq!(json["apiVersion"], "kruntimes.io/v1alpha1");
    assert_eq!(json["status"]["exitCode"], 3);
    let yaml = shared().run(&["get", "shown", "-o", "yaml"]);
    assert!(
        yaml.out().starts_with("apiVersion: kruntimes.io/v1alpha1\nkind: Run\n"),
        "{}",
        yaml.out()
    );
    assert!(yaml.out().contains("\n  phase: Failed\n"), "{}", yaml.out());
    assert_eq!(shared().run(&["get", "shown", "-o", "name"]).out(), "run.kruntimes.io/shown\n");
    let all: serde_json::Value =
        serde_json::from_str(shared().run(&["list", "-A", "-o", "json"]).out()).unwrap();
    assert!(
        all["items"].as_array().unwrap().iter().any(|item| item["metadata"]["name"] == "shown")
    );
}

#[test]
fn stages_of_a_run_are_in_order() {
    create("staged", "true");
    let json: serde_json::Value =
        serde_json::from_str(shared().run(&["get", "staged", "-o", "json"]).out()).unwrap();
    let stages =
        ["submitted", "seen", "scheduled", "received", "prepared", "started", "exited", "finished"];
    let times: Vec<&str> = stages
        .iter()
        .map(|stage| {
            json["status"]["timeline"][stage]
                .as_str()
                .unwrap_or_else(|| panic!("no {stage} in {json}"))
        })
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(
        times.iter().all(|time| time.len() == "2026-01-01T00:00:00.000000Z".len()),
        "{times:?}"
    );
}

#[test]
fn logs_are_there_after_the_end_and_follow_a_running_one() {
    create("logged", "printf 'a\\nb\\nc\\n'; echo err >&2");
    let all = shared().run(&["logs", "logged"]);
    all.expect(0);
    assert_eq!((all.out(), all.stderr.as_str()), ("a\nb\nc\n", "err\n"));
    assert_eq!(shared().run(&["logs", "--tail", "2", "logged"]).out(), "b\nc\n");

    let name = shared().run(&[
        "run",
        "--no-wait",
        "--",
        "echo one; while [ ! -e go ]; do sleep 0.01; done; echo two",
    ]);
    let name = name.out().trim_end().rsplit_once('/').unwrap().1.to_owned();
    let mut child = shared()
        .krt(&["logs", "-f", &name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    read_until(&mut stdout, |line| line == "one");
    assert_eq!(shared().run(&["logs", &name]).out(), "one\n");
    let cancelled = shared().run(&["cancel", &name]);
    cancelled.expect(0);
    assert_eq!(cancelled.out(), format!("Cancellation requested for run {name}\n"));
    collect(child).expect(0);
}

#[test]
fn logs_of_an_attempt_have_times_and_are_json_for_programs() {
    create("timed", "printf 'a\\n{\"stream\":\"stderr\"}\\033[2K'; echo err >&2");
    let timed = shared().run(&["logs", "--timestamps", "timed"]);
    timed.expect(0);
    let (time, line) = timed.out().lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!((time.len(), line), ("2026-01-01T00:00:00.000000Z".len(), "a"));
    let json = shared().run(&["logs", "--attempt", "1", "-o", "json", "timed"]);
    json.expect(0);
    assert_eq!(json.stderr, "");
    let lines: Vec<serde_json::Value> =
        json.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut said: Vec<_> =
        lines.iter().map(|line| (line["stream"].as_str(), line["message"].as_str())).collect();
    said.sort_unstable();
    let expected =
        [("stderr", "err"), ("stdout", "a"), ("stdout", "{\"stream\":\"stderr\"}\u{1b}[2K")];
    assert_eq!(said, expected.map(|(stream, message)| (Some(stream), Some(message))));
    assert!(lines.iter().all(|line| line["attempt"] == 1 && line["time"].is_string()));
    for (flags, output) in [
        (["--since-time", "2099-01-01T00:00:00Z"], ""),
        (["--since-time", "2020-01-01T00:00:00Z"], "a\n{\"stream\":\"stderr\"}\u{1b}[2K"),
        (["--since", "1h"], "a\n{\"stream\":\"stderr\"}\u{1b}[2K"),
    ] {
        let ended = shared().run(&["logs", "timed", flags[0], flags[1]]);
        assert_eq!(ended.expect(0).out(), output, "{flags:?}");
    }
    let other = shared().run(&["logs", "--attempt", "2", "timed"]);
    assert_eq!(other.expect(125).stderr, "error: timed has no attempt 2: the newest is 1\n");
}

#[test]
fn what_a_run_wrote_beyond_its_limit_is_counted() {
    create("long", "head -c 1048579 /dev/zero | tr '\\0' x");
    let raw = shared().run(&["logs", "long"]);
    assert_eq!(raw.expect(0).out().len(), 1_048_576);
    let lost = "3 bytes of output were thrown away: a Run keeps the first 1 MiB of each stream\n";
    assert_eq!(raw.stderr, lost);
    let json = shared().run(&["logs", "-o", "json", "long"]);
    let last = json.expect(0).out().lines().last().unwrap().to_owned();
    assert!(last.ends_with(",\"attempt\":1,\"dropped_bytes\":3}"), "{last}");
}

#[test]
fn a_run_is_explained() {
    create("explained", "true");
    let story = shared().run(&["explain", "explained"]);
    let text = story.expect(0).out().to_owned();
    for part in
        ["Run:        default/explained, Runtime bash\n", "\n  your command ran ", "\n  in all "]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let waits = shared().run(&["run", "--no-wait", "--runtime", "nix", "--", "true"]);
    let name = waits.expect(0).out().trim_end().to_owned();
    let story = shared().run(&["explain", &name]);
    let text = story.expect(0).out().to_owned();
    assert!(text.contains("\nWhat it waits for:\n  RuntimeNotFound: "), "{text}");
    assert!(text.contains("\nWhat would free it:\n  Create the Runtime"), "{text}");
    shared().run(&["cancel", &name]).expect(0);
    let missing = shared().run(&["explain", "nothing-of-this-name"]);
    assert!(missing.expect(125).stderr.contains("not found"), "{}", missing.stderr);
}

#[test]
fn runtimes_are_shown() {
    let list = shared().run(&["runtime", "list"]);
    list.expect(0);
    let row = list.out().lines().find(|line| line.starts_with("bash ")).unwrap().to_owned();
    let cells: Vec<&str> = row.split_whitespace().collect();
    let [name, namespace, image, replicas, ready, port, ..] = cells[..] else { panic!("{row}") };
    assert_eq!([name, namespace, replicas, ready, port], ["bash", "default", "2", "2", "9091"]);
    assert!(image.contains("bash-runtime:"), "{image}");
    assert!(shared().run(&["runtime", "get", "bash"]).out().contains("Image:"));
}

#[test]
fn what_does_not_exist_is_one_clear_line() {
    let ended = shared().run(&["get", "no-such-run"]);
    ended.expect(125);
    assert_eq!(
        ended.stderr,
        "error: runs.kruntimes.io \"no-such-run\" not found: krt list shows what there is\n"
    );
    let ended = shared().run(&["--kubeconfig", "/nonexistent/config", "list"]);
    ended.expect(125);
    assert!(ended.stderr.contains("/nonexistent/config"), "{}", ended.stderr);
    assert_eq!(
        shared().run(&["list", "-n", "empty"]).stderr,
        "No resources found in empty namespace.\n"
    );
}

#[test]
fn version_and_completion() {
    assert_eq!(shared().run(&["version"]).out(), format!("krt {}\n", env!("CARGO_PKG_VERSION")));
    for shell in ["bash", "zsh", "fish"] {
        let script = shared().run(&["completion", shell]);
        script.expect(0);
        assert!(script.out().contains("krt"));
    }
    let typed = "source /dev/stdin; COMP_WORDS=(krt local s) COMP_CWORD=2; _krt krt s local; echo \"${COMPREPLY[@]}\"";
    let script = shared().run(&["completion", "bash"]);
    let mut bash = std::process::Command::new("bash");
    let completed = finish_with_input(bash.args(["-c", typed]), &script.stdout);
    assert_eq!(completed.expect(0).out(), "status\n");
}

//! Files in GitHub's syntax: each key's row, and what comes of a whole file.

use kruntimes_expressions::github::{KEYS, MAX_REFUSALS, Verdict, check_keys, translate};
use serde_json::{Value, json};

/// A value at a path of the table, within a file of nothing else.
fn file_with(path: &str) -> Value {
    let mut value = json!("x");
    for part in path.rsplit('.') {
        let part = if part == "*" { "any" } else { part };
        value = match part.strip_suffix("[]") {
            Some(list) => json!({list: [value]}),
            None => json!({part: value}),
        };
    }
    value
}

#[test]
fn each_refused_key_is_named_with_its_path_and_no_other_is() {
    for row in KEYS {
        let refusals = check_keys(&file_with(row.path));
        let shown: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        let path = row.path.replace('*', "any").replace("[]", "[0]");
        match row.verdict {
            Verdict::Same | Verdict::Differs(_) => assert_eq!(shown, [""; 0], "{}", row.path),
            Verdict::Refused(instead) => assert_eq!(shown, [format!("{path}: {instead}")]),
        }
    }
}

#[test]
fn all_fields_of_a_workflow_may_stand_in_a_file() {
    let file = json!({
        "template": true, "inputs": {"a": {"description": "", "type": "choice", "required": true, "default": "x", "options": ["x"]}},
        "with": {"a": "x"}, "outputs": {"o": "x"}, "finally": ["b"], "fail-fast": false, "parallelism": 3,
        "timeoutSeconds": 5, "retryPolicy": {"maxAttempts": 2, "backoff": "1s"}, "suspend": true, "approvals": ["b"],
        "cancelRequested": false, "ttlSecondsAfterFinished": 0, "reuse": {"workflow": "w", "uid": "u", "jobs": ["b"]},
        "jobs": {"b": {
            "timeoutSeconds": 5, "retryPolicy": {"maxAttempts": 2, "backoff": "1s"}, "approval": "required", "workspace": "separate",
            "strategy": {"matrix": {"os": ["a"], "include": [{"anything": {"on": 1}}]}},
            "steps": [{"name": "s", "run": "x", "args": ["y"], "timeoutSeconds": 5,
                "inputs": [{"job": "a", "step": "s", "name": "n", "path": "p"}],
                "retryPolicy": {"maxAttempts": 2, "backoff": "1s", "retryableReasons": []}}],
        }},
    });
    assert_eq!(check_keys(&file), []);
}

#[test]
fn what_nobody_knows_is_refused_with_the_nearest_name() {
    for (file, expected) in [
        (json!({"job": {}}), ["job: there is no such key: did you mean jobs?"].as_slice()),
        (
            json!({"jobs": {"a": {"need": [], "steps": [{"run": "x"}, {"runs": "x", "with": {"x": 1}}]}}}),
            &[
                "jobs.a.need: there is no such key: did you mean needs?",
                "jobs.a.steps[1].runs: there is no such key: did you mean run?",
                "jobs.a.steps[1].with.x: actions are programs for GitHub's runners: write what it does as a script in run",
            ],
        ),
        (
            json!({"on": {"push": {"branches": ["main"]}, "schedule": [{"cron": "* * * * *"}]}}),
            &[
                "on.push: a Workflow runs when it is created, and by nothing else: have the event create it with krt or kubectl",
                "on.schedule: a CronJob that creates the Workflow with kubectl does it",
            ],
        ),
        (
            json!({"defaults": {"run": {"shell": "bash", "other": 1}}}),
            &["defaults.run: say it in each step"],
        ),
        (
            json!({"on": {"workflow_dispatch": {"input": {}}}}),
            &["on.workflow_dispatch.input: there is no such key: did you mean inputs?"],
        ),
        (
            json!({"concurrency": {"groups": "x"}}),
            &["concurrency.groups: there is no such key: did you mean group?"],
        ),
        (
            json!({"retryPolicy": {"limit": 3}}),
            &["retryPolicy.limit: there is no such key: there are maxAttempts, backoff"],
        ),
        (json!([1]), &[": a workflow is an object with jobs"]),
        (json!({"jobs": {"a": {"steps": [3, {"run": "x"}]}}}), &[]),
    ] {
        let shown: Vec<String> = check_keys(&file).iter().map(ToString::to_string).collect();
        assert_eq!(shown, expected, "{file}");
    }
    let many: Value = (0..MAX_REFUSALS + 1).map(|n| (format!("x{n}"), json!(1))).collect();
    assert_eq!(check_keys(&many).len(), MAX_REFUSALS);
}

fn file() -> Value {
    json!({
        "name": "CI",
        "env": {"N": 1, "ON": true, "NONE": null, "T": "${{ inputs.t }}"},
        "concurrency": "ci",
        "jobs": {
            "build": {
                "name": "Build it",
                "timeout-minutes": 1.5,
                "if": true,
                "outputs": {"n": 5},
                "steps": [
                    {"id": "compile", "name": "Compile", "run": "make", "timeout-minutes": 2},
                    {"name": "Run the tests!", "run": "make test", "shell": "bash", "env": {"X": 1.0}},
                    {"name": "compile", "run": "x"},
                    {"run": "y", "if": false, "continue-on-error": true},
                    {"name": "é", "run": "z"},
                    {"name": "-.x".repeat(40), "run": "z"},
                    {"name": "-.x".repeat(40), "run": "z"},
                    {"name": "-.x".repeat(40), "run": "z"},
                ],
            },
            "test": {
                "needs": "build", "runs-on": "python",
                "strategy": {"fail-fast": false, "matrix": {"os": ["a"]}}, "steps": [{"run": "t"}],
            },
            "deploy": {"needs": ["build", "test"], "uses": "deploy", "with": {"n": 3}},
        },
        "finally": ["deploy"],
    })
}

#[test]
fn a_file_becomes_a_workflow_that_means_the_same() {
    let long = "x-.".repeat(21);
    let long = long.trim_end_matches(['-', '.']);
    let expected = json!({
        "env": {"N": "1", "ON": "true", "NONE": "", "T": "${{ inputs.t }}"},
        "concurrency": {"group": "ci"},
        "jobs": {
            "build": {
                "runs-on": "bash", "workspace": "shared",
                "timeoutSeconds": 90,
                "if": "true",
                "outputs": {"n": "5"},
                "steps": [
                    {"name": "compile", "run": "set -e; make", "timeoutSeconds": 120},
                    {"name": "Run-the-tests", "run": "set -eo pipefail; make test", "env": {"X": "1"}},
                    {"name": "compile-2", "run": "set -e; x"},
                    {"name": "step-4", "run": "set -e; y", "if": "false", "continue-on-error": true},
                    {"name": "step-5", "run": "set -e; z"},
                    {"name": long, "run": "set -e; z"},
                    {"name": format!("{}-2", &long[..61]), "run": "set -e; z"},
                    {"name": format!("{}-3", &long[..61]), "run": "set -e; z"},
                ],
            },
            "test": {
                "needs": ["build"], "runs-on": "python", "workspace": "shared",
                "strategy": {"fail-fast": false, "matrix": {"os": ["a"]}},
                "steps": [{"name": "step-1", "run": "t"}],
            },
            "deploy": {"needs": ["build", "test"], "uses": "deploy", "with": {"n": "3"}},
        },
        "finally": ["deploy"],
        "fail-fast": false,
    });
    let translated = translate(&file()).unwrap();
    assert_eq!(translated.name.as_deref(), Some("CI"));
    assert_eq!(translated.spec, expected);
    let translated = translate(&json!({"fail-fast": true, "jobs": {}})).unwrap();
    assert_eq!(translated.spec, json!({"fail-fast": true, "jobs": {}}));
}

fn check_refused(rows: &[(Value, &str)]) {
    for (file, expected) in rows {
        let refusals = translate(file).expect_err(expected);
        let shown: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        assert_eq!(shown.join("\n"), *expected, "{file}");
    }
}

#[test]
fn values_of_another_shape_are_refused_by_path() {
    check_refused(&[
        (json!({"env": []}), "env: an object of names and texts is needed here"),
        (json!({"env": {"A": []}}), "env.A: a text is needed here"),
        (json!({"concurrency": []}), "concurrency: a text is needed here"),
        (
            json!({"concurrency": {"group": "a", "cancel-in-progress": "${{ inputs.x }}"}}),
            "concurrency.cancel-in-progress: true or false is needed here, and no expression",
        ),
        (json!({"jobs": []}), "jobs: an object of names and jobs is needed here"),
        (
            json!({"jobs": {"a": {"runs-on": ["self-hosted", "linux"]}}}),
            "jobs.a.runs-on: the name of one Runtime is needed here",
        ),
        (
            json!({"jobs": {"a": {"runs-on": {"group": "x"}}}}),
            "jobs.a.runs-on.group: name one Runtime\njobs.a.runs-on: the name of one Runtime is needed here",
        ),
        (json!({"jobs": {"a": {"needs": {"b": 1}}}}), "jobs.a.needs: a text is needed here"),
        (
            json!({"jobs": {"a": {"timeout-minutes": "${{ inputs.n }}"}}}),
            "jobs.a.timeout-minutes: a number of minutes is needed here, and no expression",
        ),
        (
            json!({"jobs": {"a": {"timeout-minutes": 0}}}),
            "jobs.a.timeout-minutes: a number of minutes is needed here, and no expression",
        ),
    ]);
}

#[test]
fn so_are_those_of_steps_and_strategies() {
    check_refused(&[
        (
            json!({"jobs": {"a": {"continue-on-error": "${{ matrix.x }}"}}}),
            "jobs.a.continue-on-error: true or false is needed here, and no expression",
        ),
        (
            json!({"jobs": {"a": {"strategy": {"fail-fast": "no", "matrix": {}}}}}),
            "jobs.a.strategy.fail-fast: true or false is needed here, and no expression",
        ),
        (json!({"jobs": {"a": {"steps": {}}}}), "jobs.a.steps: a list of steps is needed here"),
        (
            json!({"jobs": {"a": {"steps": [{"run": ["x"]}]}}}),
            "jobs.a.steps[0].run: a text is needed here",
        ),
        (
            json!({"jobs": {"a": {"steps": [{"shell": "python", "run": "x"}]}}}),
            "jobs.a.steps[0].shell: bash of a Runtime of bash is the only one: the Runtime executes the script",
        ),
        (
            json!({"jobs": {"a": {"steps": [{"run": "x"}, {"continue-on-error": 1, "run": "x"}]}}}),
            "jobs.a.steps[1].continue-on-error: true or false is needed here, and no expression",
        ),
        (
            json!({"jobs": {"a": {"steps": [{"uses": "actions/checkout@v4"}]}}}),
            "jobs.a.steps[0].uses: actions are programs for GitHub's runners: write what it does as a script in run",
        ),
        (
            json!({"on": "push", "jobs": {"a": {"steps": "x"}}}),
            "jobs.a.steps: a list of steps is needed here\non: a Workflow runs when it is created, and by nothing else: have the event create it with krt or kubectl",
        ),
        (json!(null), ": a workflow is an object with jobs"),
        (json!({"jobs": {"a": 5}}), "jobs.a: a job is an object with steps or uses"),
        (json!({"jobs": {"a": {"steps": [5]}}}), "jobs.a.steps[0]: a step is an object with run"),
        (
            json!({"jobs": {"a": {"strategy": []}}}),
            "jobs.a.strategy: a strategy is an object with matrix",
        ),
    ]);
    let jobs: Value = (0..100).map(|n| (format!("j{n}"), json!({"steps": 1}))).collect();
    assert_eq!(translate(&json!({"jobs": jobs})).unwrap_err().len(), MAX_REFUSALS);
}

const STARTS: &str = "a Workflow runs when it is created, and by nothing else: have the event create it with krt or kubectl";

#[test]
fn a_file_that_is_started_by_hand_is_taken_and_any_other_event_is_named() {
    let with = |on: Value| json!({"on": on, "jobs": {"a": {"steps": [{"run": "x"}]}}});
    for on in [
        json!("workflow_dispatch"),
        json!(["workflow_dispatch"]),
        json!({"workflow_dispatch": null}),
    ] {
        let spec = translate(&with(on)).unwrap().spec;
        assert_eq!(spec.get("on"), None);
        assert_eq!(spec.get("inputs"), None);
    }
    let inputs = json!({
        "level": {"description": "How loud", "required": true, "default": 3, "type": "number"},
        "dry": {"type": "boolean", "default": false}, "who": {"type": "choice", "options": ["a", "b"]}, "free": null,
    });
    let spec = translate(&with(json!({"workflow_dispatch": {"inputs": inputs}}))).unwrap().spec;
    let expected = json!({
        "level": {"description": "How loud", "required": true, "default": "3", "type": "number"},
        "dry": {"type": "boolean", "default": "false"}, "who": {"type": "choice", "options": ["a", "b"]}, "free": {},
    });
    assert_eq!(spec["inputs"], expected);
    let inputs = json!({"e": {"type": "environment"}});
    let mut twice = with(json!({"workflow_dispatch": {"inputs": {"a": {}}}}));
    twice["inputs"] = json!({"b": {}});
    for (file, expected) in [
        (with(json!("push")), format!("on: {STARTS}")),
        (with(json!(["workflow_dispatch", "push"])), format!("on[1]: {STARTS}")),
        (with(json!({"workflow_dispatch": null, "push": null})), format!("on.push: {STARTS}")),
        (with(json!({})), format!("on: {STARTS}")),
        (
            with(json!({"workflow_dispatch": {"inputs": inputs}})),
            "on.workflow_dispatch.inputs.e.type: there are no environments: take choice, with its options".to_owned(),
        ),
        (twice, "on.workflow_dispatch.inputs: there are inputs at the top already".to_owned()),
    ] {
        let refusals = translate(&file).unwrap_err();
        let shown: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [expected], "{file}");
    }
}

#[test]
fn the_steps_of_a_job_share_a_directory_unless_it_says_otherwise() {
    let steps = json!([{"run": "x"}]);
    let jobs = json!({"a": {"steps": steps}, "b": {"steps": steps, "workspace": "separate"}, "c": {"uses": "w"}});
    let spec = translate(&json!({"jobs": jobs})).unwrap().spec;
    let of = |job: &str| spec["jobs"][job].get("workspace").cloned();
    assert_eq!([of("a"), of("b"), of("c")], [Some(json!("shared")), Some(json!("separate")), None]);
}

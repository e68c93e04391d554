//! Workspaces that Runs share.

use super::{check_refused, errors, run, schema};
use serde_json::{Value, json};

#[test]
fn a_run_that_holds_a_workspace_executes_nothing_and_those_in_it_take_nothing() {
    let schema = schema("kruntimes.io_runs.yaml");
    let holder = json!({"workspaceGroup": "g", "holdsWorkspace": true});
    for good in [
        json!({"workspaceGroup": "g".repeat(253), "holdsWorkspace": true, "timeoutSeconds": 5}),
        json!({"workspaceGroup": "g", "args": ["true"], "retryPolicy": {"maxAttempts": 2}, "resources": {"limits": {"processes": 5}}}),
        json!({"workspaceGroup": "g", "holdsWorkspace": false, "source": {"inline": "x"}}),
        json!({"holdsWorkspace": false, "args": ["true"]}),
    ] {
        assert_eq!(errors(&schema, run(good.clone())), "", "{good}");
    }
    let with = |spec: &Value, field: &str, value: Value| {
        let mut spec = spec.clone();
        spec[field] = value;
        spec
    };
    let nothing = "a Run that holds a workspace executes nothing";
    let step = json!({"workspaceGroup": "g"});
    for (bad, parts) in [
        (json!({"workspaceGroup": ""}), ["spec.workspaceGroup", "at least 1"]),
        (json!({"workspaceGroup": "g".repeat(254)}), ["spec.workspaceGroup", "253"]),
        (json!({"holdsWorkspace": true}), ["spec.workspaceGroup", "needs the name of its group"]),
        (with(&holder, "args", json!(["x"])), ["spec.holdsWorkspace", nothing]),
        (with(&holder, "source", json!({"inline": "x"})), ["spec.holdsWorkspace", nothing]),
        (with(&holder, "handler", json!("a.b")), ["spec.holdsWorkspace", nothing]),
        (
            with(&holder, "retryPolicy", json!({"maxAttempts": 1})),
            ["spec.retryPolicy", "has one attempt"],
        ),
        (
            with(&step, "resources", json!({"requests": {"gpu": 1}})),
            ["spec.resources", "have one slot together"],
        ),
        (
            with(&step, "source", json!({"repoURL": "https://example.com/a/b"})),
            ["spec.source", "clone it in a script"],
        ),
    ] {
        check_refused(&schema, run(bad), &parts);
    }
}

//! What the CRD of Workflows admits and refuses.

use super::{check_refused, errors, schema};
use serde_json::{Value, json};

fn workflow(spec: Value) -> Value {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "a"}, "spec": spec,
    })
}

fn job() -> Value {
    json!({"runs-on": "bash", "steps": [{"name": "s", "run": "true"}]})
}

/// One job with these fields on top.
fn with(fields: Value) -> Value {
    let mut job = job();
    job.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"jobs": {"j": job}})
}

fn with_step(fields: Value) -> Value {
    let mut step = json!({"name": "s", "run": "true"});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    with(json!({"steps": [step]}))
}

fn spec(fields: Value) -> Value {
    let mut spec = json!({"jobs": {"j": job()}});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec
}

fn jobs(count: usize) -> Value {
    let named = (0..count).map(|number| (format!("j{number}"), job()));
    json!({"jobs": named.collect::<serde_json::Map<_, _>>()})
}

fn steps(count: usize) -> Value {
    let step = |number: usize| json!({"name": format!("s{number}"), "run": "true"});
    with(json!({"steps": (0..count).map(step).collect::<Vec<_>>()}))
}

#[test]
fn the_last_legal_value_of_each_limit_of_a_workflow_is_accepted() {
    let schema = schema("kruntimes.io_workflows.yaml");
    for spec in [
        jobs(1),
        jobs(64),
        steps(128),
        with_step(json!({"run": "x".repeat(262_144)})),
        with_step(json!({"args": vec!["x"; 256], "env": {"A": "x".repeat(8192)}})),
        with_step(
            json!({"retryPolicy": {"maxAttempts": 100, "backoff": "24h"}, "timeoutSeconds": 1}),
        ),
        with_step(json!({"name": "A.b_c-9", "if": "x".repeat(8192), "continue-on-error": true})),
        with(
            json!({"strategy": {"matrix": {"os": ["a", {"b": 1}]}, "fail-fast": false, "max-parallel": 1024}}),
        ),
        with(json!({"strategy": {"matrix": "${{ fromJSON('[]') }}"}})),
        json!({"jobs": {"x".repeat(63): job(), "B": {"uses": "a.b", "with": {"n": "1"}}}}),
        spec(json!({"finally": ["f"], "jobs": {"j": job(), "f": job()}})),
        spec(json!({"inputs": {"n": {"type": "choice", "options": ["a"]}}, "with": {"n": "a"}})),
        spec(
            json!({"parallelism": 1024, "concurrency": {"group": "g", "cancel-in-progress": true}}),
        ),
    ] {
        let errors = errors(&schema, workflow(spec.clone()));
        assert_eq!(errors, "", "{:.200}", spec.to_string());
    }
}

#[test]
fn the_next_value_is_refused_by_name() {
    let schema = schema("kruntimes.io_workflows.yaml");
    for (spec, parts) in [
        (json!({"jobs": {}}), vec!["spec.jobs"]),
        (jobs(65), vec!["spec.jobs: Too many: 65: must have at most 64 items"]),
        (steps(129), vec!["spec.jobs.j.steps: Too many: 129: must have at most 128 items"]),
        (with_step(json!({"run": "x".repeat(262_145)})), vec!["steps[0].run: Too long"]),
        (with_step(json!({"name": "a b"})), vec!["steps[0].name"]),
        (
            with_step(json!({"uses": "actions/checkout@v4"})),
            vec!["steps[0].uses", "put what it does into run"],
        ),
        (with(json!({"steps": [{"name": "s"}]})), vec!["steps[0].run", "a step needs run"]),
        (
            with(json!({"steps": [{"name": "s", "run": "a"}, {"name": "s", "run": "b"}]})),
            vec!["steps[1]: Duplicate value"],
        ),
        (with(json!({"needs": ["x"]})), vec!["needs names a job that spec.jobs does not have"]),
        (with(json!({"needs": ["j"]})), vec!["a job can't need itself"]),
        (with(json!({"uses": "x"})), vec!["a job has either steps or uses"]),
        (
            json!({"jobs": {"j": {"steps": [{"name": "s", "run": "a"}]}}}),
            vec!["runs-on", "needs runs-on"],
        ),
        (json!({"jobs": {"j": {"runs-on": "bash"}}}), vec!["a job has either steps or uses"]),
        (json!({"jobs": {"a b": job()}}), vec!["names of jobs"]),
        (json!({"jobs": {"x".repeat(64): job()}}), vec!["names of jobs"]),
        (with(json!({"with": {"n": "1"}})), vec!["with belongs to uses"]),
        (with(json!({"retryPolicy": {"backoff": "0s"}})), vec!["retryPolicy.backoff", "0s"]),
        (spec(json!({"finally": ["x"]})), vec!["finally names a job that spec.jobs does not have"]),
        (spec(json!({"finally": ["j"]})), vec!["finally can't name every job"]),
        (
            spec(json!({"with": {"n": "1"}})),
            vec!["with names an input that spec.inputs does not have"],
        ),
        (
            spec(json!({"inputs": {"n": {"type": "choice"}}})),
            vec!["options belong to inputs of type choice"],
        ),
        (spec(json!({"inputs": {"1n": {}}})), vec!["names of inputs"]),
        (spec(json!({"approvals": ["x"]})), vec!["approvals names a job"]),
        (spec(json!({"parallelism": 0})), vec!["spec.parallelism"]),
    ] {
        check_refused(&schema, workflow(spec), &parts);
    }
    let mut long = workflow(spec(json!({})));
    long["metadata"]["name"] = json!("x".repeat(64));
    check_refused(&schema, long, &["at most 63 characters"]);
}

/// The errors of a change.
fn changed(from: Value, to: Value) -> String {
    let schema = schema("kruntimes.io_workflows.yaml");
    let errors = schema.validate(&workflow(to), Some(&workflow(from)));
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_said_can_not_be_changed_but_for_what_steers() {
    for (from, to) in [
        (
            spec(json!({})),
            spec(json!({"cancelRequested": true, "suspend": true, "ttlSecondsAfterFinished": 1})),
        ),
        (spec(json!({"suspend": true})), spec(json!({"suspend": false}))),
        (spec(json!({"approvals": []})), spec(json!({"approvals": ["j"]}))),
        (spec(json!({"template": true})), json!({"template": true, "jobs": {"k": job()}})),
    ] {
        assert_eq!(changed(from, to), "");
    }
    for (from, to, part) in [
        (spec(json!({})), json!({"jobs": {"k": job()}}), "spec.jobs is immutable"),
        (spec(json!({})), with_step(json!({"run": "false"})), "spec.jobs is immutable"),
        (spec(json!({})), spec(json!({"fail-fast": false})), "spec.fail-fast is immutable"),
        (spec(json!({"env": {"A": "1"}})), spec(json!({})), "spec.env is immutable"),
        (spec(json!({})), spec(json!({"template": true})), "spec.template is immutable"),
        (spec(json!({"template": true})), spec(json!({})), "spec.template is immutable"),
        (
            spec(json!({"cancelRequested": true})),
            spec(json!({"cancelRequested": false})),
            "can't be taken back",
        ),
        (spec(json!({"approvals": ["j"]})), spec(json!({})), "an approval can't be taken back"),
    ] {
        let errors = changed(from, to);
        assert!(errors.contains(part), "{part:?} is not in {errors:?}");
    }
}

#[test]
fn a_status_that_ended_never_changes() {
    let schema = schema("kruntimes.io_workflows.yaml");
    let with = |status: Value| {
        let mut object = workflow(spec(json!({})));
        object["status"] = status;
        object
    };
    for phase in ["Succeeded", "Failed", "Cancelled"] {
        for to in [json!({"phase": "Running"}), json!({"phase": phase, "message": "x"})] {
            let errors = schema.validate(&with(to), Some(&with(json!({"phase": phase}))));
            assert!(
                errors.iter().any(|error| error.to_string().contains("never changes")),
                "{errors:?}"
            );
        }
    }
    let back = schema
        .validate(&with(json!({"phase": "Pending"})), Some(&with(json!({"phase": "Running"}))));
    assert!(!back.is_empty());
    let on = schema
        .validate(&with(json!({"phase": "Failed"})), Some(&with(json!({"phase": "Running"}))));
    assert!(on.is_empty(), "{on:?}");
}

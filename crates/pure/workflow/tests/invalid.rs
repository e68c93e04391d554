//! What is wrong with a spec is found before anything runs, each with the path of its field.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use kruntimes_api::WorkflowSpec;
use kruntimes_workflow::Plan;
use serde_json::{Value, json};

fn wrong(spec: &Value) -> Vec<String> {
    let spec: WorkflowSpec = serde_json::from_value(spec.clone()).unwrap();
    let found = Plan::of(&spec).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

/// Job `a` with these fields on top, beside a plain job `b`.
fn with(fields: &Value) -> Value {
    let mut a = json!({"runs-on": "bash", "steps": [{"name": "s", "run": "true"}]});
    a.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"jobs": {"a": a, "b": {"runs-on": "bash", "steps": [{"name": "s", "run": "true"}]}}})
}

fn run(text: &str) -> Value {
    with(&json!({"steps": [{"name": "s", "run": text}, {"name": "t", "run": "true"}]}))
}

#[test]
fn names_that_do_not_exist_are_named() {
    for (spec, expected) in [
        (
            run("echo ${{ steps.x.outputs.k }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: the job has no step x; outputs of other jobs are jobs.NAME.outputs.KEY",
        ),
        (
            run("echo ${{ steps.t.outputs.k }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: the step t does not come before this one",
        ),
        (
            run("echo ${{ jobs.x.outputs.k }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: there is no job x",
        ),
        (
            run("echo ${{ jobs.a.outputs.k }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: a job can't read what it gives to others: use steps",
        ),
        (
            run("echo ${{ needs.b.outputs.k }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: the job does not need b: name it in needs, or read jobs.b",
        ),
        (
            run("echo ${{ inputs.x }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: spec.inputs has no x",
        ),
        (
            run("echo ${{ matrix.x }}"),
            "spec.jobs.a.steps[0].run: line 1, column 10: the job has no strategy.matrix",
        ),
        (
            run("echo ${{ always() }}"),
            "spec.jobs.a.steps[0].run: always(), success(), failure() and cancelled() are for if",
        ),
        (with(&json!({"needs": ["x"]})), "spec.jobs.a.needs[0]: there is no job x"),
        (
            with(&json!({"if": "steps.s.outcome == 'success'"})),
            "spec.jobs.a.if: line 1, column 1: steps can't be read here; what can be is inputs, workflow, jobs, needs",
        ),
        (
            with(&json!({"outputs": {"o": "${{ steps.x.outputs.k }}"}})),
            "spec.jobs.a.outputs.o: line 1, column 5: the job has no step x; outputs of other jobs are jobs.NAME.outputs.KEY",
        ),
    ] {
        assert_eq!(wrong(&spec), [expected]);
    }
}

#[test]
fn inputs_of_a_step_come_from_steps_that_exist() {
    for (spec, expected) in [
        (
            with(
                &json!({"steps": [{"name": "s", "run": "x", "inputs": [{"name": "f", "step": "y"}]}]}),
            ),
            "spec.jobs.a.steps[0].inputs[0]: the job has no step y; outputs of other jobs are jobs.NAME.outputs.KEY",
        ),
        (
            with(
                &json!({"steps": [{"name": "s", "run": "x", "inputs": [{"name": "f", "job": "b", "step": "y"}]}]}),
            ),
            "spec.jobs.a.steps[0].inputs[0]: the job b has no step y",
        ),
        (
            with(
                &json!({"steps": [{"name": "s", "run": "x", "inputs": [{"name": "f", "job": "c", "step": "y"}]}]}),
            ),
            "spec.jobs.a.steps[0].inputs[0]: there is no job c",
        ),
    ] {
        assert_eq!(wrong(&spec), [expected]);
    }
}

#[test]
fn circles_are_shown_also_those_that_expressions_make() {
    let spec = json!({"jobs": {
        "a": {"runs-on": "bash", "needs": ["c"], "steps": [{"name": "s", "run": "true"}]},
        "b": {"runs-on": "bash", "steps": [{"name": "s", "run": "echo ${{ jobs.a.outputs.k }}"}]},
        "c": {"runs-on": "bash", "needs": ["b"], "steps": [{"name": "s", "run": "true"}]},
    }});
    assert_eq!(
        wrong(&spec),
        ["spec.jobs.a.needs: jobs need each other in a circle: a -> c -> b -> a"]
    );
}

#[test]
fn a_job_does_not_wait_for_one_that_runs_after_all() {
    let mut spec = with(&json!({"needs": ["b"]}));
    spec["finally"] = json!(["b"]);
    assert_eq!(wrong(&spec), ["spec.jobs.a.needs: b is in spec.finally, and runs after this job"]);
}

#[test]
fn hostile_expressions_are_refused_and_cost_nothing() {
    let deep = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    for text in [
        format!("${{{{ {deep} }}}}"),
        format!("${{{{ '{}' }}}}", "x".repeat(1 << 20)),
        "${{ 1 +".to_owned(),
    ] {
        let found = wrong(&run(&text));
        let last = found.last().unwrap();
        assert!(last.starts_with("spec.jobs.a.steps[0].run: line 1, column "), "{found:?}");
    }
    let many: Vec<usize> = (0..100).collect();
    let spec = with(&json!({"strategy": {"matrix": {"x": many, "y": many}}}));
    let found = wrong(&spec);
    assert!(
        found[0].starts_with("spec.jobs.a.strategy.matrix") && found[0].contains("1024"),
        "{found:?}"
    );
}

#[test]
fn a_spec_that_leaves_no_room_for_its_status_is_refused() {
    let step = |size: usize| json!([{"name": "s", "run": "x".repeat(size)}]);
    let spec = |last: usize| {
        json!({"jobs": {
            "a": {"runs-on": "bash", "steps": step(262_144)}, "b": {"runs-on": "bash", "steps": step(262_144)},
            "c": {"runs-on": "bash", "steps": step(last)},
        }})
    };
    let rest = serde_json::to_vec(&serde_json::from_value::<WorkflowSpec>(spec(0)).unwrap())
        .unwrap()
        .len();
    assert_eq!(wrong(&spec(786_432 - rest)), [""; 0]);
    let found = wrong(&spec(786_433 - rest));
    assert!(
        found[0].starts_with("spec: it has 786433 bytes as JSON, and may have 786432"),
        "{found:?}"
    );
}

#[test]
fn a_step_has_as_many_variables_as_a_run_takes_and_hides_no_value() {
    let env = |count: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|number| (format!("V{number}"), json!("x"))).collect()
    };
    let step = |count: usize| {
        let step = json!({"name": "s", "run": "echo ${{ inputs.i }}", "env": env(count)});
        let mut spec = with(&json!({"env": {"J": "x"}, "steps": [step]}));
        spec["env"] = json!({"V0": "x", "W": "x"});
        spec["inputs"] = json!({"i": {}});
        spec
    };
    assert_eq!(wrong(&step(253)), [""; 0]);
    assert_eq!(
        wrong(&step(254)),
        [
            "spec.jobs.a.steps[0].env: with those of the Workflow, of the job and of the 1 expressions in run the step has 257 variables; there may be 256"
        ]
    );
    let mut spec = with(&json!({"env": {"KRUNTIMES_EXPR_0": "x"}}));
    let problem = "names that begin with KRUNTIMES_EXPR_ are those of the values of expressions in run: take another";
    assert_eq!(wrong(&spec), [format!("spec.jobs.a.env.KRUNTIMES_EXPR_0: {problem}")]);
    spec["jobs"]["a"]["env"] = json!({"KRUNTIMES_EXPR": "x"});
    assert_eq!(wrong(&spec), [""; 0]);
}

#[test]
fn a_matrix_asks_for_no_files_and_not_how_things_went() {
    for (text, expected) in [
        ("always()", "always(), success(), failure() and cancelled() are for if"),
        ("hashFiles('x')", "hashFiles is for run of a job with workspace: shared"),
    ] {
        let matrix = json!({"n": [1, format!("${{{{ {text} }}}}")]});
        let found = wrong(&with(&json!({"strategy": {"matrix": matrix}})));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(&format!("spec.jobs.a.strategy.matrix: {expected}")),
            "{found:?}"
        );
    }
}

/// Something of this schema, with every field.
fn example(schema: &Value) -> Value {
    if let Some(fields) = schema["properties"].as_object() {
        return fields.iter().map(|(name, field)| (name.clone(), example(field))).collect();
    }
    if let Some(inner) = schema["additionalProperties"].as_object() {
        return json!({"x": example(&Value::Object(inner.clone()))});
    }
    if let Some(items) = schema["items"].as_object() {
        return json!([example(&Value::Object(items.clone()))]);
    }
    json!("x")
}

#[test]
fn every_field_of_a_workflow_is_known_in_a_file_of_githubs_syntax() {
    let crds = kruntimes_api::crd::all();
    let crd = crds.iter().find(|crd| crd["spec"]["names"]["kind"] == "Workflow").unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let file = example(schema);
    assert!(file["jobs"]["x"]["steps"][0]["run"].is_string(), "{file}");
    let refusals = kruntimes_expressions::github::check_keys(&file);
    let unknown =
        |refusal: &&kruntimes_expressions::github::Refusal| refusal.message.contains("no such key");
    assert_eq!(refusals.iter().filter(unknown).collect::<Vec<_>>(), [] as [&_; 0]);
}

#[test]
fn files_are_hashed_by_scripts_that_share_a_workspace_with_them() {
    let with = |workspace: &str, runtime: &str, step: Value| {
        let mut all = json!({"name": "s", "run": "true"});
        all.as_object_mut().unwrap().extend(step.as_object().unwrap().clone());
        wrong(&json!({"jobs": {"a": {"runs-on": runtime, "workspace": workspace, "steps": [all]}}}))
    };
    let hash = json!({"run": "echo \"${{ hashFiles('a', format('{0}/b', 'x')) }}\""});
    assert_eq!(with("shared", "bash", hash.clone()), [""; 0]);
    let refused = "hashFiles is for run of a job with workspace: shared, alone between its braces";
    for (found, path) in [
        (with("separate", "bash", hash.clone()), "run: "),
        (
            with("shared", "bash", json!({"run": "echo ${{ format('{0}', hashFiles('a')) }}"})),
            "run: ",
        ),
        (with("shared", "bash", json!({"run": "echo ${{ hashFiles(hashFiles('a')) }}"})), "run: "),
        (with("shared", "bash", json!({"env": {"A": "${{ hashFiles('a') }}"}})), "env.A: "),
        (with("shared", "bash", json!({"if": "hashFiles('a') == ''"})), "if: "),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(&format!("spec.jobs.a.steps[0].{path}{refused}")),
            "{found:?}"
        );
    }
    let found = with("shared", "python", hash);
    assert!(found[0].contains("can't be put into a script of python"), "{found:?}");
}

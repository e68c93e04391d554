//! What comes between the decision that there is to be a child and its being there.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_workflow::{Answer, Creation, Effect, End, Execution, How, NewChild, Seen, Stop};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn workflow(spec: &Value) -> Workflow {
    let metadata = json!({"name": "w", "namespace": "n", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// A Workflow whose only child is to be created.
fn begun(spec: &Value) -> (Workflow, Execution, Creation) {
    let workflow = workflow(spec);
    let mut execution = Execution::resume(&workflow, Vec::new(), None, now()).unwrap();
    match execution.advance(now()).as_slice() {
        [Effect::Create(creation)] => (workflow, execution, creation.clone()),
        effects => panic!("{effects:?}"),
    }
}

fn plain() -> Value {
    json!({"jobs": {"a": {"runs-on": "bash", "steps": [{"name": "s", "run": "true"}]}}})
}

fn cancel(workflow: &mut Workflow, execution: &mut Execution) -> Vec<Effect> {
    workflow.spec.cancel_requested = Some(true);
    execution.changed(workflow, now());
    execution.advance(now())
}

fn is_cancel(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Cancel { name, .. }] if name == "wf-w-a-s")
}

fn run(execution: &Execution, creation: &Creation) -> Seen {
    let Ok(Some(NewChild::Run(run))) = execution.object(creation) else { panic!("no Run") };
    Seen::run(&run).unwrap()
}

#[test]
fn a_child_that_was_stopped_before_it_was_sent_is_never_sent() {
    let (mut workflow, mut execution, creation) = begun(&plain());
    assert_eq!(cancel(&mut workflow, &mut execution), []);
    assert_eq!(execution.object(&creation), Ok(None));
    execution.answered(&creation, Answer::Unwanted);
    assert_eq!(execution.advance(now()), []);
    assert!(execution.phase().is_terminal());
}

#[test]
fn a_child_that_was_stopped_after_it_was_sent_without_an_answer_may_exist() {
    let (mut workflow, mut execution, creation) = begun(&plain());
    assert_eq!(cancel(&mut workflow, &mut execution), []);
    let creation = creation.unanswered();
    assert!(matches!(execution.object(&creation), Ok(Some(NewChild::Run(_)))));
    execution.answered(&creation, Answer::Made);
    assert!(is_cancel(&execution.advance(now())));
    assert!(!execution.phase().is_terminal(), "its end is waited for");
}

#[test]
fn a_child_that_was_stopped_on_its_way_is_cancelled_when_it_is_there() {
    let (mut workflow, mut execution, creation) = begun(&plain());
    run(&execution, &creation);
    assert_eq!(cancel(&mut workflow, &mut execution), [], "it may not exist yet");
    execution.answered(&creation, Answer::Made);
    assert!(is_cancel(&execution.advance(now())));
    execution.answered(&creation, Answer::Made);
    assert_eq!(execution.advance(now()), [], "it is told once");
}

#[test]
fn a_child_that_the_watch_shows_before_the_answer_is_cancelled_at_once() {
    let (mut workflow, mut execution, creation) = begun(&plain());
    let seen = run(&execution, &creation);
    cancel(&mut workflow, &mut execution);
    execution.see(seen.clone());
    assert!(is_cancel(&execution.advance(now())));
    execution.see(seen);
    execution.answered(&creation, Answer::Made);
    assert_eq!(execution.advance(now()), []);
}

#[test]
fn the_texts_of_a_step_cost_no_more_than_one_together() {
    let long = "x".repeat(60_000);
    for (count, fits) in [(8, true), (9, false)] {
        let variables = (0..count)
            .map(|number| (format!("V{number}"), json!("${{ inputs.long }}${{ inputs.long }}")));
        let env: serde_json::Map<String, Value> = variables.collect();
        let step = json!({"name": "s", "run": "true", "env": env});
        let (_, execution, creation) = begun(&json!({
            "inputs": {"long": {}}, "with": {"long": long},
            "jobs": {"a": {"runs-on": "bash", "steps": [step]}},
        }));
        assert_eq!(execution.object(&creation).is_ok(), fits, "{count}");
    }
}

#[test]
fn script_and_arguments_see_the_environment_of_their_own_step() {
    let step = json!({
        "name": "s", "run": "echo ${{ env.A }}", "args": ["${{ env.A }}"],
        "env": {"A": "own ${{ env.B }}"},
    });
    let (_, execution, creation) = begun(&json!({
        "env": {"A": "whole", "B": "b"}, "jobs": {"a": {"runs-on": "bash", "steps": [step]}},
    }));
    let Ok(Some(NewChild::Run(run))) = execution.object(&creation) else { panic!("no Run") };
    assert_eq!(run.spec.args, ["own b"]);
    let value = |name: &str| {
        let of = run.spec.env.iter().find(|variable| variable.name == name);
        of.and_then(|variable| variable.value.clone())
    };
    assert_eq!(value("KRUNTIMES_EXPR_0").as_deref(), Some("own b"));
}

#[test]
fn what_holds_a_workspace_is_cancelled_when_it_is_there_and_its_end_is_waited_for() {
    let spec = json!({"jobs": {"a": {"runs-on": "bash", "workspace": "shared", "steps": [{"name": "s", "run": "true"}]}}});
    let workflow = workflow(&spec);
    for unanswered in [false, true] {
        let mut execution = Execution::resume(&workflow, Vec::new(), None, now()).unwrap();
        let effects = execution.advance(now());
        let [Effect::Create(holder), Effect::Create(step)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        let holder = if unanswered { holder.clone().unanswered() } else { holder.clone() };
        let seen = run(&execution, &holder);
        assert_eq!(cancel(&mut workflow.clone(), &mut execution), []);
        assert_eq!(execution.object(step), Ok(None));
        execution.answered(step, Answer::Unwanted);
        assert_eq!(execution.advance(now()), []);
        assert_eq!(
            execution.object(&holder).unwrap().is_some(),
            unanswered,
            "what may exist is made"
        );
        assert!(!execution.phase().is_terminal());
        if unanswered {
            execution.answered(&holder, Answer::Made);
            let effects = execution.advance(now());
            assert!(
                matches!(effects.as_slice(), [Effect::Cancel { name, .. }] if *name == holder.name),
                "{effects:?}"
            );
            assert!(!execution.phase().is_terminal(), "it has not ended");
            execution.see(Seen {
                end: Some(End {
                    how: How::Cancelled(Stop::Cancelled),
                    outputs: BTreeMap::new(),
                    message: String::new(),
                }),
                ..seen
            });
        } else {
            execution.answered(&holder, Answer::Unwanted);
        }
        assert_eq!(execution.advance(now()), []);
        assert!(execution.phase().is_terminal());
    }
}

#[test]
fn a_hash_of_files_comes_to_its_script_as_patterns() {
    for (argument, fits) in [("x", true), ("!x", false)] {
        let run = format!("echo ${{{{ hashFiles('**/a', '{argument}') }}}}");
        let step = json!({"name": "s", "run": run});
        let spec =
            json!({"jobs": {"a": {"runs-on": "bash", "workspace": "shared", "steps": [step]}}});
        let workflow = workflow(&spec);
        let mut execution = Execution::resume(&workflow, Vec::new(), None, now()).unwrap();
        let effects = execution.advance(now());
        let Some(Effect::Create(creation)) = effects.last() else { panic!("{effects:?}") };
        match execution.object(creation) {
            Ok(Some(NewChild::Run(run))) => {
                assert!(fits);
                assert_eq!(run.spec.env[0].value.as_deref(), Some("**/a\nx"));
            }
            Err(why) => assert!(!fits && why.contains("\"!x\": patterns that exclude"), "{why}"),
            object => panic!("{object:?}"),
        }
    }
}

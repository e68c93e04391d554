//! Workflows: children are created, matched, cancelled and recorded.

use crate::world::World;
use kruntimes_api::{JobPhase, Run, Workflow, WorkflowPhase};
use serde_json::{Value, json};

fn workflow(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Workflow",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
}

fn steps(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "run": "true"})).collect()
}

/// What scheduler and runtimed would write.
async fn end(world: &World, name: &str, phase: &str, outputs: Value) {
    world.until::<Run>(name, |_| true).await;
    let pod =
        json!({"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u", "attempt": 1});
    world.patch_status::<Run>(name, pod).await;
    world.patch_status::<Run>(name, json!({"phase": phase, "outputs": outputs})).await;
}

async fn ended(world: &World, name: &str) -> Workflow {
    world.until::<Workflow>(name, |workflow| workflow.phase().is_terminal()).await
}

#[tokio::test]
async fn a_step_starts_when_the_one_before_has_ended_and_reads_its_outputs() {
    let world = World::start();
    let spec = json!({"jobs": {"a": {"runs-on": "bash", "steps": [
        {"name": "one", "run": "true"},
        {"name": "two", "run": "echo ${{ steps.one.outputs.k }}", "timeoutSeconds": 5},
    ]}}});
    let made: Workflow = world.create(workflow("w", &spec)).await;
    end(&world, "wf-w-a-one", "Succeeded", json!({"k": "$(touch /tmp/x)"})).await;
    let two = world.until::<Run>("wf-w-a-two", |_| true).await;
    let source = two.spec.source.as_ref().and_then(|source| source.inline.as_deref());
    assert_eq!(source, Some("echo ${KRUNTIMES_EXPR_0}"));
    assert_eq!(two.spec.env[0].value.as_deref(), Some("$(touch /tmp/x)"));
    assert_eq!((two.spec.timeout_seconds, two.spec.ttl_seconds_after_finished), (Some(5), Some(0)));
    let owner = &two.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((Some(&owner.uid), owner.controller), (made.metadata.uid.as_ref(), Some(true)));
    let labels = two.metadata.labels.as_ref().unwrap();
    assert_eq!([&labels["workflow"], &labels["job"], &labels["step"]], ["w", "a", "two"]);
    end(&world, "wf-w-a-two", "Succeeded", json!({})).await;
    let status = ended(&world, "w").await.status.unwrap();
    assert_eq!(
        (status.phase, status.message.as_deref()),
        (WorkflowPhase::Succeeded, Some("all jobs completed"))
    );
    assert_eq!(status.jobs["a"].steps["one"].outputs["k"], "$(touch /tmp/x)");
    let finished =
        status.conditions.iter().find(|condition| condition.type_ == "Finished").unwrap();
    assert_eq!((finished.status.as_str(), finished.reason.as_str()), ("True", "JobsCompleted"));
}

#[tokio::test]
async fn what_can_not_be_understood_fails_with_the_path_of_the_field() {
    let world = World::start();
    let spec = json!({"jobs": {
        "a": {"runs-on": "bash", "needs": ["b"], "steps": [{"name": "s", "run": "echo ${{ steps.x.outputs.y }}"}]},
        "b": {"runs-on": "bash", "needs": ["a"], "steps": steps(&["s"])},
    }});
    world.create::<Workflow>(workflow("w", &spec)).await;
    let status = ended(&world, "w").await.status.unwrap();
    assert_eq!(status.phase, WorkflowPhase::Failed);
    let valid = status.conditions.iter().find(|condition| condition.type_ == "Valid").unwrap();
    assert_eq!(
        (valid.status.as_str(), valid.reason.as_str()),
        ("False", "WorkflowValidationFailed")
    );
    for part in ["spec.jobs.a.steps[0].run: ", "no step x", "in a circle: a -> b -> a"] {
        assert!(valid.message.contains(part), "{part} is not in {}", valid.message);
    }
}

#[tokio::test]
async fn a_cancellation_reaches_the_run_and_is_told_from_somebody_elses() {
    let world = World::start();
    let spec = json!({"jobs": {"a": {"runs-on": "bash", "steps": steps(&["s"])}}});
    world.create::<Workflow>(workflow("w", &spec)).await;
    world.until::<Run>("wf-w-a-s", |_| true).await;
    world.patch::<Workflow>("w", json!({"spec": {"cancelRequested": true}})).await;
    let run = world.until::<Run>("wf-w-a-s", |run| run.spec.cancel_requested == Some(true)).await;
    assert_eq!(run.metadata.annotations.unwrap()["kruntimes.io/workflow-stopped"], "Cancelled");
    world.patch_status::<Run>("wf-w-a-s", json!({"phase": "Cancelled"})).await;
    let status = ended(&world, "w").await.status.unwrap();
    assert_eq!(status.phase, WorkflowPhase::Cancelled);
    assert_eq!(status.jobs["a"].phase, JobPhase::Cancelled);
}

#[tokio::test]
async fn a_run_of_somebody_else_under_the_name_is_left_alone() {
    let world = World::start();
    let foreign = json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
        "metadata": {
            "name": "wf-w-a-s", "namespace": "default", "labels": {"workflow": "w", "job": "a", "step": "s"},
        },
        "spec": {"runtime": "bash", "args": ["true"]},
    });
    world.create::<Run>(foreign).await;
    end(&world, "wf-w-a-s", "Failed", json!({})).await;
    let spec = json!({"jobs": {"a": {"runs-on": "bash", "steps": steps(&["s"])}}});
    world.create::<Workflow>(workflow("w", &spec)).await;
    let with_name = |workflow: &Workflow| -> Option<String> {
        workflow.status.as_ref()?.jobs.get("a")?.steps.get("s")?.run_name.clone()
    };
    let is_other = |workflow: &Workflow| with_name(workflow).is_some_and(|name| name != "wf-w-a-s");
    let name = with_name(&world.until::<Workflow>("w", is_other).await).unwrap();
    end(&world, &name, "Succeeded", json!({})).await;
    assert_eq!(ended(&world, "w").await.phase(), WorkflowPhase::Succeeded);
}

#[tokio::test]
async fn a_template_never_runs_and_is_taken_as_it_is() {
    let world = World::start();
    let spec = json!({
        "template": true, "inputs": {"n": {"type": "number"}},
        "outputs": {"r": "${{ jobs.x.outputs.s.r }}"},
        "jobs": {"x": {"runs-on": "bash", "steps": [{"name": "s", "run": "echo ${{ inputs.n }}"}]}},
    });
    world.create::<Workflow>(workflow("tool", &spec)).await;
    let is_valid = |workflow: &Workflow| {
        workflow.status.as_ref().is_some_and(|status| {
            status.conditions.iter().any(|condition| condition.type_ == "Valid")
        })
    };
    world.until::<Workflow>("tool", is_valid).await;
    let spec = json!({"jobs": {
        "a": {"uses": "tool", "with": {"n": "4"}},
        "b": {"runs-on": "bash", "steps": [{"name": "s", "run": "echo ${{ jobs.a.outputs.r }}"}]},
    }});
    world.create::<Workflow>(workflow("w", &spec)).await;
    end(&world, "wf-wf-w-a-x-s", "Succeeded", json!({"r": "9"})).await;
    let last = world.until::<Run>("wf-w-b-s", |_| true).await;
    assert_eq!(last.spec.env[0].value.as_deref(), Some("9"));
    end(&world, "wf-w-b-s", "Succeeded", json!({})).await;
    let status = ended(&world, "w").await.status.unwrap();
    assert_eq!(status.jobs["a"].workflow_name.as_deref(), Some("wf-w-a"));
    assert_eq!(world.until::<Workflow>("tool", |_| true).await.phase(), WorkflowPhase::Pending);
}

#[tokio::test]
async fn of_a_group_one_runs_and_the_newest_waits() {
    let world = World::start();
    let spec = json!({
        "concurrency": {"group": "g"}, "jobs": {"a": {"runs-on": "bash", "steps": steps(&["s"])}},
    });
    world.create::<Workflow>(workflow("first", &spec)).await;
    world.until::<Run>("wf-first-a-s", |_| true).await;
    world.create::<Workflow>(workflow("second", &spec)).await;
    let waits = |workflow: &Workflow| {
        workflow.status.as_ref().is_some_and(|status| {
            status.message.as_deref() == Some("waits for the Workflow of its group that runs")
        })
    };
    world.until::<Workflow>("second", waits).await;
    world.create::<Workflow>(workflow("third", &spec)).await;
    assert_eq!(ended(&world, "second").await.phase(), WorkflowPhase::Cancelled);
    end(&world, "wf-first-a-s", "Succeeded", json!({})).await;
    end(&world, "wf-third-a-s", "Succeeded", json!({})).await;
    assert_eq!(ended(&world, "third").await.phase(), WorkflowPhase::Succeeded);
}

#[tokio::test]
async fn what_succeeded_in_an_earlier_workflow_is_not_run_again() {
    let world = World::start();
    let jobs = json!({
        "a": {"runs-on": "bash", "steps": steps(&["s"])},
        "b": {"runs-on": "bash", "steps": [{"name": "s", "run": "echo ${{ jobs.a.outputs.k }}"}]},
    });
    let first: Workflow = world.create(workflow("first", &json!({"jobs": jobs}))).await;
    end(&world, "wf-first-a-s", "Succeeded", json!({"k": "v"})).await;
    end(&world, "wf-first-b-s", "Failed", json!({})).await;
    assert_eq!(ended(&world, "first").await.phase(), WorkflowPhase::Failed);
    let reuse = json!({"workflow": "first", "uid": first.metadata.uid, "jobs": ["a"]});
    world.create::<Workflow>(workflow("again", &json!({"jobs": jobs, "reuse": reuse}))).await;
    let run = world.until::<Run>("wf-again-b-s", |_| true).await;
    assert_eq!(run.spec.env[0].value.as_deref(), Some("v"));
    end(&world, "wf-again-b-s", "Succeeded", json!({})).await;
    let status = ended(&world, "again").await.status.unwrap();
    assert_eq!(status.jobs["a"].steps["s"].run_name.as_deref(), Some("wf-first-a-s"));
    let gone = json!({"workflow": "first", "uid": "another", "jobs": ["a"]});
    world.create::<Workflow>(workflow("wrong", &json!({"jobs": jobs, "reuse": gone}))).await;
    let message = ended(&world, "wrong").await.status.unwrap().message.unwrap();
    assert!(
        message.contains("spec.reuse.workflow: the Workflow first with this UID does not exist"),
        "{message}"
    );
}

#[tokio::test]
async fn a_child_that_could_not_be_created_is_tried_again_though_others_went_well() {
    let world = World::start();
    world.refuse_next_run();
    let job = json!({"runs-on": "bash", "steps": steps(&["s"])});
    let spec = json!({"jobs": {"a": job, "b": job, "c": job}});
    world.create::<Workflow>(workflow("w", &spec)).await;
    for job in ["a", "b", "c"] {
        end(&world, &format!("wf-w-{job}-s"), "Succeeded", json!({})).await;
    }
    assert_eq!(ended(&world, "w").await.phase(), WorkflowPhase::Succeeded);
}

#[tokio::test]
async fn the_next_of_a_group_waits_until_one_that_is_deleted_is_gone() {
    let world = World::start();
    let job = json!({"runs-on": "bash", "steps": steps(&["s"])});
    let spec = json!({"jobs": {"a": job}, "concurrency": {"group": "g"}});
    let mut first = workflow("first", &spec);
    first["metadata"]["finalizers"] = json!(["example.com/held"]);
    world.create::<Workflow>(first).await;
    world.until::<Run>("wf-first-a-s", |_| true).await;
    world.delete::<Workflow>("first").await;
    world.create::<Workflow>(workflow("second", &spec)).await;
    let waits = |workflow: &Workflow| {
        let message = workflow.status.as_ref().and_then(|status| status.message.as_deref());
        message == Some("waits for the Workflow of its group that runs")
    };
    world.until::<Workflow>("second", waits).await;
    world.patch::<Workflow>("first", json!({"metadata": {"finalizers": null}})).await;
    world.until::<Run>("wf-second-a-s", |_| true).await;
}

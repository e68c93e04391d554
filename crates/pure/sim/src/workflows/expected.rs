//! What a Workflow comes to when nothing goes wrong: the shipped `Execution`, each child of which ends as its script says.

use super::script::Script;
use jiff::Timestamp;
use kruntimes_api::{JobPhase, Phase, Run, RunStatus, Workflow, WorkflowPhase, WorkflowStatus};
use kruntimes_workflow::{Answer, Effect, Execution, NewChild, Seen};
use serde_json::Value;
use std::collections::BTreeMap;

/// How it ended: the whole, its jobs, legs and steps.
pub(crate) type Ends = BTreeMap<String, String>;

/// How everything that a status names has ended.
pub(crate) fn ends(status: &WorkflowStatus) -> Ends {
    let mut ends = Ends::from([(String::new(), format!("{:?}", status.phase))]);
    for (name, job) in &status.jobs {
        ends.insert(name.clone(), format!("{:?}", job.phase));
        for (step, status) in &job.steps {
            ends.insert(format!("{name}.{step}"), format!("{:?}", status.phase));
        }
        for (leg, status) in &job.legs {
            ends.insert(format!("{name}/{leg}"), format!("{:?}", status.phase));
            for (step, status) in &status.steps {
                ends.insert(format!("{name}/{leg}.{step}"), format!("{:?}", status.phase));
            }
        }
    }
    ends
}

/// None where it depends on what comes first: on a time, or on a failure that ends others.
pub(crate) fn of(workflow: &Workflow) -> Option<Ends> {
    let mut calm = workflow.clone();
    calm.status = None;
    calm.spec.suspend = None;
    calm.spec.approvals = calm.spec.jobs.keys().cloned().collect();
    let timed = calm.spec.timeout_seconds.is_some()
        || calm.spec.jobs.values().any(|job| job.timeout_seconds.is_some());
    if timed || calm.spec.cancel_requested == Some(true) {
        return None;
    }
    let status = played(&calm)?;
    (!depends_on_time(&calm, &status)).then(|| ends(&status))
}

fn played(workflow: &Workflow) -> Option<WorkflowStatus> {
    let mut now = Timestamp::UNIX_EPOCH;
    let mut execution = Execution::resume(workflow, Vec::new(), None, now).ok()?;
    execution.admit();
    for _ in 0..1_000 {
        let effects = execution.advance(now);
        if execution.phase().is_terminal() {
            let patch = execution.take_patch();
            return serde_json::from_value(without_nulls(patch.get("status")?.clone())).ok();
        }
        if effects.is_empty() {
            now = execution.deadline()?;
        }
        for effect in effects {
            let Effect::Create(creation) = effect else { continue };
            let Ok(Some(NewChild::Run(run))) = execution.object(&creation) else { return None };
            execution.answered(&creation, Answer::Made);
            execution.see(Seen::run(&ended(*run))?);
        }
    }
    None
}

fn ended(mut run: Run) -> Run {
    let succeeds = Script::of(&run).is_some_and(|script| script.succeeds);
    let phase = if succeeds { Phase::Succeeded } else { Phase::Failed };
    run.status = Some(RunStatus { phase, ..RunStatus::default() });
    run
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// Whether a failure has ended what was beside it: how far that was is a matter of time.
fn depends_on_time(workflow: &Workflow, status: &WorkflowStatus) -> bool {
    let spec = &workflow.spec;
    let failed =
        |name: &String| status.jobs.get(name).is_some_and(|job| job.phase == JobPhase::Failed);
    let ends_others = spec.fail_fast != Some(false)
        && spec.jobs.iter().any(|(name, job)| {
            failed(name) && job.continue_on_error != Some(true) && !spec.finally.contains(name)
        });
    let ends_legs = spec.jobs.iter().any(|(name, job)| {
        let fast = job.strategy.as_ref().is_some_and(|strategy| strategy.fail_fast != Some(false));
        fast && failed(name) && job.continue_on_error != Some(true)
    });
    ends_others || ends_legs || status.phase == WorkflowPhase::Cancelled
}

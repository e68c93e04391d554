//! What must be true of Workflows when the last fault is long over.

use super::expected;
use super::script::Script;
use crate::core::Core;
use crate::oracle::check as promise;
use crate::schema::Kind;
use kruntimes_api::{Phase, Run, Workflow, WorkflowPhase};
use kube::ResourceExt;

/// Whether every Workflow has been created and has ended.
pub(crate) fn is_settled(core: &Core) -> bool {
    let flows = &core.oracle.workflows;
    flows.all.len() >= flows.plans.len() && flows.all.values().all(|flow| flow.is_over())
}

/// Each has ended, and as it does when nothing goes wrong.
pub(crate) fn check(core: &mut Core) {
    let open: Vec<String> = core
        .oracle
        .workflows
        .all
        .iter()
        .filter(|(_, flow)| !flow.is_over())
        .map(|(uid, flow)| {
            let name = flow.workflow.name_any();
            let stored = core.api.get(Kind::Workflow, &name).map(|stored| stored.value());
            format!(
                "{uid} {name} {}",
                stored.map(|it| it["status"].to_string()).unwrap_or_default()
            )
        })
        .collect();
    promise(core, "every Workflow ends", open.is_empty(), || open.join("; "));
    let all: Vec<(String, String)> = core
        .oracle
        .workflows
        .all
        .iter()
        .filter(|(_, flow)| !flow.deleted)
        .map(|(uid, flow)| (uid.clone(), flow.workflow.name_any()))
        .collect();
    for (uid, name) in all {
        compare(core, &uid, &name);
    }
}

fn compare(core: &mut Core, uid: &str, name: &str) {
    let Some(stored) = core.api.get(Kind::Workflow, name).map(|stored| stored.value()) else {
        return;
    };
    let Ok(workflow) = serde_json::from_value::<Workflow>(stored) else { return };
    // In a group a newer one may take the place of one that waits.
    let superseded =
        workflow.spec.concurrency.is_some() && workflow.phase() == WorkflowPhase::Cancelled;
    if superseded || core.oracle.workflows.bereft.contains(uid) || strays(core, uid) {
        return;
    }
    let Some(expected) = expected::of(&workflow) else { return };
    let found = workflow.status.as_ref().map(expected::ends).unwrap_or_default();
    core.counts.compared += 1;
    promise(core, "a Workflow ends as it does without faults", found == expected, || {
        let differs = |(key, value): &(&String, &String)| found.get(*key) != Some(*value);
        let wrong: Vec<String> = expected
            .iter()
            .filter(differs)
            .map(|(key, value)| format!("{key}: {:?}, not {value}", found.get(key)))
            .collect();
        let more: Vec<&String> = found.keys().filter(|key| !expected.contains_key(*key)).collect();
        format!("{uid} {name}: {}; more: {more:?}", wrong.join(", "))
    });
}

/// Whether a child did not end as its script says: a fault has taken it.
fn strays(core: &Core, uid: &str) -> bool {
    let mut children = core.oracle.workflows.children.get(uid).into_iter().flatten();
    children.any(|(_, made)| {
        let Some(truth) = core.oracle.runs.get(&made.uid) else { return true };
        let Some(run) = core.api.get(Kind::Run, &made.name).map(|stored| stored.value()) else {
            return true;
        };
        let Ok(run) = serde_json::from_value::<Run>(run) else { return true };
        let succeeds = Script::of(&run).map(|script| script.succeeds);
        let said = match truth.terminal {
            Some(Phase::Succeeded) => Some(true),
            Some(Phase::Failed | Phase::Timeout) => Some(false),
            // Its Workflow has cancelled it: whether it should have is what is compared.
            Some(Phase::Cancelled) => succeeds,
            Some(Phase::Pending | Phase::Scheduled | Phase::Running) | None => None,
        };
        said != succeeds
    })
}

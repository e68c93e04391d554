//! What somebody else does to Workflows and to their Runs.

use crate::core::Core;
use crate::faults::Fault;
use crate::message::{Act, Address, Body, ClientStep};
use crate::schema::Kind;
use crate::store::Op;
use kruntimes_api::Workflow;
use kruntimes_workflow::{LABEL_JOB, LABEL_LEG, LABEL_STEP, LABEL_WORKFLOW, names};
use kube::ResourceExt;
use serde_json::{Value, json};

/// Of a thousand Workflows that are deleted so many are created again.
const AGAIN_PERMILLE: u64 = 500;

/// Strikes; false where there is nothing to strike.
pub(crate) fn strike(core: &mut Core, fault: Fault) -> bool {
    if !core.is_up(Address::Api) {
        return false;
    }
    let open = core.oracle.workflows.all.iter().filter(|(_, flow)| !flow.is_over());
    let open: Vec<String> = open.map(|(uid, _)| uid.clone()).collect();
    if open.is_empty() {
        return false;
    }
    let at = usize::try_from(core.random.below(open.len() as u64)).unwrap_or(0);
    let uid = &open[at];
    let Some(workflow) = core.oracle.workflows.all.get(uid).map(|flow| flow.workflow.clone())
    else {
        return false;
    };
    match fault {
        Fault::ChildDeleted => delete_child(core, uid),
        Fault::NameTaken => take_name(core, &workflow),
        Fault::WorkflowDeleted => delete(core, &workflow),
        Fault::WorkflowEdited => edit(core, &workflow),
        _ => false,
    }
}

fn delete_child(core: &mut Core, uid: &str) -> bool {
    let children = core.oracle.workflows.children.get(uid).into_iter().flatten();
    let names: Vec<String> = children.map(|(_, made)| made.name.clone()).collect();
    if names.is_empty() {
        return false;
    }
    let at = usize::try_from(core.random.below(names.len() as u64)).unwrap_or(0);
    let name = names[at].clone();
    if core.api.get(Kind::Run, &name).is_none() {
        return false;
    }
    core.oracle.workflows.bereft.insert(uid.to_owned());
    core.direct(Address::Client, &Op::Delete { kind: Kind::Run, name, uid: None, grace: None })
}

/// A Run under the name that the first attempt of a step would have, which may look like that step but for its owner.
fn take_name(core: &mut Core, workflow: &Workflow) -> bool {
    let mut places = Vec::new();
    for (job, spec) in &workflow.spec.jobs {
        let values = spec.strategy.as_ref().and_then(|it| it.matrix.get("v")?.as_array().cloned());
        let legs: Vec<Option<String>> = match values {
            Some(values) => values.iter().map(|value| Some(value.to_string())).collect(),
            None => vec![None],
        };
        for step in &spec.steps {
            places.extend(legs.iter().map(|leg| (job.clone(), leg.clone(), step.name.clone())));
        }
    }
    let at = usize::try_from(core.random.below(places.len() as u64)).unwrap_or(0);
    let Some((job, leg, step)) = places.get(at) else { return false };
    let (of, attempt) = (workflow.name_any(), 1);
    let place = names::Place { job, leg: leg.as_deref(), step: Some(step), attempt };
    let name = names::child(&of, place);
    if core.api.get(Kind::Run, &name).is_some() {
        return false;
    }
    let mut metadata = json!({"name": name});
    if core.random.permille(700) {
        let labels = json!({LABEL_WORKFLOW: of, LABEL_JOB: job, LABEL_STEP: step});
        metadata["labels"] = labels;
        if let Some(leg) = leg {
            metadata["labels"][LABEL_LEG] = json!(leg);
        }
    }
    let run = json!({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": metadata,
        "spec": {"runtime": "bash", "args": ["true"]}});
    core.direct(Address::Client, &Op::Create(Kind::Run, run))
}

fn delete(core: &mut Core, workflow: &Workflow) -> bool {
    let name = workflow.name_any();
    let number = (0..9).find(|number| super::draw::name(*number) == name);
    if let Some(number) = number.filter(|_| core.random.permille(AGAIN_PERMILLE)) {
        core.oracle.workflows.awaited.insert(name.clone());
        let step = ClientStep::Workflow(number, Act::Create);
        let wait = core.random.millis(0, 20_000);
        core.post_any(core.now + wait, Address::Client, Body::Client(step));
        let mut random = core.random.clone();
        super::draw::agree(core, &mut random, number, core.now + wait);
    }
    core.direct(Address::Client, &Op::Delete { kind: Kind::Workflow, name, uid: None, grace: None })
}

/// What can't be changed, and what can.
fn edit(core: &mut Core, workflow: &Workflow) -> bool {
    let jobs = json!({"spec": {"jobs": {"more": {"runs-on": "bash",
        "steps": [{"name": "s", "run": "lasts=10 fails=9"}]}}}});
    let steps = json!({"spec": {"parallelism": 1 + core.random.below(9)}});
    let label = json!({"metadata": {"labels": {"note": core.random.below(1_000).to_string()}}});
    let ttl = json!({"spec": {"ttlSecondsAfterFinished": core.random.below(1_000) + 3_600}});
    let all: [Value; 4] = [jobs, steps, label, ttl];
    let at = usize::try_from(core.random.below(4)).unwrap_or(0);
    core.direct(Address::Client, &Op::Patch(Kind::Workflow, workflow.name_any(), all[at].clone()))
}

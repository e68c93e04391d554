//! Changes of a Workflow that exists.

use super::args::ApproveArgs;
use super::{PLURAL, RESOURCE};
use crate::failure::Failure;
use crate::home::Home;
use crate::{objects, table};
use kruntimes_api::{JobPhase, Workflow};
use kube::Api;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};

/// Changes fields of the spec, and says what was done.
pub(super) async fn spec(
    home: &Home,
    name: &str,
    fields: Value,
    done: &str,
) -> Result<u8, Failure> {
    objects::patch(&home.client, &home.namespace, PLURAL, name, &json!({"spec": fields})).await?;
    table::print(&format!("{RESOURCE}/{name} {done}\n"))?;
    Ok(0)
}

/// `krt workflow approve`.
pub(super) async fn approve(home: &Home, args: &ApproveArgs) -> Result<u8, Failure> {
    let workflows: Api<Workflow> = Api::namespaced(home.client.clone(), &home.namespace);
    let workflow = workflows.get(&args.name).await?;
    let waits = |name: &&String| {
        let job = workflow.status.as_ref().and_then(|status| status.jobs.get(*name));
        workflow.spec.jobs[*name].approval.is_some()
            && job.is_some_and(|job| job.phase == JobPhase::Waiting)
            && !workflow.spec.approvals.contains(*name)
    };
    let jobs: Vec<String> = if args.jobs.is_empty() {
        workflow.spec.jobs.keys().filter(waits).cloned().collect()
    } else {
        args.jobs.clone()
    };
    if jobs.is_empty() {
        return Err(Failure::new(format!("no job of {} waits for an approval", args.name)));
    }
    let without = jobs
        .iter()
        .find(|name| workflow.spec.jobs.get(*name).is_none_or(|job| job.approval.is_none()));
    if let Some(name) = without {
        return Err(Failure::new(format!(
            "{} has no job {name} with approval: required",
            args.name
        )));
    }
    let mut approvals = workflow.spec.approvals.clone();
    approvals.extend(jobs.iter().filter(|name| !workflow.spec.approvals.contains(name)).cloned());
    let done = format!("approved: {}", jobs.join(", "));
    spec(home, &args.name, json!({"approvals": approvals}), &done).await
}

/// `krt workflow delete`.
pub(super) async fn delete(home: &Home, name: &str) -> Result<u8, Failure> {
    let workflows: Api<Workflow> = Api::namespaced(home.client.clone(), &home.namespace);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    workflows.delete(name, &params).await?;
    table::print(&format!("{RESOURCE}/{name} deleted\n"))?;
    Ok(0)
}

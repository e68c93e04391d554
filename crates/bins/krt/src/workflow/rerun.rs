//! `krt workflow rerun`: a new Workflow with the same spec, which may keep what has succeeded.

use super::args::RerunArgs;
use super::{PLURAL, RESOURCE, follow, named, show};
use crate::failure::Failure;
use crate::home::Home;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{names, objects, table};
use kruntimes_api::{JobPhase, Reuse, Workflow};
use kruntimes_workflow::Plan;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Characters of a name before the number of the rerun.
const NAME_CHARS: usize = 50;

/// Creates the new Workflow, and follows it unless told otherwise.
pub(super) async fn rerun(home: &Home, args: &RerunArgs) -> Result<u8, Failure> {
    let workflow = show::read(home, &home.namespace, &args.name).await?;
    let object = again(&workflow, args, &names::random()?)?;
    let created = objects::create(&home.client, &home.namespace, PLURAL, &object).await?;
    let name = table::text(&created, "/metadata/name");
    if args.no_wait {
        table::print(&format!("{RESOURCE}/{name} created\n"))?;
        return Ok(0);
    }
    let progress = Progress::new(false);
    progress.note(&format!("{name} runs {} again", args.name));
    follow::follow(home, &named(&created), &mut Signals::listen()?, &progress).await
}

fn again(workflow: &Workflow, args: &RerunArgs, suffix: &str) -> Result<Value, Failure> {
    let name = &args.name;
    if workflow.is_template() {
        return Err(Failure::new(format!("{name} is a template: it has never run")));
    }
    if !workflow.phase().is_terminal() {
        return Err(Failure::new(format!(
            "{name} still runs: cancel it first, or wait for its end"
        )));
    }
    let mut spec = workflow.spec.clone();
    (spec.cancel_requested, spec.suspend, spec.approvals, spec.reuse) =
        (None, None, Vec::new(), None);
    let kept = kept(workflow, args)?;
    if !kept.is_empty() {
        let uid = workflow.uid().unwrap_or_default();
        spec.reuse = Some(Reuse { workflow: name.clone(), uid, jobs: kept });
    }
    let mut base = name.clone();
    base.truncate(NAME_CHARS);
    Ok(json!({
        "apiVersion": kruntimes_api::API_VERSION,
        "kind": "Workflow",
        "metadata": {"name": format!("{}-{suffix}", base.trim_end_matches(['-', '.'])), "labels": workflow.labels()},
        "spec": spec,
    }))
}

/// The jobs that are not run again.
fn kept(workflow: &Workflow, args: &RerunArgs) -> Result<Vec<String>, Failure> {
    if !args.failed && args.from.is_none() {
        return Ok(Vec::new());
    }
    let plan = Plan::of(&workflow.spec).map_err(|wrong| Failure {
        lines: wrong.iter().map(ToString::to_string).collect(),
        code: crate::failure::SYSTEM,
    })?;
    let jobs = workflow.status.as_ref().map(|status| &status.jobs);
    let succeeded = |name: &str| {
        jobs.and_then(|jobs| jobs.get(name)).is_some_and(|job| job.phase == JobPhase::Succeeded)
    };
    // What needs a job that runs again runs again too: it may get other values.
    let mut again: BTreeSet<usize> = match &args.from {
        Some(from) => {
            let id = plan.by_name.get(from);
            let id =
                id.ok_or_else(|| Failure::usage(format!("{} has no job {from}", args.name)))?;
            BTreeSet::from([*id])
        }
        None => BTreeSet::new(),
    };
    again.extend(
        (0..plan.jobs.len())
            .filter(|id| plan.jobs[*id].finally || !succeeded(&plan.jobs[*id].name)),
    );
    let dependents = (0..plan.jobs.len())
        .filter(|id| plan.jobs[*id].ancestors.iter().any(|ancestor| again.contains(ancestor)));
    let all: BTreeSet<usize> = again.iter().copied().chain(dependents).collect();
    let kept = (0..plan.jobs.len()).filter(|id| !all.contains(id));
    Ok(kept.map(|id| plan.jobs[id].name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::{RerunArgs, again};
    use kruntimes_api::Workflow;
    use serde_json::json;

    fn workflow() -> Workflow {
        let job = |needs: &[&str]| json!({"runs-on": "bash", "needs": needs, "steps": [{"name": "s", "run": "true"}]});
        serde_json::from_value(json!({
            "metadata": {"name": "w", "uid": "u"},
            "spec": {"jobs": {"a": job(&[]), "b": job(&["a"]), "c": job(&["b"]), "d": job(&[])}, "cancelRequested": true},
            "status": {"phase": "Failed", "jobs": {
                "a": {"phase": "Succeeded"}, "b": {"phase": "Failed"}, "c": {"phase": "Skipped"}, "d": {"phase": "Succeeded"},
            }},
        }))
        .unwrap()
    }

    fn kept(failed: bool, from: Option<&str>) -> serde_json::Value {
        let args = RerunArgs {
            name: "w".to_owned(),
            failed,
            from: from.map(str::to_owned),
            no_wait: true,
        };
        let object = again(&workflow(), &args, "x").unwrap();
        assert_eq!(object["metadata"]["name"], "w-x");
        assert!(object["spec"].get("cancelRequested").is_none());
        object["spec"]["reuse"]["jobs"].clone()
    }

    #[test]
    fn what_succeeded_is_kept_unless_something_before_it_runs_again() {
        assert_eq!(kept(false, None), json!(null));
        assert_eq!(kept(true, None), json!(["a", "d"]));
        assert_eq!(kept(false, Some("a")), json!(["d"]));
        assert_eq!(kept(false, Some("d")), json!(["a"]));
    }

    #[test]
    fn what_still_runs_is_not_run_again() {
        let mut workflow = workflow();
        workflow.status = None;
        let args = RerunArgs { name: "w".to_owned(), failed: false, from: None, no_wait: true };
        assert!(again(&workflow, &args, "x").unwrap_err().lines[0].contains("still runs"));
    }
}

//! `krt workflow list` and `get`.

use super::args::ListArgs;
use super::tree::{self, Runs};
use super::{PLURAL, RESOURCE};
use crate::cli::GetArgs;
use crate::failure::Failure;
use crate::home::Home;
use crate::table::{age, columns, print, structured, text};
use crate::{objects, show};
use jiff::Timestamp;
use kruntimes_api::{Run, Workflow};
use kruntimes_workflow::{Child, LABEL_WORKFLOW};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

/// Runs of one page of a list.
const PAGE: u32 = 500;

/// `krt workflow list`.
pub(super) async fn list(home: &Home, args: &ListArgs) -> Result<(), Failure> {
    let namespace = (!args.all_namespaces).then_some(home.namespace.as_str());
    let workflows = objects::list(&home.client, namespace, PLURAL, None).await?;
    show::show_list(&workflows, args.output, RESOURCE, namespace, |workflows| {
        let now = Timestamp::now();
        let row = |workflow: &Value| {
            let phase = text(workflow, "/status/phase");
            let is_template = workflow.pointer("/spec/template") == Some(&Value::Bool(true));
            vec![
                text(workflow, "/metadata/name"),
                text(workflow, "/metadata/namespace"),
                if is_template { "(template)".to_owned() } else { phase },
                jobs(workflow),
                age(workflow, now),
            ]
        };
        columns(
            &["NAME", "NAMESPACE", "PHASE", "JOBS", "AGE"],
            &workflows.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

/// How many jobs have ended, of how many.
fn jobs(workflow: &Value) -> String {
    let all =
        workflow.pointer("/spec/jobs").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    let known = workflow.pointer("/status/jobs").and_then(Value::as_object);
    let has_ended = |job: &&Value| {
        matches!(text(job, "/phase").as_str(), "Succeeded" | "Failed" | "Skipped" | "Cancelled")
    };
    let ended = known.into_iter().flat_map(serde_json::Map::values).filter(has_ended).count();
    format!("{ended}/{all}")
}

/// `krt workflow get`.
pub(super) async fn get(home: &Home, args: &GetArgs) -> Result<(), Failure> {
    let object = objects::get(&home.client, &home.namespace, PLURAL, &args.name).await?;
    if let Some(text) = structured(object, args.output, RESOURCE)? {
        return print(&text);
    }
    let workflow = read(home, &home.namespace, &args.name).await?;
    let runs = runs(home, &home.namespace, &args.name).await?;
    print(&(tree::lines(&workflow, &runs, Timestamp::now()).join("\n") + "\n"))
}

pub(super) async fn read(home: &Home, namespace: &str, name: &str) -> Result<Workflow, Failure> {
    let workflows: Api<Workflow> = Api::namespaced(home.client.clone(), namespace);
    Ok(workflows.get(name).await?)
}

/// The Runs of a Workflow.
pub(super) async fn runs(home: &Home, namespace: &str, name: &str) -> Result<Runs, Failure> {
    let api: Api<Run> = Api::namespaced(home.client.clone(), namespace);
    let mut params = ListParams::default().labels(&format!("{LABEL_WORKFLOW}={name}")).limit(PAGE);
    let mut all = Runs::new();
    loop {
        let page = api.list(&params).await?;
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        all.extend(page.items.into_iter().filter_map(|run| Some((Child::of(run.labels())?, run))));
        let Some(token) = next else { return Ok(all) };
        params.continue_token = Some(token);
    }
}

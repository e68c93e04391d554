//! Every key of GitHub's workflow syntax, with what it is here.

use super::{MAX_REFUSALS, Refusal};
use crate::nearest;
use serde_json::Value;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It means the same.
    Same,
    /// It is taken, with this difference.
    Differs(&'static str),
    /// It is refused, and this does its work.
    Refused(&'static str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `*` stands for any name, `[]` for any place of a list.
    pub path: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
}

pub(super) const STARTS: &str = "a Workflow runs when it is created, and by nothing else: have the event create it with krt or kubectl";
const RIGHTS: &str = "the ServiceAccount of a Runtime has the rights of its Runs: take it out";
const SHELLS: &str = "the Runtime that runs-on names executes every script: take it out";
const DIRECTORIES: &str = "begin the script with cd";
const PODS: &str =
    "the template of a Runtime says what its pods are: name a Runtime that has this in runs-on";
const ACTIONS: &str =
    "actions are programs for GitHub's runners: write what it does as a script in run";
const SECRETS: &str =
    "a Workflow has no Secrets: a Run gets one by env with valueFrom.secretKeyRef";
const NUMBERS: &str = "minutes become timeoutSeconds; a number, and no expression";
const SWITCHES: &str = "true or false, and no expression";

const fn same(path: &'static str) -> Key {
    Key { path, verdict: Verdict::Same }
}

const fn differs(path: &'static str, how: &'static str) -> Key {
    Key { path, verdict: Verdict::Differs(how) }
}

const fn refused(path: &'static str, instead: &'static str) -> Key {
    Key { path, verdict: Verdict::Refused(instead) }
}

/// In the order of GitHub's documentation.
pub const KEYS: [Key; 91] = [
    differs("name", "the Workflow's name begins with it"),
    refused("run-name", "a Workflow has the name of its object alone: take it out"),
    differs("on", "workflow_dispatch alone: krt workflow run does it; any other event is refused"),
    refused("on.*", STARTS),
    refused("on.schedule", "a CronJob that creates the Workflow with kubectl does it"),
    refused(
        "on.workflow_call",
        "put its inputs under inputs and its outputs under outputs, and set template: true",
    ),
    differs(
        "on.workflow_dispatch",
        "its inputs become those of the Workflow: krt workflow run gives them values",
    ),
    same("on.workflow_dispatch.inputs"),
    same("on.workflow_dispatch.inputs.*"),
    same("on.workflow_dispatch.inputs.*.description"),
    same("on.workflow_dispatch.inputs.*.required"),
    same("on.workflow_dispatch.inputs.*.default"),
    differs(
        "on.workflow_dispatch.inputs.*.type",
        "string, boolean, number and choice; there are no environments",
    ),
    same("on.workflow_dispatch.inputs.*.options"),
    refused("permissions", RIGHTS),
    same("env"),
    same("env.*"),
    refused("defaults", "say it in each step"),
    refused("defaults.run", "say it in each step"),
    refused("defaults.run.shell", SHELLS),
    refused("defaults.run.working-directory", DIRECTORIES),
    same("concurrency"),
    same("concurrency.group"),
    differs("concurrency.cancel-in-progress", SWITCHES),
    same("jobs"),
    differs("jobs.*", "at most 64, and 1,024 legs of all matrices"),
    differs("jobs.*.name", "it is not kept: a job is shown by its key"),
    refused("jobs.*.permissions", RIGHTS),
    differs("jobs.*.needs", "reading jobs.NAME.outputs in a script is a need as well"),
    same("jobs.*.if"),
    differs(
        "jobs.*.runs-on",
        "the name of a Runtime of the namespace, and bash where there is none",
    ),
    refused("jobs.*.runs-on.group", "name one Runtime"),
    refused("jobs.*.runs-on.labels", "name one Runtime"),
    refused("jobs.*.snapshot", PODS),
    refused("jobs.*.environment", "approval: required has the job wait until somebody agrees"),
    refused("jobs.*.environment.name", "approval: required has the job wait until somebody agrees"),
    refused("jobs.*.environment.url", "write it into an output"),
    refused("jobs.*.concurrency", "a group is of whole Workflows: put it at the top"),
    refused("jobs.*.concurrency.group", "a group is of whole Workflows: put it at the top"),
    refused(
        "jobs.*.concurrency.cancel-in-progress",
        "a group is of whole Workflows: put it at the top",
    ),
    same("jobs.*.outputs"),
    same("jobs.*.outputs.*"),
    same("jobs.*.env"),
    same("jobs.*.env.*"),
    refused("jobs.*.defaults", "say it in each step"),
    refused("jobs.*.defaults.run", "say it in each step"),
    refused("jobs.*.defaults.run.shell", SHELLS),
    refused("jobs.*.defaults.run.working-directory", DIRECTORIES),
    differs(
        "jobs.*.steps",
        "at most 128; they share a directory (workspace: shared), and processes that one leaves behind end with it",
    ),
    differs("jobs.*.steps[].id", "it becomes the step's name"),
    same("jobs.*.steps[].if"),
    differs("jobs.*.steps[].name", "the step's name is made of it, where there is no id"),
    refused("jobs.*.steps[].uses", ACTIONS),
    differs(
        "jobs.*.steps[].run",
        "values of expressions are environment variables; set -e is put before the script",
    ),
    refused("jobs.*.steps[].working-directory", DIRECTORIES),
    differs("jobs.*.steps[].shell", "bash alone; set -eo pipefail is put before the script"),
    refused("jobs.*.steps[].with", ACTIONS),
    refused("jobs.*.steps[].with.*", ACTIONS),
    refused("jobs.*.steps[].with.args", ACTIONS),
    refused("jobs.*.steps[].with.entrypoint", ACTIONS),
    same("jobs.*.steps[].env"),
    same("jobs.*.steps[].env.*"),
    differs("jobs.*.steps[].continue-on-error", SWITCHES),
    differs("jobs.*.steps[].timeout-minutes", NUMBERS),
    differs("jobs.*.timeout-minutes", NUMBERS),
    same("jobs.*.strategy"),
    differs("jobs.*.strategy.matrix", "names are combined in alphabetical order"),
    differs("jobs.*.strategy.matrix.*", "letters, digits, - and _; no leg twice"),
    same("jobs.*.strategy.matrix.include"),
    same("jobs.*.strategy.matrix.exclude"),
    differs("jobs.*.strategy.fail-fast", SWITCHES),
    differs("jobs.*.strategy.max-parallel", "a number, and no expression"),
    differs("jobs.*.continue-on-error", SWITCHES),
    refused("jobs.*.container", PODS),
    refused("jobs.*.container.image", PODS),
    refused("jobs.*.container.credentials", PODS),
    refused("jobs.*.container.env", PODS),
    refused("jobs.*.container.ports", PODS),
    refused("jobs.*.container.volumes", PODS),
    refused("jobs.*.container.options", PODS),
    refused("jobs.*.services", PODS),
    refused("jobs.*.services.*", PODS),
    refused("jobs.*.services.*.image", PODS),
    refused("jobs.*.services.*.credentials", PODS),
    refused("jobs.*.services.*.env", PODS),
    refused("jobs.*.services.*.ports", PODS),
    differs("jobs.*.uses", "the name of a Workflow of the namespace with template: true"),
    same("jobs.*.with"),
    same("jobs.*.with.*"),
    refused("jobs.*.secrets", SECRETS),
    refused("jobs.*.secrets.*", SECRETS),
];

/// Keys that GitHub has not, in the order of the paths.
const OURS: [&str; 42] = [
    "template",
    "inputs",
    "inputs.*",
    "inputs.*.description",
    "inputs.*.type",
    "inputs.*.required",
    "inputs.*.default",
    "inputs.*.options",
    "with",
    "with.*",
    "outputs",
    "outputs.*",
    "finally",
    "fail-fast",
    "parallelism",
    "timeoutSeconds",
    "retryPolicy",
    "retryPolicy.maxAttempts",
    "retryPolicy.backoff",
    "suspend",
    "approvals",
    "cancelRequested",
    "ttlSecondsAfterFinished",
    "reuse",
    "reuse.*",
    "jobs.*.timeoutSeconds",
    "jobs.*.retryPolicy",
    "jobs.*.retryPolicy.maxAttempts",
    "jobs.*.retryPolicy.backoff",
    "jobs.*.approval",
    "jobs.*.workspace",
    "jobs.*.steps[].args",
    "jobs.*.steps[].timeoutSeconds",
    "jobs.*.steps[].retryPolicy",
    "jobs.*.steps[].retryPolicy.maxAttempts",
    "jobs.*.steps[].retryPolicy.backoff",
    "jobs.*.steps[].retryPolicy.retryableReasons",
    "jobs.*.steps[].inputs",
    "jobs.*.steps[].inputs[].job",
    "jobs.*.steps[].inputs[].step",
    "jobs.*.steps[].inputs[].name",
    "jobs.*.steps[].inputs[].path",
];

/// Each key of a file that has no meaning here, with its path: those of GitHub's syntax that are refused, and those that
/// nobody knows. At most [`MAX_REFUSALS`].
#[must_use]
pub fn check_keys(file: &Value) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if file.is_object() {
        check(file, "", "", &mut refusals);
    } else {
        refusals.push(Refusal::new("", "a workflow is an object with jobs"));
    }
    refusals
}

/// `pattern` is the path with `*` and `[]`.
fn check(value: &Value, path: &str, pattern: &str, refusals: &mut Vec<Refusal>) {
    if let Value::Array(values) = value {
        let pattern = format!("{pattern}[]");
        for (place, value) in values.iter().enumerate().filter(|_| has_keys(&pattern)) {
            check(value, &format!("{path}[{place}]"), &pattern, refusals);
        }
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        if refusals.len() >= MAX_REFUSALS {
            return;
        }
        let path = joined(path, key);
        let Some(found) = known(pattern, key) else {
            refusals.push(Refusal::new(path, unknown(pattern, key)));
            continue;
        };
        match KEYS.iter().find(|row| row.path == found).map(|row| row.verdict) {
            Some(Verdict::Refused(_)) if has_refused_parts(value, &found) => {
                check(value, &path, &found, refusals);
            }
            Some(Verdict::Refused(instead)) => refusals.push(Refusal::new(path, instead)),
            Some(Verdict::Same | Verdict::Differs(_)) | None if has_keys(&found) => {
                check(value, &path, &found, refusals);
            }
            Some(Verdict::Same | Verdict::Differs(_)) | None => {}
        }
    }
}

/// The pattern of a key: its own, or that of any name.
fn known(pattern: &str, key: &str) -> Option<String> {
    let own = joined(pattern, key);
    let any = joined(pattern, "*");
    [own, any].into_iter().find(|pattern| patterns().any(|known| known == pattern))
}

fn patterns() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|row| row.path).chain(OURS)
}

/// Whether what is below a pattern is looked at. A matrix has any names, and values of any shape.
fn has_keys(pattern: &str) -> bool {
    let is_below = |rest: &str| rest.starts_with(['.', '[']);
    let has_keys = patterns().any(|known| known.strip_prefix(pattern).is_some_and(is_below));
    has_keys && !pattern.ends_with("matrix")
}

/// Whether every part of a refused value has a row of its own, which says more.
fn has_refused_parts(value: &Value, pattern: &str) -> bool {
    let is_row = |key: &String| known(pattern, key).is_some();
    value.as_object().is_some_and(|members| !members.is_empty() && members.keys().all(is_row))
}

fn unknown(pattern: &str, key: &str) -> String {
    let start = if pattern.is_empty() { String::new() } else { format!("{pattern}.") };
    let names: Vec<&str> = patterns()
        .filter_map(|known| known.strip_prefix(&start))
        .filter(|rest| !rest.contains(['.', '[', '*']))
        .collect();
    format!("there is no such key: {}", nearest::hint(key, &names))
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

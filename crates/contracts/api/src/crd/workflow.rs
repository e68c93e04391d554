//! The rules of Workflow's CRD. What needs a look at expressions or a walk over the graph is checked by the controller, and
//! said in the condition `Valid`.

use super::rule::{Rule, add as rule, at};
use super::rules::{add_backoff, add_cancellation, unchanged};
use crate::limits;
use serde_json::{Value, json};

/// Fields of the spec that only a template may change.
const IMMUTABLE: [&str; 12] = [
    "template",
    "inputs",
    "with",
    "env",
    "outputs",
    "finally",
    "fail-fast",
    "parallelism",
    "concurrency",
    "timeoutSeconds",
    "retryPolicy",
    "reuse",
];

const NAME: &str = "^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";

pub(super) fn add(root: &mut Value) {
    limit_maps(root);
    let name = limits::WORKFLOW_NAME_CHARS;
    rule(
        root,
        "",
        Rule::new(
            &format!("self.metadata.name.size() <= {name}"),
            &format!(
                "the name of a Workflow must have at most {name} characters: it is a label of its Runs"
            ),
        ),
    );
    add_graph(root);
    add_jobs(root);
    add_inputs(root);
    add_immutability(root);
    add_status(root);
    for path in ["spec", "spec.jobs{}", "spec.jobs{}.steps[]"] {
        add_backoff(root, &format!("{path}.retryPolicy.backoff"));
    }
}

/// Lengths that the types can't say: of maps and of what they hold.
fn limit_maps(root: &mut Value) {
    let value = limits::OUTPUT_VALUE_BYTES;
    for (path, items, chars) in [
        ("spec.jobs", limits::JOBS as usize, None),
        ("spec.inputs", limits::INPUTS as usize, None),
        ("spec.with", limits::INPUTS as usize, Some(value)),
        ("spec.env", limits::ENV_ITEMS as usize, Some(value)),
        ("spec.outputs", limits::OUTPUTS_ITEMS as usize, Some(value)),
        ("spec.jobs{}.outputs", limits::OUTPUTS_ITEMS as usize, Some(value)),
        ("spec.jobs{}.env", limits::ENV_ITEMS as usize, Some(value)),
        ("spec.jobs{}.with", limits::INPUTS as usize, Some(value)),
        ("spec.jobs{}.steps[].env", limits::ENV_ITEMS as usize, Some(value)),
        ("spec.jobs{}.steps[].with", limits::ENV_ITEMS as usize, Some(value)),
        ("status.jobs", limits::JOBS as usize, None),
        ("status.outputs", limits::OUTPUTS_ITEMS as usize, Some(value)),
        ("status.jobs{}.outputs", limits::OUTPUTS_ITEMS as usize, Some(value)),
        ("status.jobs{}.steps", limits::STEPS as usize, None),
        ("status.jobs{}.legs", limits::LEGS as usize, None),
    ] {
        let schema = at(root, path);
        schema["maxProperties"] = json!(items);
        if let Some(chars) = chars {
            schema["additionalProperties"]["maxLength"] = json!(chars);
        }
    }
    at(root, "spec.jobs")["minProperties"] = json!(1);
    let steps = at(root, "spec.jobs{}.steps");
    steps["x-kubernetes-list-type"] = json!("map");
    steps["x-kubernetes-list-map-keys"] = json!(["name"]);
    for set in ["spec.finally", "spec.approvals"] {
        let schema = at(root, set);
        schema["x-kubernetes-list-type"] = json!("set");
        schema["items"]["maxLength"] = json!(63);
    }
}

fn add_graph(root: &mut Value) {
    let names = format!("self.all(name, name.size() <= 63 && name.matches('{NAME}'))");
    let message = "names of jobs have 1 to 63 letters, digits, '-', '_' and '.', with a letter or a digit at both ends";
    rule(root, "spec.jobs", Rule::new(&names, message));
    for (text, message) in [
        (
            "self.jobs.all(name, !has(self.jobs[name].needs) || self.jobs[name].needs.all(need, need in self.jobs))",
            "needs names a job that spec.jobs does not have",
        ),
        (
            "self.jobs.all(name, !has(self.jobs[name].needs) || !(name in self.jobs[name].needs))",
            "a job can't need itself",
        ),
    ] {
        rule(root, "spec", Rule::new(text, message).field("jobs"));
    }
    rule(
        root,
        "spec",
        Rule::new(
            "!has(self.finally) || self.finally.all(name, name in self.jobs)",
            "finally names a job that spec.jobs does not have",
        )
        .field("finally"),
    );
    rule(
        root,
        "spec",
        Rule::new(
            "!has(self.finally) || self.finally.size() < self.jobs.size()",
            "finally can't name every job: it waits for the others",
        )
        .field("finally"),
    );
}

/// CEL knows a field with a dash as `__dash__` (Kubernetes, "Validation rules").
fn add_jobs(root: &mut Value) {
    for (text, message, field) in [
        ("has(self.steps) != has(self.uses)", "a job has either steps or uses", "steps"),
        ("!has(self.steps) || self.steps.size() > 0", "a job needs at least one step", "steps"),
        (
            "!has(self.steps) || has(self.runs__dash__on)",
            "a job with steps needs runs-on, the name of a Runtime like bash",
            "runs-on",
        ),
        (
            "!has(self.uses) || (!has(self.runs__dash__on) && !has(self.outputs) && !has(self.env))",
            "a job with uses takes runs-on, outputs and env from the Workflow that it uses",
            "uses",
        ),
        ("!has(self.with) || has(self.uses)", "with belongs to uses", "with"),
        (
            "!has(self.workspace) || has(self.steps)",
            "workspace is of steps: the Workflow that the job uses says it for its own jobs",
            "workspace",
        ),
    ] {
        rule(root, "spec.jobs{}", Rule::new(text, message).field(field));
    }
    let step = "spec.jobs{}.steps[]";
    rule(root, step, Rule::new("has(self.run)", "a step needs run, its script").field("run"));
    for (name, message) in [
        ("uses", "steps of others are not served: put what it does into run"),
        ("with", "with belongs to uses, which steps do not have: use env"),
    ] {
        rule(root, step, Rule::new(&format!("!has(self.{name})"), message).field(name));
    }
}

fn add_inputs(root: &mut Value) {
    let name = "self.all(name, name.size() <= 63 && name.matches('^[A-Za-z_][A-Za-z0-9_-]*$'))";
    let message =
        "names of inputs have 1 to 63 letters, digits, '_' and '-', with a letter or '_' at first";
    rule(root, "spec.inputs", Rule::new(name, message));
    rule(
        root,
        "spec",
        Rule::new(
            "!has(self.with) || (has(self.inputs) && self.with.all(name, name in self.inputs))",
            "with names an input that spec.inputs does not have",
        )
        .field("with"),
    );
    rule(
        root,
        "spec.inputs{}",
        Rule::new(
            "has(self.options) == (has(self.type) && self.type == 'choice')",
            "options belong to inputs of type choice, which need them",
        )
        .field("options"),
    );
}

fn add_immutability(root: &mut Value) {
    let template = "(has(oldSelf.template) && oldSelf.template)";
    rule(
        root,
        "spec",
        Rule::new(
            &format!("{template} || self.jobs == oldSelf.jobs"),
            "spec.jobs is immutable: create another Workflow, or cancel this one",
        )
        .field("jobs"),
    );
    for field in IMMUTABLE {
        let name = field.replace('-', "__dash__");
        let free = if field == "template" { "false" } else { template };
        let text = format!("{free} || ({})", unchanged(&name));
        rule(root, "spec", Rule::new(&text, &format!("spec.{field} is immutable")).field(field));
    }
    add_cancellation(root);
    let approvals = "!has(oldSelf.approvals)
        || (has(self.approvals) && oldSelf.approvals.all(name, name in self.approvals))";
    rule(root, "spec", Rule::new(approvals, "an approval can't be taken back").field("approvals"));
    rule(
        root,
        "spec",
        Rule::new(
            "!has(self.approvals) || self.approvals.all(name, name in self.jobs)",
            "approvals names a job that spec.jobs does not have",
        )
        .field("approvals"),
    );
}

fn add_status(root: &mut Value) {
    let frozen =
        "!has(oldSelf.status) || !(oldSelf.status.phase in ['Succeeded', 'Failed', 'Cancelled'])
        || self.status == oldSelf.status";
    rule(
        root,
        "",
        Rule::new(frozen, "the status of a Workflow that ended never changes").field("status"),
    );
    let phase = "!has(oldSelf.status) || (has(self.status)
        && (oldSelf.status.phase != 'Running' || self.status.phase != 'Pending'))";
    rule(
        root,
        "",
        Rule::new(phase, "not a legal transition of status.phase").field("status.phase"),
    );
}

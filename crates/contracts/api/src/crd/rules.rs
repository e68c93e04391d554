//! The CEL rules of the CRDs: immutability, transitions of status, and what a schema can't say.
//!
//! Rules on status stand at the root: on `status` itself the first write could jump to any phase, and
//! `{"status": null}` would revive a terminal Run (ADR 0001).

use super::rule::{Rule, add, at};
use crate::limits;
use serde_json::{Value, json};

const IMMUTABLE: [&str; 13] = [
    "source",
    "inputs",
    "entrypoint",
    "handler",
    "args",
    "env",
    "timeoutSeconds",
    "retryPolicy",
    "runtime",
    "resources",
    "network",
    "workspaceGroup",
    "holdsWorkspace",
];

pub(super) fn add_run(root: &mut Value) {
    add_replaced(root);
    add_immutability(root);
    add_paths(root);
    add_text(root);
    add_share(root);
    limit_outputs(root);
    add_run_status(root);
}

/// Fields of neighbours' APIs: refused with the name of ours, for a lenient client would lose them silently.
fn add_replaced(root: &mut Value) {
    let any_text = json!({"x-kubernetes-int-or-string": true});
    let any_object = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for (name, mut shape, instead) in [
        (
            "timeout",
            any_text,
            "spec.timeout is not a field: use spec.timeoutSeconds, an integer of seconds",
        ),
        ("mode", any_object, "spec.mode is not a field: use spec.entrypoint and spec.args"),
    ] {
        shape["description"] = json!(format!("Refused: {instead}."));
        at(root, "spec")["properties"][name] = shape;
        add(root, "spec", Rule::new(&format!("!has(self.{name})"), instead).field(name));
    }
}

/// Each field is compared on `spec`: a rule on the field itself could be walked around by null, then a new value.
fn add_immutability(root: &mut Value) {
    for field in IMMUTABLE {
        let rule = if field == "runtime" {
            "self.runtime == oldSelf.runtime".to_owned()
        } else {
            unchanged(field)
        };
        // The shape of a field that is not served yet has no type to compare.
        if at(root, "spec").pointer(&format!("/properties/{field}")).is_some() {
            add(root, "spec", Rule::new(&rule, &format!("spec.{field} is immutable")).field(field));
        }
    }
    add_cancellation(root);
}

/// That a field, by its name in CEL, is as it was.
pub(super) fn unchanged(field: &str) -> String {
    format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    )
}

pub(super) fn add_cancellation(root: &mut Value) {
    let cancel = "!has(oldSelf.cancelRequested) || !oldSelf.cancelRequested
        || (has(self.cancelRequested) && self.cancelRequested)";
    add(
        root,
        "spec",
        Rule::new(cancel, "spec.cancelRequested can't be taken back").field("cancelRequested"),
    );
}

fn add_paths(root: &mut Value) {
    add(
        root,
        "spec.entrypoint",
        Rule::new(
            "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
            "must be a relative path inside the workspace: no leading '/', no '..'",
        )
        .with_value(),
    );
    add_backoff(root, "spec.retryPolicy.backoff");
}

/// The wait before a second attempt.
pub(super) fn add_backoff(root: &mut Value, path: &str) {
    add(
        root,
        path,
        Rule::new(
            "self.matches('^([0-9]*[.]?[0-9]+(ns|us|ms|s|m|h))+$')
                && duration(self) > duration('0s') && duration(self) <= duration('24h')",
            "must be a duration above 0s and up to 24h, like 500ms or 1m30s",
        )
        .with_value(),
    );
}

fn add_text(root: &mut Value) {
    let total = limits::TEXT_TOTAL_CHARS;
    add(
        root,
        "spec.args",
        Rule::new(
            &format!("self.map(a, a.size()).sum() <= {total}"),
            &format!("must have at most {total} characters in all"),
        ),
    );
}

/// A shared workspace, and the Run that holds it.
fn add_share(root: &mut Value) {
    let holds = "!has(self.holdsWorkspace) || !self.holdsWorkspace";
    for (rule, message, field) in [
        (
            format!("{holds} || has(self.workspaceGroup)"),
            "a Run that holds a workspace needs the name of its group in workspaceGroup",
            "workspaceGroup",
        ),
        (
            format!(
                "{holds} || !(has(self.source) || has(self.args) || has(self.entrypoint) || has(self.handler) || has(self.inputs))"
            ),
            "a Run that holds a workspace executes nothing: it has no source, args, entrypoint, handler or inputs",
            "holdsWorkspace",
        ),
        (
            format!("{holds} || !has(self.retryPolicy)"),
            "a Run that holds a workspace has one attempt: what was in the workspace is lost with it",
            "retryPolicy",
        ),
        (
            "!has(self.workspaceGroup) || !has(self.resources) || !has(self.resources.requests)"
                .to_owned(),
            "the Runs of a group have one slot together: they can't request resources",
            "resources",
        ),
        (
            "!has(self.workspaceGroup) || !has(self.source) || !has(self.source.repoURL)"
                .to_owned(),
            "a repository is not fetched into a workspace that Runs share: clone it in a script",
            "source",
        ),
    ] {
        add(root, "spec", Rule::new(&rule, message).field(field));
    }
}

fn limit_outputs(root: &mut Value) {
    let outputs = at(root, "status.outputs");
    outputs["maxProperties"] = json!(limits::OUTPUTS_ITEMS);
    outputs["additionalProperties"]["maxLength"] = json!(limits::OUTPUT_VALUE_BYTES);
}

const TERMINAL: &str = "['Succeeded', 'Failed', 'Timeout', 'Cancelled']";

fn add_run_status(root: &mut Value) {
    let phase = "!has(oldSelf.status) || (has(self.status) && (
        oldSelf.status.phase == self.status.phase
        || (oldSelf.status.phase == 'Pending' && self.status.phase in ['Scheduled', 'Cancelled', 'Failed'])
        || (oldSelf.status.phase in ['Scheduled', 'Running']
            && self.status.phase in ['Pending', 'Succeeded', 'Failed', 'Timeout', 'Cancelled'])
        || (oldSelf.status.phase == 'Scheduled' && self.status.phase == 'Running')))";
    add(root, "", Rule::new(phase, "not a legal transition of status.phase").field("status.phase"));

    let frozen = format!(
        "!has(oldSelf.status) || !(oldSelf.status.phase in {TERMINAL}) || self.status == oldSelf.status"
    );
    add(
        root,
        "",
        Rule::new(&frozen, "the status of a Run that ended never changes").field("status"),
    );

    let attempt = "!has(oldSelf.status) || !has(self.status) ||
        (has(self.status.attempt) ? self.status.attempt : 0)
        == (has(oldSelf.status.attempt) ? oldSelf.status.attempt : 0)
        + (oldSelf.status.phase == 'Pending' && self.status.phase == 'Scheduled'
            ? (has(oldSelf.status.reason) && oldSelf.status.reason == 'NotStarted' ? 0 : 1) : 0)";
    add(
        root,
        "",
        Rule::new(attempt, "status.attempt rises by one at an assignment and nowhere else")
            .field("status.attempt"),
    );
    let bound = "!has(self.status) || !has(self.status.attempt) || self.status.attempt
        <= (has(self.spec.retryPolicy) && has(self.spec.retryPolicy.maxAttempts)
            ? self.spec.retryPolicy.maxAttempts : 1)";
    add(
        root,
        "",
        Rule::new(bound, "status.attempt is above spec.retryPolicy.maxAttempts")
            .field("status.attempt"),
    );
    add_assignment(root);
}

/// What a write of runtimed names so that it is refused when the Run was assigned anew.
fn add_assignment(root: &mut Value) {
    // The UID stays on the way back to Pending: it is part of the token that fences a stale runtimed's hand-back too.
    let pod = "!has(oldSelf.status) || !has(self.status) ||
        (oldSelf.status.phase == 'Pending' && self.status.phase == 'Scheduled'
            ? has(self.status.assignedPodUID) && has(self.status.assignedPod)
            : has(self.status.assignedPodUID) == has(oldSelf.status.assignedPodUID)
                && (!has(self.status.assignedPodUID)
                    || self.status.assignedPodUID == oldSelf.status.assignedPodUID)
                && (self.status.phase != 'Pending' || !has(self.status.assignedPod)))";
    add(
        root,
        "",
        Rule::new(
            pod,
            "status.assignedPodUID changes only at an assignment; Pending has no assignedPod",
        )
        .field("status.assignedPodUID"),
    );

    // A number that never started is given again, to the same pod too: the time tells the two apart.
    let scheduled = "has(self.status.timeline) && has(self.status.timeline.scheduled)";
    let before = scheduled.replace("self", "oldSelf");
    let token = format!(
        "!has(oldSelf.status) || !has(self.status)
        || (oldSelf.status.phase == 'Pending' && self.status.phase == 'Scheduled')
        || (({scheduled}) == ({before})
            && (!({scheduled}) || self.status.timeline.scheduled == oldSelf.status.timeline.scheduled))"
    );
    add(
        root,
        "",
        Rule::new(&token, "status.timeline.scheduled changes only at an assignment")
            .field("status.timeline.scheduled"),
    );
}

/// A DNS subdomain, escaped for a string of CEL.
const DNS: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

pub(super) fn add_runtime(root: &mut Value) {
    let name = limits::RUNTIME_NAME_CHARS;
    add(
        root,
        "",
        Rule::new(
            &format!("self.metadata.name.size() <= {name}"),
            &format!(
                "the name of a Runtime must have at most {name} characters: it is part of a label of its pods"
            ),
        ),
    );
    let template = "spec.template.spec";
    add(
        root,
        template,
        Rule::new(
            "self.containers.size() > 0 && self.containers[0].name == 'runtime'",
            "the first container must be named runtime: it holds the Runtime Server",
        )
        .field("containers"),
    );
    add(
        root,
        template,
        Rule::new(
            "self.containers.size() == 0 || (has(self.containers[0].image) && self.containers[0].image.size() > 0
                && self.containers[0].image.size() <= 2048)",
            "the runtime container needs an image of 1 to 2048 characters",
        )
        .field("containers"),
    );
    add(
        root,
        template,
        Rule::new(
            "!has(self.restartPolicy) || self.restartPolicy == 'Always'",
            "must be Always or absent",
        )
        .field("restartPolicy"),
    );
    add(
        root,
        template,
        Rule::new("!has(self.ephemeralContainers)", "a Runtime has no ephemeral containers")
            .field("ephemeralContainers"),
    );
    add(
        root,
        template,
        Rule::new(
            &format!(
                "!has(self.serviceAccountName) || self.serviceAccountName == ''
                    || self.serviceAccountName.matches('{DNS}')"
            ),
            "must be a DNS subdomain",
        )
        .field("serviceAccountName"),
    );
    limit_template(root);
    add_reserved_keys(root);
}

pub(super) fn add_artifact_store(root: &mut Value) {
    add(
        root,
        "spec.artifactStore",
        Rule::new("self.driver != 's3' || has(self.s3)", "the driver s3 needs s3.bucket")
            .field("s3"),
    );
    add(
        root,
        "spec.artifactStore",
        Rule::new(
            "!has(self.filesystem) || !has(self.s3)",
            "only one of filesystem and s3 can be given: that of the driver",
        )
        .field("driver"),
    );
    add(
        root,
        "spec.artifactStore.s3.prefix",
        Rule::new(
            "!self.split('/').exists(part, part == '.' || part == '..')",
            "must not have '.' or '..' between its '/'",
        )
        .with_value(),
    );
    add(
        root,
        "spec.artifactStore",
        Rule::new(
            "self.driver != 'filesystem' || has(self.filesystem)",
            "the driver filesystem needs filesystem.volumeClaimName",
        )
        .field("filesystem"),
    );
}

/// The API server takes no rule that walks a map or searches a string without a limit.
fn limit_template(root: &mut Value) {
    for map in ["labels", "annotations"] {
        let schema = at(root, &format!("spec.template.metadata.{map}"));
        schema["maxProperties"] = json!(limits::TEMPLATE_KEYS);
    }
    let labels = at(root, "spec.template.metadata.labels");
    labels["additionalProperties"]["maxLength"] = json!(limits::LABEL_CHARS);
    let account = at(root, "spec.template.spec.serviceAccountName");
    account["maxLength"] = json!(limits::OBJECT_NAME_CHARS);
}

/// Labels and annotations that the controller sets are refused unless they hold its value.
fn add_reserved_keys(root: &mut Value) {
    let labels = "!has(self.spec.template.metadata) || !has(self.spec.template.metadata.labels)
        || ((!('runtime' in self.spec.template.metadata.labels)
                || self.spec.template.metadata.labels['runtime'] == self.metadata.name)
            && (!('app' in self.spec.template.metadata.labels)
                || self.spec.template.metadata.labels['app'] == 'kruntimes-' + self.metadata.name)
            && self.spec.template.metadata.labels.all(key, !key.startsWith('kruntimes.io/')))";
    add(
        root,
        "",
        Rule::new(labels, "runtime, app and kruntimes.io/ are set by the controller")
            .field("spec.template.metadata.labels"),
    );
    let annotations =
        "!has(self.spec.template.metadata) || !has(self.spec.template.metadata.annotations)
        || self.spec.template.metadata.annotations.all(key,
            !key.startsWith('kruntimes.io/') || key == 'kruntimes.io/local-command')";
    add(
        root,
        "",
        Rule::new(annotations, "kruntimes.io/ annotations are set by the controller")
            .field("spec.template.metadata.annotations"),
    );
}

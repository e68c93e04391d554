//! One Workflow that has not ended.

use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_cluster::watch::{Chain, ObjectKey};
use kruntimes_workflow::{Effect, Execution, NewChild, use_template};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One Workflow.
pub(super) struct Flow {
    pub(super) uid: String,
    /// Its metadata, and nothing else: what children are made of.
    pub(super) metadata: Workflow,
    /// The newest version that is known.
    pub(super) version: String,
    pub(super) state: State,
    pub(super) is_writing: bool,
    pub(super) written: Option<Timestamp>,
}

pub(super) enum State {
    /// Waits until everything that exists has been shown, or for the Workflow whose jobs it takes over.
    New(Box<Workflow>),
    Runs(Box<Execution>),
    /// A status of its own is being written: it can't be understood, or is a template.
    Said,
}

/// A job that uses a template is made of it as it is now; or why it can't be.
pub(super) fn with_template(
    templates: &BTreeMap<ObjectKey, Workflow>,
    user: &Workflow,
    effect: Effect,
) -> Result<Effect, (NewChild, String)> {
    let Effect::Create { child, object } = effect else { return Ok(effect) };
    let NewChild::Workflow { metadata, template, with } = object.as_ref() else {
        return Ok(Effect::Create { child, object });
    };
    let namespace = user.namespace().unwrap_or_default();
    let found = templates.get(&ObjectKey { namespace, name: template.clone() });
    match use_template(user, found, metadata.as_ref().clone(), with.clone(), template) {
        Ok(workflow) => {
            Ok(Effect::Create { child, object: Box::new(NewChild::Made(Box::new(workflow))) })
        }
        Err(why) => Err((*object, why)),
    }
}

pub(super) fn warn(key: &ObjectKey, error: &kube::Error, what: &str) {
    let ObjectKey { namespace, name } = key;
    tracing::warn!(namespace, name, error = %Chain(error), "{what}");
}

pub(super) fn with_version(mut patch: Value, version: &str) -> Value {
    patch["metadata"] = json!({"resourceVersion": version});
    patch
}

/// The later of two versions: what a watch shows may be older than what was just written.
pub(super) fn newer(known: &str, shown: String) -> String {
    match (known.parse::<u64>(), shown.parse::<u64>()) {
        (Ok(known), Ok(new)) if known > new => known.to_string(),
        _ => shown,
    }
}

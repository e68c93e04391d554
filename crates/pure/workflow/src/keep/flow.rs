//! One Workflow that has not ended.

use crate::child::use_template;
use crate::execution::{Creation, Execution, NewChild};
use jiff::Timestamp;
use kruntimes_api::{Run, Workflow};
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::observed::ObjectKey;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One Workflow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) uid: String,
    /// Its metadata, and nothing else: what children are made of.
    pub(super) metadata: Workflow,
    /// The newest version that is known.
    pub(super) version: String,
    pub(super) state: State,
    pub(super) asked: Asked,
    pub(super) written: Option<Timestamp>,
}

/// What is on its way for the status of a Workflow, or for the one that it takes over: one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// It will be answered: until then nothing else is asked, though something else is to be tried again.
    OnItsWay,
    /// What is there is read before the next write, when the time has come.
    Failed,
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits until everything that exists has been shown, or for the Workflow whose jobs it takes over.
    New(Box<Workflow>),
    Runs(Box<Execution>),
    /// A status of its own is being written: it can't be understood, or is a template.
    Said,
}

/// What is to be sent of a child.
#[derive(Debug, Clone)]
pub enum Object {
    /// A step.
    Run(Box<Run>),
    /// A job that uses a template.
    Workflow(Box<Workflow>),
}

impl Flow {
    /// The object of a child, as it is now; none where nothing waits for it any more.
    pub(super) fn object(
        &self,
        creation: &Creation,
        templates: &BTreeMap<ObjectKey, Workflow>,
    ) -> Result<Option<Object>, String> {
        let State::Runs(execution) = &self.state else { return Ok(None) };
        let Some(object) = execution.object(creation)? else { return Ok(None) };
        Ok(Some(match object {
            NewChild::Run(run) => Object::Run(run),
            NewChild::Workflow(job) => {
                let namespace = self.metadata.namespace().unwrap_or_default();
                let name = job.template.clone();
                let found = templates.get(&ObjectKey { namespace, name });
                Object::Workflow(Box::new(use_template(&self.metadata, found, *job)?))
            }
        }))
    }
}

pub(super) fn with_version(mut patch: Value, version: &str) -> Value {
    if mutant::is(Mutant::StatusWithoutVersion) {
        return patch;
    }
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

//! Children as the watches show them, by the UID of their owner.

use crate::execution::Seen;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kruntimes_api::{Run, Workflow};
use kruntimes_rules::observed::{ObjectKey, Observed};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Which kind a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Run,
    Workflow,
}

/// What a watch shows of a child.
#[derive(Debug)]
pub(super) enum ChildSeen {
    Is {
        key: ObjectKey,
        owner: String,
        seen: Box<Seen>,
    },
    /// Gone, or nobody's child.
    Gone(ObjectKey),
    Synced,
    /// What was shown stays true until something else is.
    Interrupted,
}

impl ChildSeen {
    pub(super) fn of_run(observed: Observed<Run>) -> Self {
        match observed {
            Observed::Applied(run) => {
                let key = ObjectKey::of(&run);
                match (owner(run.owner_references()), Seen::run(&run)) {
                    (Some(owner), Some(seen)) => Self::Is { key, owner, seen: Box::new(seen) },
                    _ => Self::Gone(key),
                }
            }
            Observed::Gone(key) => Self::Gone(key),
            Observed::Interrupted => Self::Interrupted,
            Observed::Synced => Self::Synced,
        }
    }

    pub(super) fn of_workflow(workflow: &Workflow) -> Option<Self> {
        let owner = owner(workflow.owner_references())?;
        let seen = Box::new(Seen::workflow(workflow)?);
        Some(Self::Is { key: ObjectKey::of(workflow), owner, seen })
    }
}

/// The UID of the Workflow that an object belongs to.
fn owner(references: &[OwnerReference]) -> Option<String> {
    let is_owner = |reference: &&OwnerReference| {
        reference.controller == Some(true)
            && reference.kind == "Workflow"
            && reference.api_version == kruntimes_api::API_VERSION
    };
    references.iter().find(is_owner).map(|reference| reference.uid.clone())
}

/// The children of Workflows that have not ended.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// What is known of each, until its Workflow is taken up.
    by_owner: BTreeMap<String, BTreeMap<(Kind, ObjectKey), Option<Seen>>>,
    owners: BTreeMap<(Kind, ObjectKey), String>,
}

impl Children {
    /// Keeps whose child it is, and what is known of it where its Workflow is not taken up.
    pub(super) fn set(&mut self, kind: Kind, key: ObjectKey, owner: &str, seen: Option<Seen>) {
        let child = (kind, key);
        let former = self.owners.insert(child.clone(), owner.to_owned());
        if let Some(former) = former.filter(|former| former != owner)
            && let Some(children) = self.by_owner.get_mut(&former)
        {
            children.remove(&child);
        }
        self.by_owner.entry(owner.to_owned()).or_default().insert(child, seen);
    }

    /// Forgets a child; the answer is its owner.
    pub(super) fn remove(&mut self, kind: Kind, key: &ObjectKey) -> Option<String> {
        let child = (kind, key.clone());
        let owner = self.owners.remove(&child)?;
        if let Some(children) = self.by_owner.get_mut(&owner) {
            children.remove(&child);
        }
        Some(owner)
    }

    /// The Workflow is taken up: what is known of its children is handed over.
    pub(super) fn take(&mut self, owner: &str) -> Vec<Seen> {
        let children = self.by_owner.get_mut(owner).into_iter().flat_map(BTreeMap::values_mut);
        children.filter_map(Option::take).collect()
    }

    /// Whether a Workflow has children.
    pub(super) fn are_known(&self, owner: &str) -> bool {
        self.by_owner.get(owner).is_some_and(|children| !children.is_empty())
    }

    /// Forgets all children of a Workflow.
    pub(super) fn forget(&mut self, owner: &str) {
        for child in self.by_owner.remove(owner).unwrap_or_default().into_keys() {
            self.owners.remove(&child);
        }
    }

    /// Forgets the children of all Workflows but these.
    pub(super) fn keep_only(&mut self, is_known: impl Fn(&str) -> bool) {
        let unknown: Vec<String> =
            self.by_owner.keys().filter(|owner| !is_known(owner)).cloned().collect();
        unknown.iter().for_each(|owner| self.forget(owner));
    }
}

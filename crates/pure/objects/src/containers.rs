//! The end of namespaces and CRDs: what they contain is deleted first, and what stays meanwhile is named in the status.
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::builtin::CRDS;
use crate::delete::{self, Propagation, seconds};
use crate::json;
use crate::state::{Change, State};
use crate::stored::{Key, Stored};

const NAMESPACES: &str = "namespaces";

/// Whether the object holds others that must go before it.
pub(crate) fn is_container(key: &Key) -> bool {
    &*key.resource == NAMESPACES || &*key.resource == CRDS
}

impl State {
    /// Deletes all that a namespace or CRD contains, and then it, if nothing stays.
    pub(crate) fn empty_container(
        &mut self,
        container: &Key,
        changes: &mut Vec<Change>,
        now: Timestamp,
    ) {
        for key in self.contained(container) {
            self.delete(&key, Propagation::Background, changes, now);
        }
        self.finish_container(container, changes, now);
    }

    /// The containers of an object that is gone may end now.
    pub(crate) fn finish_containers_of(
        &mut self,
        gone: &Key,
        changes: &mut Vec<Change>,
        now: Timestamp,
    ) {
        if !gone.namespace.is_empty() {
            self.finish_container(&Key::of(NAMESPACES, "", &gone.namespace), changes, now);
        }
        if gone.resource.contains('.') {
            self.finish_container(&Key::of(CRDS, "", &gone.resource), changes, now);
        }
    }

    /// Names what stays, in the status of a namespace that is being deleted; without contents it goes.
    pub(crate) fn finish_container(
        &mut self,
        key: &Key,
        changes: &mut Vec<Change>,
        now: Timestamp,
    ) {
        let Some(container) = self.objects.get(key).cloned() else { return };
        if !container.deleting || !is_container(key) {
            return;
        }
        let contained = self.contained(key);
        if &*key.resource == CRDS {
            if contained.is_empty() {
                self.drop_finalizer(&container, delete::CRD_CLEANUP, changes);
            }
            return;
        }
        let mut object = container.value();
        if contained.is_empty() {
            json::object_mut(&mut object, "spec").remove("finalizers");
        }
        let remaining: Vec<_> = contained.iter().filter_map(|k| self.objects.get(k)).collect();
        set_conditions(&mut object, &remaining, now);
        self.put_or_remove(&container, object, changes);
    }

    /// The objects in a namespace, or of a CRD.
    fn contained(&self, container: &Key) -> Vec<Arc<Key>> {
        if &*container.resource == CRDS {
            return self
                .range(&Key::of(&container.name, "", ""), |k| *k.resource == *container.name);
        }
        let mut found = Vec::new();
        let mut resource: Arc<str> = "".into();
        loop {
            let after = Key::of(&format!("{resource}\0"), "", "");
            let Some((next, _)) = self.objects.range::<Key, _>(&after..).next() else { break };
            resource = next.resource.clone();
            let from = Key::of(&resource, &container.name, "");
            found.extend(
                self.range(&from, |k| k.resource == resource && k.namespace == container.name),
            );
        }
        found
    }

    fn range(&self, from: &Key, within: impl Fn(&Key) -> bool) -> Vec<Arc<Key>> {
        self.objects
            .range::<Key, _>(from..)
            .map(|(k, _)| k)
            .take_while(|k| within(k))
            .cloned()
            .collect()
    }
}

/// The conditions that kube-controller-manager gives a namespace whose contents stay.
fn set_conditions(namespace: &mut Value, remaining: &[&Arc<Stored>], now: Timestamp) {
    let mut resources: BTreeMap<&str, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for stored in remaining {
        *resources.entry(&stored.key.resource).or_default() += 1;
        for finalizer in stored.finalizers() {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let resources = resources.iter().map(|(id, count)| {
        let dot = if id.contains('.') { "" } else { "." };
        format!("{id}{dot} has {count} resource instances")
    });
    let finalizers =
        finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances"));
    let resources: Vec<_> = resources.collect();
    let finalizers: Vec<_> = finalizers.collect();
    set_condition(
        namespace,
        ["NamespaceContentRemaining", "SomeResourcesRemain", "ContentRemoved"],
        ["Some resources are remaining: ", "All content successfully removed"],
        &resources,
        now,
    );
    set_condition(
        namespace,
        ["NamespaceFinalizersRemaining", "SomeFinalizersRemain", "ContentHasNoFinalizers"],
        [
            "Some content in the namespace has finalizers remaining: ",
            "All content-preserving finalizers finished",
        ],
        &finalizers,
        now,
    );
}

fn set_condition(
    namespace: &mut Value,
    [kind, reason, reason_of_none]: [&str; 3],
    [message, message_of_none]: [&str; 2],
    remaining: &[String],
    now: Timestamp,
) {
    let status = if remaining.is_empty() { "False" } else { "True" };
    let conditions =
        json::object_mut(namespace, "status").entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = conditions.as_array_mut() else { return };
    let old = list.iter().position(|c| json::text(c, &["type"]) == kind);
    let changed = match old {
        None if remaining.is_empty() => return,
        None => true,
        Some(at) => json::text(&list[at], &["status"]) != status,
    };
    let since = match old {
        Some(at) if !changed => json::text(&list[at], &["lastTransitionTime"]).to_owned(),
        Some(_) | None => seconds(now),
    };
    let (reason, message) = if remaining.is_empty() {
        (reason_of_none, message_of_none.to_owned())
    } else {
        (reason, format!("{message}{}", remaining.join(", ")))
    };
    let condition = json!({ "type": kind, "status": status, "lastTransitionTime": since,
        "reason": reason, "message": message });
    match old {
        Some(at) => list[at] = condition,
        None => list.push(condition),
    }
}

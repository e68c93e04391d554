//! What follows from a change: garbage collection by owner references, and the end of namespaces and CRDs.
//!
//! Upstream's collector does this a moment later from its own watches; here it is part of the same commit.
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::delete::{self, Deletion, Options, Propagation};
use crate::json;
use crate::state::{Change, State};
use crate::stored::{Key, Stored};

const NAMESPACES: &str = "namespaces";
const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

impl State {
    /// Works off everything that `changes` cause, appending to them.
    pub(crate) fn settle(&mut self, changes: &mut Vec<Change>, now: Timestamp) {
        let mut next = 0;
        while let Some(change) = changes.get(next).cloned() {
            next += 1;
            match (&change.old, &change.new) {
                (Some(old), None) => self.after_removal(old, changes, now),
                (old, Some(new)) => self.after_put(old.as_deref(), new, changes, now),
                (None, None) => {}
            }
        }
    }

    fn after_removal(&mut self, gone: &Stored, changes: &mut Vec<Change>, now: Timestamp) {
        for key in self.dependents(&gone.uid) {
            self.collect(&key, changes, now);
        }
        for owner in &gone.owners {
            if let Some(key) = self.by_uid.get(&owner.uid).cloned() {
                self.finish_foreground(&key, changes);
            }
        }
        if !gone.key.namespace.is_empty() {
            self.finish_container(&Key::of(NAMESPACES, "", &gone.key.namespace), changes);
        }
        if gone.key.resource.contains('.') {
            self.finish_container(&Key::of(CRDS, "", &gone.key.resource), changes);
        }
    }

    fn after_put(
        &mut self,
        old: Option<&Stored>,
        new: &Arc<Stored>,
        changes: &mut Vec<Change>,
        now: Timestamp,
    ) {
        let newly_deleting = new.deleting && !old.is_some_and(|o| o.deleting);
        if newly_deleting && is_container(&new.key) {
            for key in self.contained(&new.key) {
                self.delete(&key, Propagation::Background, changes, now);
            }
            self.finish_container(&new.key, changes);
        }
        if newly_deleting && has_finalizer(new, delete::FOREGROUND) {
            for key in self.dependents(&new.uid) {
                self.delete(&key, Propagation::Foreground, changes, now);
            }
            self.finish_foreground(&new.key, changes);
        }
        let references_changed = old.is_none_or(|o| o.owners != new.owners);
        if references_changed && !new.owners.is_empty() && !new.deleting {
            self.collect_orphan(new, changes, now);
        }
    }

    fn dependents(&self, uid: &str) -> Vec<Arc<Key>> {
        self.by_owner.get(uid).into_iter().flatten().cloned().collect()
    }

    /// A dependent whose owner is gone: deleted unless another owner lives, else it loses the reference.
    fn collect(&mut self, key: &Key, changes: &mut Vec<Change>, now: Timestamp) {
        let Some(stored) = self.objects.get(key).cloned() else { return };
        let (living, dead): (Vec<_>, Vec<_>) =
            stored.owners.iter().partition(|o| self.by_uid.contains_key(&o.uid));
        if living.is_empty() {
            self.delete(key, Propagation::Background, changes, now);
        } else {
            let dead = dead.iter().map(|o| o.uid.as_str()).collect();
            self.strip_owners(&stored, &dead, changes);
        }
    }

    fn collect_orphan(&mut self, new: &Stored, changes: &mut Vec<Change>, now: Timestamp) {
        if !new.owners.iter().any(|o| self.by_uid.contains_key(&o.uid)) {
            self.delete(&new.key, Propagation::Background, changes, now);
        }
    }

    fn strip_owners(&mut self, stored: &Stored, dead: &BTreeSet<&str>, changes: &mut Vec<Change>) {
        let mut object = stored.value();
        let metadata = json::metadata_mut(&mut object);
        if let Some(list) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
            list.retain(|r| !dead.contains(json::text(r, &["uid"])));
            if list.is_empty() {
                metadata.remove("ownerReferences");
            }
        }
        self.put(&stored.key, object, stored.selectable.clone(), changes);
    }

    /// Removes the references of everything that the object owns.
    pub(crate) fn orphan_dependents(&mut self, key: &Key, changes: &mut Vec<Change>) {
        let Some(owner) = self.objects.get(key).cloned() else { return };
        for dependent in self.dependents(&owner.uid) {
            if let Some(stored) = self.objects.get(&dependent).cloned() {
                self.strip_owners(&stored, &BTreeSet::from([owner.uid.as_str()]), changes);
            }
        }
    }

    fn delete(
        &mut self,
        key: &Key,
        propagation: Propagation,
        changes: &mut Vec<Change>,
        now: Timestamp,
    ) {
        let Some(stored) = self.objects.get(key).cloned() else { return };
        let propagation = if self.dependents(&stored.uid).is_empty() {
            Propagation::Background
        } else {
            propagation
        };
        let options = Options { propagation: Some(propagation), ..Options::default() };
        match delete::decide(&key.resource, &stored.value(), &options, now) {
            Deletion::Remove => self.remove(key, changes),
            Deletion::Update(object) => {
                self.put(&stored.key, object, stored.selectable.clone(), changes);
            }
            Deletion::Unchanged => {}
        }
    }

    fn finish_foreground(&mut self, key: &Key, changes: &mut Vec<Change>) {
        let Some(owner) = self.objects.get(key).cloned() else { return };
        if !owner.deleting || !has_finalizer(&owner, delete::FOREGROUND) {
            return;
        }
        let blocked = self.dependents(&owner.uid).iter().any(|k| {
            self.objects
                .get(k)
                .is_some_and(|s| s.owners.iter().any(|o| o.uid == owner.uid && o.blocks))
        });
        if !blocked {
            self.drop_finalizer(&owner, delete::FOREGROUND, changes);
        }
    }

    fn finish_container(&mut self, key: &Key, changes: &mut Vec<Change>) {
        let Some(container) = self.objects.get(key).cloned() else { return };
        if !container.deleting || !is_container(key) || !self.contained(key).is_empty() {
            return;
        }
        if &*key.resource == CRDS {
            self.drop_finalizer(&container, delete::CRD_CLEANUP, changes);
        } else {
            let mut object = container.value();
            json::object_mut(&mut object, "spec").remove("finalizers");
            self.put_or_remove(&container, object, changes);
        }
    }

    fn drop_finalizer(&mut self, stored: &Stored, finalizer: &str, changes: &mut Vec<Change>) {
        let mut object = stored.value();
        let metadata = json::metadata_mut(&mut object);
        let mut changed = false;
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            let before = list.len();
            list.retain(|f| f.as_str() != Some(finalizer));
            changed = list.len() != before;
        }
        if changed {
            self.put_or_remove(stored, object, changes);
        }
    }

    fn put_or_remove(&mut self, stored: &Stored, object: Value, changes: &mut Vec<Change>) {
        if delete::is_complete(&stored.key.resource, &object) {
            self.remove(&stored.key, changes);
        } else if object != stored.value() {
            self.put(&stored.key, object, stored.selectable.clone(), changes);
        }
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

fn is_container(key: &Key) -> bool {
    &*key.resource == NAMESPACES || &*key.resource == CRDS
}

fn has_finalizer(stored: &Stored, finalizer: &str) -> bool {
    let object = stored.value();
    json::at(&object, &["metadata", "finalizers"])
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|f| f.as_str() == Some(finalizer)))
}

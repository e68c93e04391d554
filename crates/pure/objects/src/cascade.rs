//! What follows from a change: garbage collection by owner references.
//!
//! Upstream's collector does this a moment later from its own watches; here it is part of the same commit. An owner is
//! found as there: by apiVersion, kind and name, in the dependent's own namespace or none, and it counts with that UID.
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::containers::is_container;
use crate::delete::{self, Deletion, Options, Propagation};
use crate::json;
use crate::state::{Change, State};
use crate::stored::{Key, Owner, Stored};

/// Events are never collected, as upstream.
const EVENTS: &str = "events";

/// How an owner stands to its dependent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is there.
    Solid,
    /// It is there, and waits for its dependents to go first.
    Waiting,
    /// It is gone.
    Absent,
    /// Nobody can say: its kind is not served, or it lives in a namespace and the dependent does not.
    Unknown,
}

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
        self.finish_owners(&gone.owners, changes);
        self.finish_containers_of(&gone.key, changes, now);
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
            self.empty_container(&new.key, changes, now);
        }
        if starts(old, new, delete::ORPHAN) {
            self.orphan_dependents(new, changes);
        }
        if starts(old, new, delete::FOREGROUND) {
            for key in self.dependents(&new.uid) {
                self.collect(&key, changes, now);
            }
            self.finish_foreground(&new.key, changes);
        }
        let before = old.map_or(&[][..], |o| &o.owners);
        if before != new.owners {
            self.collect(&new.key, changes, now);
            let released: Vec<_> =
                before.iter().filter(|o| o.blocks && !new.owners.contains(o)).cloned().collect();
            self.finish_owners(&released, changes);
        }
    }

    fn dependents(&self, uid: &str) -> Vec<Arc<Key>> {
        self.by_owner.get(uid).into_iter().flatten().cloned().collect()
    }

    fn owner(&self, dependent: &Key, owner: &Owner) -> Option<Option<&Arc<Stored>>> {
        let place = self.kinds.find(&owner.api_version, &owner.kind)?;
        if place.namespaced && dependent.namespace.is_empty() {
            return None;
        }
        let namespace = if place.namespaced { dependent.namespace.as_str() } else { "" };
        let found = self.objects.get(&Key::of(&place.resource, namespace, &owner.name));
        Some(found.filter(|found| found.uid == owner.uid))
    }

    fn standing(&self, dependent: &Key, owner: &Owner) -> Standing {
        match self.owner(dependent, owner) {
            None => Standing::Unknown,
            Some(None) => Standing::Absent,
            Some(Some(found)) if found.deleting && found.has_finalizer(delete::FOREGROUND) => {
                Standing::Waiting
            }
            Some(Some(_)) => Standing::Solid,
        }
    }

    /// Decides about an object with owners: without a solid one it goes, else it loses the references to the others.
    fn collect(&mut self, key: &Key, changes: &mut Vec<Change>, now: Timestamp) {
        let Some(stored) = self.objects.get(key).cloned() else { return };
        if stored.deleting {
            return self.finish_foreground(key, changes);
        }
        if stored.owners.is_empty() || &*key.resource == EVENTS {
            return;
        }
        let standings: Vec<_> = stored.owners.iter().map(|o| self.standing(key, o)).collect();
        let any = |standing| standings.contains(&standing);
        if any(Standing::Unknown) {
            return;
        }
        if any(Standing::Solid) {
            let lost = stored.owners.iter().zip(&standings);
            let lost = lost.filter(|(_, s)| **s != Standing::Solid).map(|(o, _)| o.uid.as_str());
            return self.strip_owners(&stored, &lost.collect(), changes);
        }
        let dependents = self.dependents(&stored.uid);
        if any(Standing::Waiting) && !dependents.is_empty() {
            if dependents.iter().any(|k| self.waits_for_dependents(k)) {
                // A ring of owners: each would wait for the next for ever.
                self.unblock_owners(&stored, changes);
            }
            return self.delete(key, Propagation::Foreground, changes, now);
        }
        let policy = delete::policy_of(stored.finalizers().iter().map(String::as_str));
        self.delete(key, policy.unwrap_or(Propagation::Background), changes, now);
    }

    fn waits_for_dependents(&self, key: &Key) -> bool {
        self.objects.get(key).is_some_and(|s| s.deleting && s.has_finalizer(delete::FOREGROUND))
    }

    fn strip_owners(&mut self, stored: &Stored, lost: &BTreeSet<&str>, changes: &mut Vec<Change>) {
        if lost.is_empty() {
            return;
        }
        let mut object = stored.value();
        let metadata = json::metadata_mut(&mut object);
        if let Some(list) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
            list.retain(|r| !lost.contains(json::text(r, &["uid"])));
            if list.is_empty() {
                metadata.remove("ownerReferences");
            }
        }
        self.put(&stored.key, object, stored.selectable.clone(), changes);
    }

    fn unblock_owners(&mut self, stored: &Stored, changes: &mut Vec<Change>) {
        let mut object = stored.value();
        let metadata = json::metadata_mut(&mut object);
        let list = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut);
        for reference in list.into_iter().flatten() {
            reference["blockOwnerDeletion"] = Value::Bool(false);
        }
        self.put(&stored.key, object, stored.selectable.clone(), changes);
    }

    /// Removes the references of everything that the object owns, then its finalizer.
    fn orphan_dependents(&mut self, owner: &Stored, changes: &mut Vec<Change>) {
        for dependent in self.dependents(&owner.uid) {
            if let Some(stored) = self.objects.get(&dependent).cloned() {
                self.strip_owners(&stored, &BTreeSet::from([owner.uid.as_str()]), changes);
            }
        }
        if let Some(owner) = self.objects.get(&*owner.key).cloned() {
            self.drop_finalizer(&owner, delete::ORPHAN, changes);
        }
    }

    /// Deletes as a request would, preconditions aside.
    pub(crate) fn delete(
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

    fn finish_owners(&mut self, owners: &[Owner], changes: &mut Vec<Change>) {
        for owner in owners {
            if let Some(key) = self.by_uid.get(&owner.uid).cloned() {
                self.finish_foreground(&key, changes);
            }
        }
    }

    /// Lets an owner go whose blocking dependents are gone. It never waits for itself, nor for one that does not name it
    /// rightly, such as from another namespace.
    fn finish_foreground(&mut self, key: &Key, changes: &mut Vec<Change>) {
        if !self.waits_for_dependents(key) {
            return;
        }
        let Some(owner) = self.objects.get(key).cloned() else { return };
        let blocks = |dependent: &Stored| {
            dependent.key != owner.key
                && dependent.owners.iter().any(|o| {
                    o.uid == owner.uid
                        && o.blocks
                        && self.owner(&dependent.key, o).is_some_and(|found| found.is_some())
                })
        };
        let dependents = self.dependents(&owner.uid);
        if !dependents.iter().filter_map(|k| self.objects.get(k)).any(|s| blocks(s)) {
            self.drop_finalizer(&owner, delete::FOREGROUND, changes);
        }
    }

    pub(crate) fn drop_finalizer(
        &mut self,
        stored: &Stored,
        finalizer: &str,
        changes: &mut Vec<Change>,
    ) {
        let mut object = stored.value();
        let metadata = json::metadata_mut(&mut object);
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|f| f.as_str() != Some(finalizer));
            if list.is_empty() {
                metadata.remove("finalizers");
            }
        }
        self.put_or_remove(stored, object, changes);
    }

    pub(crate) fn put_or_remove(
        &mut self,
        stored: &Stored,
        object: Value,
        changes: &mut Vec<Change>,
    ) {
        if delete::is_complete(&stored.key.resource, &object) {
            self.remove(&stored.key, changes);
        } else if object != stored.value() {
            self.put(&stored.key, object, stored.selectable.clone(), changes);
        }
    }
}

/// Whether the deletion with this finalizer starts here: the object was not being deleted before, or not with it.
fn starts(old: Option<&Stored>, new: &Stored, finalizer: &str) -> bool {
    let has = |stored: &Stored| stored.deleting && stored.has_finalizer(finalizer);
    has(new) && !old.is_some_and(has)
}

//! The store as a state machine: compare-and-set writes in, numbered changes out.
//!
//! The one writer owns a `State` that runs ahead of the disk; its changes become visible to others only once they are
//! durable. Garbage collection belongs to the write that causes it, see `cascade`.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::builtin::CRDS;
use crate::kinds::Kinds;
use crate::resource::SelectableField;
use crate::stored::{Key, Stored};

/// One write.
#[derive(Debug, Clone)]
pub struct Write {
    /// The object.
    pub key: Key,
    /// What must stand there.
    pub expect: Expect,
    /// What shall stand there.
    pub action: Action,
    /// The fields that selectors may name.
    pub selectable: Arc<[SelectableField]>,
}

/// What a write expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: a creation.
    Absent,
    /// The object at this resourceVersion.
    Version(u64),
}

/// What a write does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Stores the object.
    Put(Value),
    /// Removes it.
    Remove,
}

/// One visible change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its resourceVersion.
    pub version: u64,
    /// The object before.
    pub old: Option<Arc<Stored>>,
    /// The object after.
    pub new: Option<Arc<Stored>>,
}

impl Change {
    /// The object that changed.
    pub fn key(&self) -> Option<&Arc<Key>> {
        self.new.as_ref().or(self.old.as_ref()).map(|s| &s.key)
    }
}

/// Why a write was refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something stands there already.
    #[error("the object exists")]
    Exists,
    /// Nothing stands there.
    #[error("the object does not exist")]
    Missing,
    /// Another version stands there.
    #[error("the object has another version")]
    Version,
    /// The namespace does not exist.
    #[error("the namespace does not exist")]
    NoNamespace,
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    /// The CRD of the object does not exist.
    #[error("the kind is not served")]
    NoKind,
    /// The CRD of the object is being deleted.
    #[error("the kind is being deleted")]
    KindTerminating,
}

/// All objects, with the indexes that garbage collection needs.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) objects: BTreeMap<Arc<Key>, Arc<Stored>>,
    pub(crate) by_owner: BTreeMap<String, BTreeSet<Arc<Key>>>,
    pub(crate) by_uid: BTreeMap<String, Arc<Key>>,
    pub(crate) kinds: Kinds,
    pub(crate) version: u64,
}

impl State {
    /// A state with these objects, the newest write being `version`.
    pub fn load(objects: impl IntoIterator<Item = Arc<Stored>>, version: u64) -> Self {
        let mut state = Self { version, ..Self::default() };
        for stored in objects {
            state.version = state.version.max(stored.version);
            state.index(&stored);
            state.objects.insert(stored.key.clone(), stored);
        }
        state
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The object at `key`.
    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    /// All objects in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values()
    }

    /// Applies `write` and all that follows from it.
    pub fn apply(&mut self, write: Write, now: Timestamp) -> Result<Vec<Change>, Refused> {
        self.check(&write)?;
        let mut changes = Vec::new();
        match write.action {
            Action::Put(object) => {
                self.put(&Arc::new(write.key), object, write.selectable, &mut changes);
            }
            Action::Remove => self.remove(&write.key, &mut changes),
        }
        self.settle(&mut changes, now);
        Ok(changes)
    }

    /// Takes changes back that could not be made durable; `version` is that of before.
    pub fn revert(&mut self, changes: &[Change], version: u64) {
        for change in changes.iter().rev() {
            self.exchange(change.new.as_ref(), change.old.as_ref());
        }
        self.version = version;
    }

    /// Makes changes that were taken back again.
    pub fn redo(&mut self, changes: &[Change]) {
        for change in changes {
            self.exchange(change.old.as_ref(), change.new.as_ref());
            self.version = change.version;
        }
    }

    /// Puts `new` in the place of `old`, or makes or removes it.
    fn exchange(&mut self, old: Option<&Arc<Stored>>, new: Option<&Arc<Stored>>) {
        if let Some(old) = old {
            self.unindex(old);
        }
        match (old, new) {
            (_, Some(new)) => {
                self.index(new);
                self.objects.insert(new.key.clone(), new.clone());
            }
            (Some(old), None) => drop(self.objects.remove(&old.key)),
            (None, None) => {}
        }
    }

    /// Recomputes the selectable fields of a resource's objects.
    pub fn reselect(
        &mut self,
        resource: &str,
        selectable: &Arc<[SelectableField]>,
    ) -> Vec<Arc<Stored>> {
        let mut renewed = Vec::new();
        for (key, stored) in self.objects.iter_mut().filter(|(k, _)| &*k.resource == resource) {
            if let Some(new) = Stored::decode(key.clone(), stored.json.clone(), selectable.clone())
            {
                *stored = Arc::new(new);
                renewed.push(stored.clone());
            }
        }
        renewed
    }

    fn check(&self, write: &Write) -> Result<(), Refused> {
        match (write.expect, self.objects.get(&write.key)) {
            (Expect::Absent, found) => {
                self.check_namespace(&write.key)?;
                self.check_kind(&write.key)?;
                if found.is_some() { Err(Refused::Exists) } else { Ok(()) }
            }
            (Expect::Version(_), None) => Err(Refused::Missing),
            (Expect::Version(v), Some(stored)) if stored.version == v => Ok(()),
            (Expect::Version(_), Some(_)) => Err(Refused::Version),
        }
    }

    fn check_namespace(&self, key: &Key) -> Result<(), Refused> {
        if key.namespace.is_empty() {
            return Ok(());
        }
        match self.objects.get(&Key::of("namespaces", "", &key.namespace)) {
            None => Err(Refused::NoNamespace),
            Some(namespace) if namespace.deleting => Err(Refused::NamespaceTerminating),
            Some(_) => Ok(()),
        }
    }

    fn check_kind(&self, key: &Key) -> Result<(), Refused> {
        if self.kinds.is_built_in(&key.resource) {
            return Ok(());
        }
        match self.objects.get(&Key::of(CRDS, "", &key.resource)) {
            None => Err(Refused::NoKind),
            Some(crd) if crd.deleting => Err(Refused::KindTerminating),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn put(
        &mut self,
        key: &Arc<Key>,
        object: Value,
        selectable: Arc<[SelectableField]>,
        changes: &mut Vec<Change>,
    ) {
        self.version += 1;
        let old = self.objects.get(key).cloned();
        let key = old.as_ref().map_or_else(|| key.clone(), |o| o.key.clone());
        let new = Arc::new(Stored::new(key, self.version, object, selectable));
        self.exchange(old.as_ref(), Some(&new));
        changes.push(Change { version: self.version, old, new: Some(new) });
    }

    pub(crate) fn remove(&mut self, key: &Key, changes: &mut Vec<Change>) {
        let Some(old) = self.objects.get(key).cloned() else { return };
        self.version += 1;
        self.exchange(Some(&old), None);
        changes.push(Change { version: self.version, old: Some(old), new: None });
    }

    fn index(&mut self, stored: &Stored) {
        self.by_uid.insert(stored.uid.clone(), stored.key.clone());
        if &*stored.key.resource == CRDS {
            self.kinds.learn(stored);
        }
        for owner in &stored.owners {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(stored.key.clone());
        }
    }

    fn unindex(&mut self, stored: &Stored) {
        self.by_uid.remove(&stored.uid);
        if &*stored.key.resource == CRDS {
            self.kinds.forget(&stored.key.name);
        }
        for owner in &stored.owners {
            if let Some(keys) = self.by_owner.get_mut(&owner.uid) {
                keys.remove(&stored.key);
                if keys.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
    }
}

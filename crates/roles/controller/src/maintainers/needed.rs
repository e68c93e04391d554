//! Which stores Runs refer to, which maintainers there are, and which namespaces have to be looked at.

use kruntimes_api::{ArtifactStore, Run, labels};
use kruntimes_cluster::watch::{ObjectKey, Observed};
use kruntimes_rules::artifact;
use kruntimes_rules::pool::Kind;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Namespace and hash of a store.
type Place = (String, String);

/// The newest state of everything.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// Of each Run with the finalizer, the hash of its store.
    runs: BTreeMap<ObjectKey, String>,
    /// The store, and how many Runs refer to it.
    stores: BTreeMap<Place, (ArtifactStore, usize)>,
    lingers: Duration,
    /// Since when nobody refers to a store that has a maintainer.
    idle: BTreeMap<Place, Instant>,
    objects: BTreeMap<(Kind, ObjectKey), Value>,
    /// Watches that have shown all that there is: that of Runs is none of a kind.
    synced: BTreeSet<Option<Kind>>,
    dirty: BTreeSet<String>,
    deleted: BTreeMap<ObjectKey, Arc<Run>>,
    to_free: BTreeSet<ObjectKey>,
}

impl Needed {
    /// Nothing was seen yet.
    pub(super) fn new(lingers: Duration) -> Self {
        Self { lingers, ..Self::default() }
    }

    pub(super) fn take_run(&mut self, observed: Observed<Run>) {
        match observed {
            Observed::Applied(run) => {
                let key = ObjectKey::of(&run);
                let guarded = artifact::is_kept(&run);
                let store = run.status.as_ref().and_then(|status| status.artifact_store.clone());
                self.forget(&key);
                if let Some(store) = store.filter(|_| guarded) {
                    self.refer(&key, store);
                }
                if artifact::released(&run).is_some() {
                    self.deleted.insert(key.clone(), Arc::new(run));
                    self.to_free.insert(key);
                }
            }
            Observed::Gone(key) => self.forget(&key),
            Observed::Synced => self.is_shown(None),
            Observed::Interrupted => {}
        }
    }

    fn is_shown(&mut self, kind: Option<Kind>) {
        if self.synced.insert(kind) && self.is_complete() {
            self.begin();
        }
    }

    fn refer(&mut self, key: &ObjectKey, store: ArtifactStore) {
        let hash = artifact::store_hash(&store);
        let place = (key.namespace.clone(), hash.clone());
        self.idle.remove(&place);
        let (_, count) = self.stores.entry(place).or_insert((store, 0));
        *count += 1;
        if *count == 1 {
            self.dirty.insert(key.namespace.clone());
        }
        self.runs.insert(key.clone(), hash);
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.deleted.remove(key);
        self.to_free.remove(key);
        let Some(hash) = self.runs.remove(key) else { return };
        let place = (key.namespace.clone(), hash);
        if let Some((_, count)) = self.stores.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.stores.remove(&place);
                self.idle.insert(place, Instant::now());
            }
        }
    }

    pub(super) fn take_object(&mut self, kind: Kind, observed: Observed<DynamicObject>) {
        match observed {
            Observed::Applied(object) => drop(self.keep(kind, object)),
            Observed::Gone(key) => {
                self.dirty.insert(key.namespace.clone());
                self.objects.remove(&(kind, key));
            }
            Observed::Synced => self.is_shown(Some(kind)),
            Observed::Interrupted => {}
        }
    }

    /// A maintainer that nobody needs by now is as idle as one whose last Run went just now.
    fn begin(&mut self) {
        let now = Instant::now();
        for ((kind, key), object) in &self.objects {
            let hash = object["metadata"]["labels"][labels::ARTIFACT_STORE_HASH].as_str();
            let place = (key.namespace.clone(), hash.unwrap_or_default().to_owned());
            if *kind == Kind::Deployment && !self.stores.contains_key(&place) {
                self.idle.insert(place, now);
            }
        }
    }

    pub(super) fn keep(&mut self, kind: Kind, mut object: DynamicObject) -> Option<()> {
        object.managed_fields_mut().clear();
        let key = ObjectKey::of(&object);
        self.dirty.insert(key.namespace.clone());
        self.objects.insert((kind, key), serde_json::to_value(object).ok()?);
        Some(())
    }

    pub(super) fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        let key = ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
        self.objects.get(&(kind, key))
    }

    fn is_complete(&self) -> bool {
        self.synced.len() > super::KINDS.len()
    }

    /// The stores of a namespace that Runs refer to.
    pub(super) fn stores(&self, namespace: &str) -> Vec<ArtifactStore> {
        let own = self.stores.iter().filter(|((of, _), _)| of == namespace);
        own.map(|(_, (store, _))| store.clone()).collect()
    }

    /// Hashes of stores of a namespace whose maintainer nobody needs any more.
    pub(super) fn take_idle(&mut self, namespace: &str, now: Instant) -> Vec<String> {
        let over = |since: &Instant| now.duration_since(*since) >= self.lingers;
        let own = self.idle.iter().filter(|((of, _), since)| of == namespace && over(since));
        let hashes: Vec<String> = own.map(|((_, hash), _)| hash.clone()).collect();
        for hash in &hashes {
            self.idle.remove(&(namespace.to_owned(), hash.clone()));
        }
        hashes
    }

    /// It could not be deleted: it has lingered long enough a while later.
    pub(super) fn is_idle_still(&mut self, namespace: &str, hash: String) {
        self.idle.insert((namespace.to_owned(), hash), Instant::now());
    }

    /// Namespaces to look at, once all is known.
    pub(super) fn namespaces(&mut self, now: Instant) -> BTreeSet<String> {
        if !self.is_complete() {
            return BTreeSet::new();
        }
        let idle =
            self.idle.iter().filter(|(_, since)| now.duration_since(**since) >= self.lingers);
        let idle: Vec<String> = idle.map(|((namespace, _), _)| namespace.clone()).collect();
        self.dirty.extend(idle);
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn look_at(&mut self, namespace: String) {
        self.dirty.insert(namespace);
    }

    pub(super) fn look_at_deleted(&mut self) {
        self.to_free.extend(self.deleted.keys().cloned());
    }

    pub(super) fn next_deleted(&mut self) -> Option<Arc<Run>> {
        let key = self.to_free.pop_first()?;
        self.deleted.get(&key).cloned()
    }

    /// When the first maintainer has lingered long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.idle.values().min().map(|since| *since + self.lingers)
    }
}

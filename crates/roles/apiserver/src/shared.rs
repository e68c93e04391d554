//! What readers see: only what is durable.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use kruntimes_objects::builtin::CRDS;
use kruntimes_objects::crd;
use kruntimes_objects::registry::Registry;
use kruntimes_objects::resource::Resource;
use kruntimes_objects::state::{Change, State};
use kruntimes_objects::stored::{Key, Stored};
use tokio::sync::watch;

use crate::hub::Hub;

/// Watches that come back later than this list again. kube-apiserver keeps changes for at least 75 s, up to its limits.
const FRESH: Duration = Duration::from_secs(75);

/// The objects as readers see them.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) objects: BTreeMap<Arc<Key>, Arc<Stored>>,
    pub(crate) version: u64,
}

/// State that the writer publishes and requests read. Lock order: view, hub, registry.
#[derive(Debug)]
pub(crate) struct Shared {
    view: RwLock<View>,
    hub: Mutex<Hub>,
    registry: RwLock<Arc<Registry>>,
    failure: watch::Sender<Option<String>>,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(state: &State, registry: Registry, history: usize) -> Self {
        let objects = state.iter().map(|s| (s.key.clone(), s.clone())).collect();
        Self {
            view: RwLock::new(View { objects, version: state.version() }),
            hub: Mutex::new(Hub::new(state.version(), history)),
            registry: RwLock::new(Arc::new(registry)),
            failure: watch::Sender::new(None),
            started: Instant::now(),
        }
    }

    /// The objects, for reading.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watches.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The served resources.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The object at `key`.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.view().objects.get(key).cloned()
    }

    /// Makes durable changes visible; returns the resources whose selectable fields changed.
    pub(crate) fn publish(&self, changes: Vec<Change>) -> Vec<Arc<Resource>> {
        let now = self.started.elapsed();
        let mut reselect = Vec::new();
        let mut view = self.view_mut();
        let mut hub = self.hub();
        for change in changes {
            if change.key().is_some_and(|key| &*key.resource == CRDS) {
                reselect.extend(self.register(&change));
            }
            view.version = change.version;
            match (&change.new, &change.old) {
                (Some(new), _) => {
                    view.objects.insert(new.key.clone(), new.clone());
                }
                (None, Some(old)) => {
                    view.objects.remove(&old.key);
                }
                (None, None) => {}
            }
            hub.publish(change, now);
        }
        reselect
    }

    /// Forgets changes as they grow old, for ever.
    pub(crate) async fn age(&self) -> Infallible {
        loop {
            let now = self.started.elapsed();
            let oldest = self.hub().forget(now.saturating_sub(FRESH)).unwrap_or(now);
            let next = self.started + oldest + FRESH;
            // Changes that are almost old go together with the first.
            tokio::time::sleep_until((next + FRESH / 10).into()).await;
        }
    }

    /// Replaces objects whose selectable fields were computed anew.
    pub(crate) fn replace(&self, renewed: Vec<Arc<Stored>>) {
        let mut view = self.view_mut();
        for stored in renewed {
            view.objects.insert(stored.key.clone(), stored);
        }
    }

    fn register(&self, change: &Change) -> Option<Arc<Resource>> {
        let mut slot = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        let mut registry = Registry::clone(&slot);
        let mut reselect = None;
        match (&change.new, &change.old) {
            (Some(new), _) => {
                let resource = Arc::new(crd::compile(&new.value()).ok()?);
                let before = registry.by_id(&resource.id).map(|r| r.fields.clone());
                if registry.install(resource.clone(), new.version)
                    && before.is_some_and(|fields| fields != resource.fields)
                {
                    reselect = Some(resource);
                }
            }
            (None, Some(old)) => registry.uninstall(&old.key.name),
            (None, None) => {}
        }
        *slot = Arc::new(registry);
        reselect
    }

    /// Marks the store as failed: nothing is served any more.
    pub(crate) fn fail(&self, why: &str) {
        self.failure.send_replace(Some(why.to_owned()));
        self.hub().close();
    }

    /// Why the store failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Told when the store fails.
    pub(crate) fn failures(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }
}

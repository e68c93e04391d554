//! What the watches have shown of Runtimes and the objects of their pools.

use super::api_server::ApiServer;
use super::pods::Pods;
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kruntimes_api::{Runtime, labels, names};
use kruntimes_cluster::watch::{ObjectKey, Observed};
use kruntimes_rules::pool::Kind;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a watch shows.
#[derive(Debug)]
pub(super) enum Input {
    Runtime(Observed<Runtime>),
    Object(Kind, Observed<DynamicObject>),
    Pod(Observed<Pod>),
    Event(Observed<Event>),
    Service(Observed<Service>),
    Slice(Observed<EndpointSlice>),
}

/// Watches, to know when each has shown all that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    Runtimes,
    Objects(Kind),
}

/// The newest state of everything, by the key of its Runtime.
#[derive(Debug, Default)]
pub(super) struct Cache {
    runtimes: BTreeMap<ObjectKey, Runtime>,
    objects: BTreeMap<(Kind, ObjectKey), Value>,
    synced: BTreeSet<Watch>,
    pub(super) pods: Pods,
    pub(super) api_server: ApiServer,
}

impl Cache {
    /// Whether everything that existed has been shown: what is not here does not exist.
    pub(super) fn is_complete(&self) -> bool {
        self.synced.len() == Kind::ALL.len() + 1
    }

    /// Takes an observation in; the answer are Runtimes to look at.
    pub(super) fn take(&mut self, input: Input) -> Vec<ObjectKey> {
        match input {
            Input::Service(seen) if self.api_server.take_service(&seen) => self.narrowed(),
            Input::Slice(seen) if self.api_server.take_slice(&seen) => self.narrowed(),
            Input::Service(_) | Input::Slice(_) => Vec::new(),
            Input::Runtime(seen) => self.take_runtime(seen).into_iter().collect(),
            Input::Object(kind, seen) => self.take_object(kind, seen).into_iter().collect(),
            Input::Pod(seen) => self.pods.take(seen).into_iter().collect(),
            Input::Event(seen) => self.pods.take_event(seen).into_iter().collect(),
        }
    }

    /// Runtimes whose pods reach the API server by a rule of its own.
    fn narrowed(&self) -> Vec<ObjectKey> {
        let narrowed = self.runtimes.iter().filter(|(_, runtime)| runtime.spec.egress.is_some());
        narrowed.map(|(key, _)| key.clone()).collect()
    }

    fn take_runtime(&mut self, observed: Observed<Runtime>) -> Option<ObjectKey> {
        match observed {
            Observed::Applied(runtime) => Some(self.keep(runtime)),
            Observed::Gone(key) => {
                self.runtimes.remove(&key);
                // Owner references delete what belonged to it.
                None
            }
            Observed::Synced => {
                self.synced.insert(Watch::Runtimes);
                None
            }
            Observed::Interrupted => None,
        }
    }

    fn take_object(&mut self, kind: Kind, observed: Observed<DynamicObject>) -> Option<ObjectKey> {
        match observed {
            Observed::Applied(object) => self.keep_object(kind, object),
            Observed::Gone(key) => {
                let name = key.name.strip_prefix(&names::runtime_object("")).map(str::to_owned)?;
                let key = ObjectKey { name, ..key };
                self.objects.remove(&(kind, key.clone()));
                Some(key)
            }
            Observed::Synced => {
                self.synced.insert(Watch::Objects(kind));
                None
            }
            Observed::Interrupted => None,
        }
    }

    pub(super) fn runtime(&self, key: &ObjectKey) -> Option<&Runtime> {
        self.runtimes.get(key)
    }

    pub(super) fn object(&self, kind: Kind, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(&(kind, key.clone()))
    }

    pub(super) fn keep(&mut self, mut runtime: Runtime) -> ObjectKey {
        runtime.managed_fields_mut().clear();
        let key = ObjectKey::of(&runtime);
        self.runtimes.insert(key.clone(), runtime);
        key
    }

    /// Objects of others that carry the label without a name of ours are left out.
    pub(super) fn keep_object(
        &mut self,
        kind: Kind,
        mut object: DynamicObject,
    ) -> Option<ObjectKey> {
        let name = object.labels().get(labels::RUNTIME)?.clone();
        if object.name_any() != names::runtime_object(&name) {
            return None;
        }
        object.managed_fields_mut().clear();
        let key = ObjectKey { namespace: object.namespace().unwrap_or_default(), name };
        self.objects.insert((kind, key.clone()), serde_json::to_value(object).ok()?);
        Some(key)
    }
}

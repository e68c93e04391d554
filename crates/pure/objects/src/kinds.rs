//! Which resource an owner reference means: by its apiVersion and kind, as a RESTMapper answers.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::builtin;
use crate::json;
use crate::stored::Stored;

/// Where the objects of a kind stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The resource's id.
    pub(crate) resource: Arc<str>,
    /// Whether they live in namespaces.
    pub(crate) namespaced: bool,
}

/// All kinds: the built-in ones, and those of the stored CRDs.
#[derive(Debug)]
pub(crate) struct Kinds {
    /// apiVersion → kind → place.
    places: BTreeMap<String, BTreeMap<String, Place>>,
    built_in: BTreeSet<Arc<str>>,
}

impl Default for Kinds {
    fn default() -> Self {
        let mut kinds = Self { places: BTreeMap::new(), built_in: BTreeSet::new() };
        for resource in builtin::resources() {
            let place = Place { resource: resource.id.clone(), namespaced: resource.namespaced };
            kinds.insert(&resource.api_version(), &resource.kind, place);
            kinds.built_in.insert(resource.id);
        }
        kinds
    }
}

impl Kinds {
    /// Where objects of this kind stand; `None` when it is not served.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<&Place> {
        self.places.get(api_version)?.get(kind)
    }

    /// Whether a resource's objects need no CRD.
    pub(crate) fn is_built_in(&self, resource: &str) -> bool {
        self.built_in.contains(resource)
    }

    /// Learns the kind of a CRD.
    pub(crate) fn learn(&mut self, crd: &Stored) {
        self.forget(&crd.key.name);
        let object = crd.value();
        let text = |path: &[&str]| json::text(&object, path).to_owned();
        let place = Place {
            resource: crd.key.name.as_str().into(),
            namespaced: text(&["spec", "scope"]) == "Namespaced",
        };
        let group = text(&["spec", "group"]);
        let versions = json::at(&object, &["spec", "versions"]).and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            if version.get("served") == Some(&Value::Bool(true)) {
                let api_version = format!("{group}/{}", json::text(version, &["name"]));
                self.insert(&api_version, &text(&["spec", "names", "kind"]), place.clone());
            }
        }
    }

    /// Forgets the kind of a CRD that is gone.
    pub(crate) fn forget(&mut self, resource: &str) {
        for kinds in self.places.values_mut() {
            kinds.retain(|_, place| *place.resource != *resource);
        }
        self.places.retain(|_, kinds| !kinds.is_empty());
    }

    fn insert(&mut self, api_version: &str, kind: &str, place: Place) {
        let kinds = self.places.entry(api_version.to_owned()).or_default();
        kinds.entry(kind.to_owned()).or_insert(place);
    }
}

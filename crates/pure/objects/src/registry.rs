//! Which resources are served, by path.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::builtin;
use crate::resource::Resource;

/// All served resources.
#[derive(Debug, Clone)]
pub struct Registry {
    resources: BTreeMap<Arc<str>, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    resource: Arc<Resource>,
    /// The resourceVersion of the CRD; 0 for a built-in.
    version: u64,
}

impl Default for Registry {
    fn default() -> Self {
        let entry = |r: Resource| (r.id.clone(), Entry { resource: Arc::new(r), version: 0 });
        Self { resources: builtin::resources().into_iter().map(entry).collect() }
    }
}

impl Registry {
    /// The resource at `group`, `version`, `plural`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_id(&Resource::make_id(group, plural)).filter(|r| r.version == version)
    }

    /// The resource with this id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Resource>> {
        self.resources.get(id).map(|e| &e.resource)
    }

    /// Serves a CRD's resource, unless a newer revision of the CRD is served already.
    pub fn install(&mut self, resource: Arc<Resource>, version: u64) -> bool {
        let id = resource.id.clone();
        if self.resources.get(&id).is_some_and(|e| e.version == 0 || e.version >= version) {
            return false;
        }
        self.resources.insert(id, Entry { resource, version });
        true
    }

    /// Stops serving a CRD's resource.
    pub fn uninstall(&mut self, id: &str) {
        if self.resources.get(id).is_some_and(|e| e.version > 0) {
            self.resources.remove(id);
        }
    }

    /// All resources, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values().map(|e| &e.resource)
    }

    /// Groups with their versions and resources; the core group "" comes first.
    pub fn groups(&self) -> BTreeMap<&str, BTreeMap<&str, Vec<&Arc<Resource>>>> {
        let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<&Arc<Resource>>>> = BTreeMap::new();
        for resource in self.iter() {
            let versions = groups.entry(&resource.group).or_default();
            versions.entry(&resource.version).or_default().push(resource);
        }
        groups
    }
}

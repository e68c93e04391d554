//! What watches show, whoever reads them.

use kube::{Resource, ResourceExt};

/// Namespace (empty for cluster-wide kinds) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn of(object: &impl Resource) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

/// What a watch shows.
#[derive(Debug, Clone)]
pub enum Observed<K> {
    /// The object is like this.
    Applied(K),
    /// The object does not exist any more, no longer matches, or can't be read.
    Gone(ObjectKey),
    /// Everything that existed has been shown.
    Synced,
    /// The watch has failed and is started again: until it shows something new, what it has shown may be old.
    Interrupted,
}

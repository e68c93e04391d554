//! An object as the store keeps it: encoded once, with what selectors and garbage collection need beside it.
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::json;
use crate::resource::{Resource, SelectableField};

/// Where an object stands: ordered by resource, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The resource's id, `plural.group`.
    pub resource: Arc<str>,
    /// The namespace; "" for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key of `res`; the namespace is dropped for a cluster-scoped resource.
    pub fn new(res: &Resource, namespace: &str, name: &str) -> Self {
        let namespace = if res.namespaced { namespace } else { "" };
        Self { resource: res.id.clone(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// A key by resource id.
    pub fn of(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key as bytes for an ordered store: parts are separated by NUL, which none of them may contain.
    pub fn encode(&self) -> Vec<u8> {
        format!("{}\0{}\0{}", self.resource, self.namespace, self.name).into_bytes()
    }

    /// Reads what `encode` wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('\0');
        let key = Self::of(parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(key)
    }
}

/// An owner reference, as far as garbage collection needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The owner's `apiVersion`.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's UID.
    pub uid: String,
    /// `blockOwnerDeletion`.
    pub blocks: bool,
}

/// A stored object.
#[derive(Debug)]
pub struct Stored {
    /// Where it stands.
    pub key: Arc<Key>,
    /// Its resourceVersion.
    pub version: u64,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// The selectable fields' values.
    pub fields: BTreeMap<String, String>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The object as JSON, with its resourceVersion.
    pub json: Arc<[u8]>,
    /// Which fields are selectable.
    pub selectable: Arc<[SelectableField]>,
}

impl Stored {
    /// Encodes `object` at `version`.
    pub fn new(
        key: Arc<Key>,
        version: u64,
        mut object: Value,
        selectable: Arc<[SelectableField]>,
    ) -> Self {
        let metadata = json::metadata_mut(&mut object);
        metadata.insert("resourceVersion".to_owned(), Value::String(version.to_string()));
        let json = object.to_string().into_bytes().into();
        Self::describe(key, version, &object, json, selectable)
    }

    /// Reads an encoded object back; `None` if it is no object with a resourceVersion.
    pub fn decode(
        key: Arc<Key>,
        json: Arc<[u8]>,
        selectable: Arc<[SelectableField]>,
    ) -> Option<Self> {
        let object: Value = serde_json::from_slice(&json).ok()?;
        let version = json::text(&object, &["metadata", "resourceVersion"]).parse().ok()?;
        Some(Self::describe(key, version, &object, json, selectable))
    }

    fn describe(
        key: Arc<Key>,
        version: u64,
        object: &Value,
        json: Arc<[u8]>,
        selectable: Arc<[SelectableField]>,
    ) -> Self {
        let labels = json::at(object, &["metadata", "labels"])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect();
        let fields = selectable.iter().map(|f| (f.label.clone(), f.read(object))).collect();
        Self {
            key,
            version,
            uid: json::text(object, &["metadata", "uid"]).to_owned(),
            labels,
            fields,
            owners: owners(object),
            deleting: json::at(object, &["metadata", "deletionTimestamp"]).is_some(),
            json,
            selectable,
        }
    }

    /// The object as a value.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("stored objects were encoded by us")
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> Vec<String> {
        let object = self.value();
        let list = json::at(&object, &["metadata", "finalizers"]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|f| f.as_str().map(str::to_owned)).collect()
    }

    /// Whether `metadata.finalizers` holds this one.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers().iter().any(|f| f == finalizer)
    }

    /// The same object as it was last seen, at the version of its deletion.
    pub fn at_version(&self, version: u64) -> Self {
        Self::new(self.key.clone(), version, self.value(), self.selectable.clone())
    }
}

fn owners(object: &Value) -> Vec<Owner> {
    let references = json::at(object, &["metadata", "ownerReferences"]).and_then(Value::as_array);
    references
        .into_iter()
        .flatten()
        .map(|r| Owner {
            api_version: json::text(r, &["apiVersion"]).to_owned(),
            kind: json::text(r, &["kind"]).to_owned(),
            name: json::text(r, &["name"]).to_owned(),
            uid: json::text(r, &["uid"]).to_owned(),
            blocks: json::at(r, &["blockOwnerDeletion"]) == Some(&Value::Bool(true)),
        })
        .collect()
}

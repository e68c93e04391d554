//! An object of a list or a watch that may be unreadable: one bad object must not end what shows all the others.
//!
//! The object is parsed from its text at once. kube's own `DeserializeGuard` builds a tree of values first, clones it
//! and reads the object from the clone, which took an eighth of a local home's processor time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Resource;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An object, or its metadata and why the rest can't be read.
///
/// It is read from JSON text only, and in a watch event behind the event's `type`, as API servers write it.
#[derive(Debug, Clone)]
pub struct Readable<K>(pub Result<K, Unreadable>);

/// An object that can't be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// Why.
    pub error: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
}

#[derive(Deserialize)]
struct OnlyMetadata {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Readable<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(text.get()) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(error) => {
                let OnlyMetadata { metadata } =
                    serde_json::from_str(text.get()).map_err(Error::custom)?;
                Ok(Self(Err(Unreadable { error: error.to_string(), metadata })))
            }
        }
    }
}

impl<K: Resource> Resource for Readable<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectList;
    use kube::core::WatchEvent;

    const GOOD: &str =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"good"},"data":{"a":"b"}}"#;
    const BAD: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad","namespace":"n"},"data":{"a":1}}"#;

    #[test]
    fn one_bad_object_leaves_the_list_readable() {
        let text = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMapList","metadata":{{}},"items":[{BAD},{GOOD}]}}"#
        );
        let list: ObjectList<Readable<ConfigMap>> = serde_json::from_str(&text).unwrap();
        let unreadable = list.items[0].0.as_ref().unwrap_err();
        assert_eq!(unreadable.metadata.namespace.as_deref(), Some("n"));
        assert!(unreadable.error.contains("invalid type"), "{}", unreadable.error);
        assert_eq!(list.items[0].meta().name.as_deref(), Some("bad"));
        assert_eq!(list.items[1].0.as_ref().unwrap().data.as_ref().unwrap()["a"], "b");
    }

    #[test]
    fn one_bad_object_leaves_the_watch_readable() {
        for (object, readable) in [(GOOD, true), (BAD, false)] {
            let text = format!(r#"{{"type":"ADDED","object":{object}}}"#);
            let event: WatchEvent<Readable<ConfigMap>> = serde_json::from_str(&text).unwrap();
            let WatchEvent::Added(Readable(read)) = event else { panic!("{event:?}") };
            assert_eq!(read.is_ok(), readable);
        }
    }

    #[test]
    fn what_has_no_metadata_that_can_be_read_is_an_error() {
        let text = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":1}}"#;
        assert!(serde_json::from_str::<Readable<ConfigMap>>(text).is_err());
    }
}

//! Watches that one malformed object can't stop.

use crate::queue::Key;
use futures::Stream;
use kruntimes_cluster::readable::Readable;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use std::fmt::Debug;

/// An object that may be malformed: its metadata can be read all the same.
pub(crate) type Guard<K> = Readable<K>;

/// The events of every object of a kind, from a full list on; errors are logged and the watch resumes.
pub(crate) fn events<K>(api: Api<Guard<K>>) -> impl Stream<Item = watcher::Event<Guard<K>>>
where
    K: Resource + Clone + Debug + Send + 'static,
    K::DynamicType: Default,
    Guard<K>: Resource<DynamicType = K::DynamicType> + serde::de::DeserializeOwned,
{
    selected(api, watcher::Config::default())
}

/// As [`events`], of the objects that are selected.
pub(crate) fn selected<K>(
    api: Api<Guard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Event<Guard<K>>>
where
    K: Resource + Clone + Debug + Send + 'static,
    K::DynamicType: Default,
    Guard<K>: Resource<DynamicType = K::DynamicType> + serde::de::DeserializeOwned,
{
    let stream = watcher(api, config).default_backoff();
    futures::StreamExt::filter_map(stream, |event| {
        let event = match event {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::warn!(error = chain(&error), "watch failed; it resumes");
                None
            }
        };
        std::future::ready(event)
    })
}

/// The key of an object.
pub(crate) fn key(object: &impl ResourceExt) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

/// The object, unless it is malformed, which is logged.
pub(crate) fn valid<K: Resource>(guard: Guard<K>) -> Option<K> {
    match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            tracing::warn!(name, error = invalid.error, "malformed object is left alone");
            None
        }
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// Whether the API server answered with this status code.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// `after` as a JSON value if it differs from `before`.
pub(crate) fn changed<T: PartialEq + serde::Serialize>(
    before: Option<&T>,
    after: &T,
) -> Option<Value> {
    if before == Some(after) { None } else { serde_json::to_value(after).ok() }
}

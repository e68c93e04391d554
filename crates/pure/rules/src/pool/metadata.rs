//! What all objects of a pool have in common: name, labels and owner.

use super::ValidPool;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kruntimes_api::{labels, names};
use kube::core::ObjectMeta;
use std::collections::BTreeMap;

/// The name of each of them.
pub(super) fn name(pool: &ValidPool) -> String {
    names::runtime_object(&pool.name)
}

/// Owned by the Runtime: they go when it goes.
pub(super) fn metadata(pool: &ValidPool) -> ObjectMeta {
    let mut labels = pod_labels(pool);
    labels.insert(labels::NAME.to_owned(), labels::PRODUCT.to_owned());
    labels.insert(labels::COMPONENT.to_owned(), names::RUNTIMED_CONTAINER.to_owned());
    ObjectMeta {
        name: Some(name(pool)),
        namespace: Some(pool.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![OwnerReference {
            api_version: kruntimes_api::API_VERSION.to_owned(),
            kind: "Runtime".to_owned(),
            name: pool.name.clone(),
            uid: pool.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

/// The labels by which the pods are found.
pub(super) fn pod_labels(pool: &ValidPool) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::RUNTIME.to_owned(), pool.name.clone()),
        (labels::APP.to_owned(), format!("{}{}", labels::APP_PREFIX, pool.name)),
    ])
}

//! One look at a ReplicaSet: read it and the pods of its namespace, decide, apply.

use super::decide::scale::{pod, scale};
use super::deployment::ignore_missing;
use crate::queue::Key;
use crate::random;
use crate::watch::{self, Guard};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::time::Duration;

/// Names that are tried for one pod.
const NAME_TRIES: usize = 8;

/// Observes, decides and applies; the answer says when to look again without an event.
pub(super) async fn reconcile(client: &Client, key: Key) -> Result<Option<Duration>, kube::Error> {
    let sets = Api::<Guard<ReplicaSet>>::namespaced(client.clone(), &key.namespace);
    let Some(set) = sets.get_opt(&key.name).await?.and_then(watch::valid) else {
        return Ok(None);
    };
    let pods = Api::<Guard<Pod>>::namespaced(client.clone(), &key.namespace);
    let list = pods.list(&ListParams::default()).await?;
    let list: Vec<Pod> = list.items.into_iter().filter_map(watch::valid).collect();
    let plan = scale(&set, &list, Timestamp::now());
    for _ in 0..plan.create {
        create(&pods, &set, &key.name).await?;
    }
    for name in &plan.delete {
        ignore_missing(pods.delete(name, &DeleteParams::default()).await)?;
    }
    if let Some(status) = watch::changed(set.status.as_ref(), &plan.status) {
        let patch = Patch::Merge(json!({"status": status}));
        sets.patch_status(&key.name, &PatchParams::default(), &patch).await?;
    }
    Ok(plan.recheck)
}

async fn create(pods: &Api<Guard<Pod>>, set: &ReplicaSet, name: &str) -> Result<(), kube::Error> {
    let pods = Api::<Pod>::namespaced(pods.clone().into_client(), &namespace(set));
    for _ in 1..NAME_TRIES {
        let name = format!("{name}-{}", random::suffix(random::bits()));
        match pods.create(&PostParams::default(), &pod(set, &name)).await {
            Ok(_) => return Ok(()),
            Err(error) if watch::has_code(&error, 409) => {}
            Err(error) => return Err(error),
        }
    }
    let name = format!("{name}-{}", random::suffix(random::bits()));
    pods.create(&PostParams::default(), &pod(set, &name)).await.map(drop)
}

fn namespace(set: &ReplicaSet) -> String {
    set.metadata.namespace.clone().unwrap_or_default()
}

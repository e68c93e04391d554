//! One look at a Deployment: read it and the ReplicaSets of its namespace, decide, apply.

use super::decide::REVISION;
use super::decide::rollout::{RolloutPlan, rollout};
use crate::queue::Key;
use crate::watch::{self, Guard};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::time::Duration;

/// Observes, decides and applies; the answer says when to look again without an event.
pub(super) async fn reconcile(client: &Client, key: Key) -> Result<Option<Duration>, kube::Error> {
    let deployments = Api::<Guard<Deployment>>::namespaced(client.clone(), &key.namespace);
    let Some(deployment) = deployments.get_opt(&key.name).await?.and_then(watch::valid) else {
        return Ok(None);
    };
    let sets = Api::<Guard<ReplicaSet>>::namespaced(client.clone(), &key.namespace);
    let list = sets.list(&ListParams::default()).await?;
    let list: Vec<ReplicaSet> = list.items.into_iter().filter_map(watch::valid).collect();
    let Some(plan) = rollout(&deployment, &list, Timestamp::now()) else {
        return Ok(None);
    };
    apply_sets(client, &key.namespace, &plan, &list).await?;
    apply_status(client, &deployment, &plan).await?;
    Ok(plan.recheck)
}

async fn apply_sets(
    client: &Client,
    namespace: &str,
    plan: &RolloutPlan,
    seen: &[ReplicaSet],
) -> Result<(), kube::Error> {
    let sets = Api::<ReplicaSet>::namespaced(client.clone(), namespace);
    let params = PatchParams::default();
    if let Some(name) = &plan.renumber {
        let patch = json!({"metadata": {"annotations": {REVISION: plan.revision}}});
        sets.patch(name, &params, &Patch::Merge(patch)).await?;
    }
    if let Some(set) = &plan.create {
        sets.create(&PostParams::default(), set).await?;
    }
    for scale in &plan.scale {
        // The renumbered set has another version than the one that was seen.
        let mut patch = json!({"spec": {"replicas": scale.replicas}});
        if plan.renumber.as_ref() != Some(&scale.name) {
            patch["metadata"] = json!({"resourceVersion": scale.version});
        }
        sets.patch(&scale.name, &params, &Patch::Merge(patch)).await?;
    }
    for name in &plan.delete {
        let uid = seen.iter().find(|set| set.metadata.name.as_ref() == Some(name));
        let uid = uid.and_then(|set| set.metadata.uid.clone());
        let preconditions = Preconditions { uid, resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        ignore_missing(sets.delete(name, &params).await)?;
    }
    Ok(())
}

async fn apply_status(
    client: &Client,
    deployment: &Deployment,
    plan: &RolloutPlan,
) -> Result<(), kube::Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let api = Api::<Guard<Deployment>>::namespaced(client.clone(), &namespace);
    let name = deployment.name_any();
    if deployment.annotations().get(REVISION) != Some(&plan.revision) {
        let patch = json!({"metadata": {"annotations": {REVISION: plan.revision}}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    let status = watch::changed(deployment.status.as_ref(), &plan.status);
    if let Some(status) = status {
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(&name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// What is gone already need not be deleted.
pub(super) fn ignore_missing<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if watch::has_code(&error, 404) => Ok(()),
        Err(error) => Err(error),
    }
}

//! The controller on the in-process API server.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod guards;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod maintainers;
mod pools;
mod workflows;
mod world;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kruntimes_api::{Phase, Run, Runtime};
use kube::ResourceExt;
use serde_json::json;
use world::World;

pub(crate) fn runtime(image: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": "bash"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "runtime", "image": image}]}}},
    })
}

fn image(deployment: &Deployment) -> Option<&str> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_deref()
}

#[tokio::test]
async fn a_runtime_gets_its_deployment_and_shows_its_ready_pods() {
    let world = World::start();
    let created: Runtime = world.create(runtime("one")).await;
    let deployment = world.until::<Deployment>("runtime-bash", |_| true).await;
    assert_eq!(deployment.owner_references()[0].uid, created.uid().unwrap());
    assert_eq!(deployment.spec.as_ref().unwrap().replicas, Some(2));
    world.patch_status::<Deployment>("runtime-bash", json!({"readyReplicas": 2})).await;
    let ready =
        |runtime: &Runtime| runtime.status.as_ref().and_then(|status| status.ready_replicas);
    world.until::<Runtime>("bash", |runtime| ready(runtime) == Some(2)).await;
}

#[tokio::test]
async fn a_changed_runtime_changes_its_deployment_and_a_deleted_deployment_comes_back() {
    let world = World::start();
    world.create::<Runtime>(runtime("one")).await;
    world.until::<Deployment>("runtime-bash", |found| image(found) == Some("one")).await;
    let change = json!({"spec": runtime("two")["spec"]});
    world.patch::<Runtime>("bash", change).await;
    let live = world.until::<Deployment>("runtime-bash", |found| image(found) == Some("two")).await;
    world.delete::<Deployment>("runtime-bash").await;
    world.until::<Deployment>("runtime-bash", |found| found.uid() != live.uid()).await;
}

#[tokio::test]
async fn a_run_that_ended_is_deleted_after_its_ttl_and_the_others_stay() {
    let world = World::start();
    for (name, ttl) in [("kept", 0), ("collected", 1)] {
        world
            .create::<Run>(json!({
                "metadata": {"name": name},
                "spec": {"runtime": "bash", "ttlSecondsAfterFinished": ttl},
            }))
            .await;
        let ended = json!({"phase": "Cancelled", "completionTime": Timestamp::now()});
        world.patch_status::<Run>(name, ended).await;
    }
    world.until_gone::<Run>("collected").await;
    world.until::<Run>("kept", |run| run.phase() == Phase::Cancelled).await;
}

#[tokio::test]
async fn a_runtime_that_can_not_be_built_does_not_hold_up_another() {
    let world = World::without_rules();
    let mut bad = runtime("one");
    bad["metadata"]["name"] = json!("bad");
    bad["spec"]["capacity"] = json!({"resources": {"runs": "1.5"}});
    world.create::<Runtime>(bad).await;
    world.create::<Runtime>(runtime("one")).await;
    world.until::<Deployment>("runtime-bash", |_| true).await;
}

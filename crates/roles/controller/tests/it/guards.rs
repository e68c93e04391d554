//! Runs that are about to keep artifacts.

use crate::world::World;
use kruntimes_api::Run;
use kruntimes_api::labels::{ARTIFACT_FINALIZER, ARTIFACT_STORE_HASH};
use kube::ResourceExt;
use serde_json::{Value, json};

async fn running(world: &World, name: &str) {
    world.create::<Run>(json!({"metadata": {"name": name}, "spec": {"runtime": "bash"}})).await;
    let status = json!({
        "phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u", "attempt": 1,
    });
    world.patch_status::<Run>(name, status).await;
    world.patch_status::<Run>(name, json!({"phase": "Running"})).await;
}

fn store(claim: &str) -> Value {
    json!({"artifactStore": {"driver": "filesystem", "filesystem": {"volumeClaimName": claim}}})
}

fn is_guarded(run: &Run) -> bool {
    let label = run.labels().get(ARTIFACT_STORE_HASH).map(String::as_str);
    let finalizer = run.finalizers().iter().any(|name| name == ARTIFACT_FINALIZER);
    finalizer && label == Some("45d07093075a44a9")
}

#[tokio::test]
async fn a_run_whose_status_names_a_store_gets_its_finalizer_beside_those_of_others() {
    let world = World::start();
    running(&world, "r").await;
    world.patch::<Run>("r", json!({"metadata": {"finalizers": ["other/one"]}})).await;
    world.patch_status::<Run>("r", store("pvc1")).await;
    let run = world.until::<Run>("r", is_guarded).await;
    assert_eq!(run.finalizers(), ["other/one", ARTIFACT_FINALIZER]);
}

#[tokio::test]
async fn a_label_that_a_user_takes_away_comes_back_also_after_the_end() {
    let world = World::start();
    running(&world, "r").await;
    world.patch_status::<Run>("r", store("pvc1")).await;
    world.until::<Run>("r", is_guarded).await;
    let none = json!({"metadata": {"labels": {ARTIFACT_STORE_HASH: null}}});
    world.patch::<Run>("r", none.clone()).await;
    world.until::<Run>("r", is_guarded).await;
    world.patch_status::<Run>("r", json!({"phase": "Succeeded"})).await;
    world.patch::<Run>("r", none).await;
    world.until::<Run>("r", is_guarded).await;
}

#[tokio::test]
async fn a_run_without_a_store_gets_none() {
    let world = World::start();
    running(&world, "without").await;
    running(&world, "with").await;
    world.patch_status::<Run>("with", store("pvc1")).await;
    world.until::<Run>("with", is_guarded).await;
    let run = world.until::<Run>("without", |_| true).await;
    assert!(run.finalizers().is_empty() && run.labels().is_empty());
}

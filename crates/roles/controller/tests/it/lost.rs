//! Pods that are lost, and what becomes of their Runs and Leases.

use crate::world::World;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Phase, Run, labels};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(300);

async fn pod(world: &World, name: &str) -> Pod {
    let pod = json!({
        "metadata": {"name": name, "labels": {"runtime": "bash"}},
        "spec": {"containers": [{"name": "runtime", "image": "x"}]},
    });
    world.create(pod).await
}

async fn assigned(world: &World, name: &str, pod: &Pod, attempts: i32) {
    let run = json!({"metadata": {"name": name},
        "spec": {"runtime": "bash", "retryPolicy": {"maxAttempts": attempts}}});
    world.create::<Run>(run).await;
    let status = json!({
        "phase": "Scheduled", "assignedPod": pod.name_any(), "assignedPodUID": pod.uid(), "attempt": 1,
    });
    world.patch_status::<Run>(name, status).await;
}

async fn lease(world: &World, pod: &Pod, holder: &str) -> Lease {
    let lease = json!({
        "metadata": {"name": pod.name_any(), "labels": {"runtime": "bash"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid()}]},
        "spec": {"holderIdentity": holder},
    });
    world.create(lease).await
}

fn terminated() -> Value {
    let state = json!({"terminated": {"exitCode": 137}});
    json!({"phase": "Failed", "containerStatuses": [
        {"name": "runtime", "state": state, "ready": false, "image": "x", "imageID": "", "restartCount": 0},
    ]})
}

fn is_broken(lease: &Lease) -> bool {
    lease.labels().contains_key(labels::BROKEN)
}

#[tokio::test]
async fn the_runs_of_a_pod_whose_containers_have_terminated_move_at_once() {
    let world = World::start();
    let lost = pod(&world, "p1").await;
    assigned(&world, "once", &lost, 1).await;
    assigned(&world, "twice", &lost, 2).await;
    world.patch_status::<Pod>("p1", terminated()).await;
    let failed = world.until::<Run>("once", |run| run.phase() == Phase::Failed).await;
    let status = failed.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("PodGone"));
    assert_eq!(status.message.as_deref(), Some("pod p1 has ended"));
    let again = world.until::<Run>("twice", |run| run.phase() == Phase::Pending).await;
    let status = again.status.unwrap();
    assert_eq!((status.attempt, status.assigned_pod), (Some(1), None));
    assert!(status.next_attempt_time.is_some());
    for (run, reason) in [("once", "StaleRunFailed"), ("twice", "StaleRunRetrying")] {
        let event = world.until_event_about(run).await;
        assert_eq!(event.reason.as_deref(), Some(reason));
        assert_eq!(event.message.as_deref(), Some("attempt 1: PodGone: pod p1 has ended"));
        assert_eq!(event.reporting_component.as_deref(), Some("kruntimes-controller"));
    }
}

#[tokio::test]
async fn the_lease_of_a_silent_pod_is_broken_before_its_runs_are_taken() {
    let world = World::reaping_after(SOON);
    let lost = pod(&world, "p1").await;
    lease(&world, &lost, &lost.uid().unwrap()).await;
    assigned(&world, "r", &lost, 1).await;
    let failed = world.until::<Run>("r", |run| run.phase() == Phase::Failed).await;
    assert_eq!(failed.status.unwrap().reason.as_deref(), Some("PodUnhealthy"));
    let lease = world.until::<Lease>("p1", |_| true).await;
    assert_eq!(lease.labels()[labels::BROKEN], lost.uid().unwrap());
    assert_eq!(lease.labels()[labels::RUNTIME], "bash");
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""));
    assert_eq!(lease.metadata.owner_references.unwrap()[0].uid, lost.uid().unwrap());
    let writes = world.take_writes();
    let place = |word: &str| writes.iter().position(|write| write.contains(word)).unwrap();
    assert!(place("leases/p1") < place("runs/r/status"), "{writes:?}");
}

#[tokio::test]
async fn a_run_that_no_lease_was_held_for_did_not_start() {
    let world = World::reaping_after(SOON);
    let silent = pod(&world, "p1").await;
    assigned(&world, "r", &silent, 1).await;
    let back = world
        .until::<Run>("r", |run| {
            run.phase() == Phase::Pending
                && run.status.as_ref().is_some_and(|status| status.attempt == Some(1))
        })
        .await;
    assert_eq!(back.status.unwrap().reason.as_deref(), Some("NotStarted"));
    assert!(is_broken(&world.until::<Lease>("p1", |_| true).await));
}

#[tokio::test]
async fn the_runs_of_a_pod_that_was_force_deleted_wait_and_then_move() {
    let world = World::reaping_after(SOON);
    let lost = pod(&world, "p1").await;
    lease(&world, &lost, &lost.uid().unwrap()).await;
    assigned(&world, "r", &lost, 1).await;
    let begin = std::time::Instant::now();
    world.delete::<Pod>("p1").await;
    let failed = world.until::<Run>("r", |run| run.phase() == Phase::Failed).await;
    let status = failed.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("PodGone"));
    assert_eq!(status.message.as_deref(), Some("pod p1 is gone"));
    assert!(begin.elapsed() >= SOON, "{:?}", begin.elapsed());
}

/// Kubernetes takes an update that changes nothing without a new version, and then the pod's own next write would pass.
#[tokio::test]
async fn each_break_of_a_lease_is_a_new_version_of_it() {
    let world = World::reaping_after(SOON);
    let silent = pod(&world, "p1").await;
    assigned(&world, "first", &silent, 1).await;
    let broken = world.until::<Lease>("p1", is_broken).await;
    assigned(&world, "second", &silent, 1).await;
    let reason = |run: &Run| run.status.as_ref().and_then(|status| status.reason.clone());
    world.until::<Run>("second", |run| reason(run).as_deref() == Some("NotStarted")).await;
    let again = world.until::<Lease>("p1", |_| true).await;
    assert_ne!(again.resource_version(), broken.resource_version());
}

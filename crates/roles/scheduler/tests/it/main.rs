//! The scheduler on the in-process API server: what it writes for the world it sees.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod leader;
mod world;

use kruntimes_api::{Phase, Run};
use serde_json::json;
use world::World;

fn scheduled_reason(run: &Run) -> Option<&str> {
    let conditions = &run.status.as_ref()?.conditions;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "Scheduled")?;
    Some(&scheduled.reason)
}

#[tokio::test]
async fn a_run_is_bound_to_a_ready_pod_in_one_write() {
    let world = World::start();
    world.namespace("default").await;
    world.runtime("default").await;
    let uid = world.ready_pod("default", "p1", "2").await;
    let created = world.run("default", "a", json!({})).await;
    let run = world.until("default", "a", |run| run.phase() == Phase::Scheduled).await;
    let status = run.status.unwrap();
    assert_eq!(status.assigned_pod.as_deref(), Some("p1"));
    assert_eq!(status.assigned_pod_uid.as_deref(), Some(uid.as_str()));
    assert_eq!(status.attempt, Some(1));
    let timeline = status.timeline.unwrap();
    assert!(timeline.seen.unwrap() <= timeline.scheduled.unwrap());
    assert_eq!(created.metadata.uid, run.metadata.uid);
}

#[tokio::test]
async fn a_run_without_a_runtime_says_so_and_starts_when_the_runtime_appears() {
    let world = World::start();
    world.run("default", "a", json!({})).await;
    let run =
        world.until("default", "a", |run| scheduled_reason(run) == Some("RuntimeNotFound")).await;
    assert_eq!(run.phase(), Phase::Pending);
    world.runtime("default").await;
    world.ready_pod("default", "p1", "1").await;
    world.until("default", "a", |run| run.phase() == Phase::Scheduled).await;
}

#[tokio::test]
async fn pods_are_filled_to_their_capacity_and_no_further() {
    let world = World::start();
    world.runtime("default").await;
    world.ready_pod("default", "p1", "2").await;
    world.ready_pod("default", "p2", "1").await;
    for name in ["a", "b", "c", "d"] {
        world.run("default", name, json!({})).await;
    }
    let waiting =
        world.until_any("default", |run| scheduled_reason(run) == Some("NoCapacity")).await;
    let counts = world.pods_of("default").await;
    assert_eq!(counts.get("p1"), Some(&2));
    assert_eq!(counts.get("p2"), Some(&1));
    assert_eq!(waiting.phase(), Phase::Pending);
}

#[tokio::test]
async fn each_namespace_uses_its_own_pods() {
    let world = World::start();
    for namespace in ["one", "two"] {
        world.namespace(namespace).await;
        world.runtime(namespace).await;
        world.ready_pod(namespace, &format!("pod-{namespace}"), "200").await;
    }
    for number in 0..200 {
        for namespace in ["one", "two"] {
            world.run(namespace, &format!("r{number}"), json!({})).await;
        }
    }
    for namespace in ["one", "two"] {
        for number in 0..200 {
            let name = format!("r{number}");
            world.until(namespace, &name, |run| run.phase() == Phase::Scheduled).await;
        }
        assert_eq!(world.pods_of(namespace).await.get(&format!("pod-{namespace}")), Some(&200));
    }
}

#[tokio::test]
async fn a_waiting_run_that_is_cancelled_ends() {
    let world = World::start();
    world.run("default", "a", json!({})).await;
    world.patch("default", "a", json!({"spec": {"cancelRequested": true}})).await;
    let run = world.until("default", "a", |run| run.phase() == Phase::Cancelled).await;
    let status = run.status.unwrap();
    assert_eq!(status.message.as_deref(), Some("cancelled by user"));
    assert!(status.completion_time.is_some());
}

fn gpus(gpu: u32) -> serde_json::Value {
    json!({"resources": {"requests": {"gpu": gpu}}})
}

#[tokio::test]
async fn every_resource_of_a_pod_is_filled_and_no_further() {
    let world = World::start();
    world.runtime("default").await;
    world.ready_pod("default", "p1", "9").await;
    for name in ["a", "b", "c"] {
        world.run("default", name, gpus(1)).await;
    }
    let waiting =
        world.until_any("default", |run| scheduled_reason(run) == Some("NoCapacity")).await;
    assert_eq!(
        waiting.status.unwrap().message.as_deref(),
        Some("waiting for Runtime bash: no ready pod has runs=1, gpu=1 free")
    );
    assert_eq!(world.pods_of("default").await.get("p1"), Some(&2));
    world.run("default", "plain", json!({})).await;
    world.until("default", "plain", |run| run.phase() == Phase::Scheduled).await;
}

#[tokio::test]
async fn a_run_that_no_pod_could_ever_hold_fails_with_field_value_and_limit() {
    let world = World::start();
    world.run("default", "a", gpus(3)).await;
    world.until("default", "a", |run| scheduled_reason(run) == Some("RuntimeNotFound")).await;
    world.runtime("default").await;
    let run = world.until("default", "a", |run| run.phase() == Phase::Failed).await;
    let status = run.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("Unschedulable"));
    let message = status.message.unwrap();
    assert!(message.starts_with("spec.resources.requests.gpu: 3 can never be had: "), "{message}");
    assert!(status.conditions.iter().any(|known| known.type_ == "Finished"));
    let event = world.until_event_about("a").await;
    assert_eq!(event.reason.as_deref(), Some("RunRetriesExhausted"));
    assert_eq!(event.source.unwrap().component.as_deref(), Some("kruntimes-scheduler"));
    assert!(status.completion_time.is_some() && status.attempt.is_none());
    world.run("default", "b", gpus(2)).await;
    let run = world.until("default", "b", |run| scheduled_reason(run).is_some()).await;
    assert_eq!(scheduled_reason(&run), Some("NoReadyPods"));
}

#[tokio::test]
async fn a_pod_whose_lease_is_broken_gets_no_run_until_it_renews() {
    let world = World::start();
    world.runtime("default").await;
    world.lease("default", "p1", json!({"kruntimes.io/broken": ""})).await;
    world.ready_pod("default", "p1", "2").await;
    world.run("default", "a", json!({})).await;
    world.until("default", "a", |run| scheduled_reason(run) == Some("NoReadyPods")).await;
    world.lease("default", "p1", json!({})).await;
    world.until("default", "a", |run| run.phase() == Phase::Scheduled).await;
}

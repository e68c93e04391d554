//! The pod ends: nothing begins any more, what executes goes on to its end, and the kubelet is told.

use crate::readiness::{get, ready};
use crate::world::World;
use kruntimes_api::Phase;
use serde_json::json;

#[tokio::test]
async fn a_drain_waits_for_what_executes_and_hands_the_rest_back() {
    let mut world = World::start(1).await;
    let running = world.assigned("running", json!({})).await;
    world.fake.executed(0).await;
    world.assigned("waiting", json!({})).await;
    world.until_pod(|pod| ready(pod) == Some("True")).await;
    world.drain_runtimed();
    let told = tokio::spawn(get(world.address, "/drain"));
    world.until_pod(|pod| ready(pod) == Some("False")).await;
    let answer = get(world.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("the pod ends"), "{answer}");
    let handed_back = |name: &'static str| {
        let world = &world;
        async move {
            let back = |run: &kruntimes_api::Run| {
                let status = run.status.as_ref();
                run.phase() == Phase::Pending
                    && status.is_some_and(|it| it.reason.as_deref() == Some("NotStarted"))
            };
            world.until(name, back).await
        }
    };
    handed_back("waiting").await;
    // The scheduler may not have seen the condition yet.
    world.assigned("late", json!({})).await;
    handed_back("late").await;
    assert!(!told.is_finished(), "a Run executes");
    world.fake.exit(&running, 0, "");
    assert_eq!(world.until_over("running").await.phase(), Phase::Succeeded);
    let answer = told.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    world.runtimed_ended().await;
    let executes = world.fake.calls().iter().filter(|call| call.starts_with("Execute")).count();
    assert_eq!(executes, 1);
}

#[tokio::test]
async fn a_pod_without_runs_ends_at_once() {
    let mut world = World::start(1).await;
    world.until_pod(|pod| ready(pod) == Some("True")).await;
    world.drain_runtimed();
    let answer = get(world.address, "/drain").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    world.runtimed_ended().await;
    let pod = world.until_pod(|_| true).await;
    assert_eq!(ready(&pod), Some("False"));
}

#[tokio::test]
async fn the_end_of_the_home_cuts_a_drain_short() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.drain_runtimed();
    world.until_pod(|pod| ready(pod) == Some("False")).await;
    world.stop_runtimed().await;
    world.fake.called(&format!("Cancel {uid}")).await;
    let run = world.until_over("a").await;
    assert_eq!(run.status.unwrap().reason.as_deref(), Some("PodTerminating"));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_killed_and_said() {
    let mut world = World::start_draining_within(2).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.drain_runtimed();
    let run = world.until_over("a").await;
    assert_eq!(run.status.unwrap().reason.as_deref(), Some("PodTerminating"));
    world.fake.called(&format!("Cancel {uid}")).await;
    world.runtimed_ended().await;
}

#[tokio::test]
async fn a_drain_that_is_asked_for_without_the_end_of_the_pod_begins_nothing() {
    let world = World::start(1).await;
    world.until_pod(|pod| ready(pod) == Some("True")).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let answer = get(world.address, "/drain").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(get(world.address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
}

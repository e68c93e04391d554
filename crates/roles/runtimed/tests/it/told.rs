//! What people are told of a Run by Events.

use crate::world::World;
use futures::{StreamExt, pin_mut};
use kruntimes_api::Phase;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use std::time::Duration;

/// What is said of Runs until `count` Events exist: name, type, reason, component.
async fn said(world: &World, count: usize) -> Vec<String> {
    let events = watcher(world.events(), watcher::Config::default()).applied_objects();
    pin_mut!(events);
    let mut said = Vec::new();
    let all = async {
        while said.len() < count {
            let event = events.next().await.unwrap().unwrap();
            let name = event.involved_object.name.unwrap();
            let by = event.source.unwrap().component.unwrap();
            said.push(format!("{name} {} {} {by}", event.type_.unwrap(), event.reason.unwrap()));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    said
}

#[tokio::test]
async fn retries_are_told_and_a_run_that_succeeds_at_once_is_not() {
    let world = World::start(1).await;
    let uid = world.assigned("first", json!({})).await;
    world.fake.executed(0).await;
    world.fake.exit(&uid, 0, "");
    world.until_over("first").await;
    let uid = world.assigned("a", json!({"retryPolicy": {"maxAttempts": 2}})).await;
    world.fake.executed(1).await;
    world.fake.exit(&uid, 1, "exit status 1");
    let run = world.until("a", |run| run.phase() == Phase::Pending).await;
    world.assign(&run).await;
    world.fake.executed(2).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    world.fake.exit(&uid, 0, "");
    world.until_over("a").await;
    let uid = world.assigned("b", json!({})).await;
    world.fake.executed(3).await;
    world.fake.exit(&uid, 3, "exit status 3");
    let mut told = said(&world, 4).await;
    told.sort();
    let want = [
        "a Normal RunRetrying runtimed",
        "a Normal RunSucceeded runtimed",
        "a Warning RunFailedRetrying runtimed",
        "b Warning RunRetriesExhausted runtimed",
    ];
    assert_eq!(told, want);
}

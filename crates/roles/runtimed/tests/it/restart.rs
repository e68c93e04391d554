//! A runtimed or a stream that breaks: no attempt is executed twice, none is lost.

use crate::world::World;
use kruntimes_api::Phase;
use serde_json::json;

#[tokio::test]
async fn a_restarted_runtimed_goes_on_with_what_the_server_knows() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    world.kill_runtimed().await;
    world.start_runtimed();
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!(run.phase(), Phase::Succeeded);
    let stages = run.status.unwrap().timeline.unwrap();
    assert!(stages.received <= stages.prepared && stages.prepared <= stages.started);
    assert!(stages.started < stages.exited, "the start is known: {stages:?}");
    world.fake.called(&format!("Forget {uid}")).await;
    let executes = world.fake.calls().iter().filter(|call| call.starts_with("Execute")).count();
    assert_eq!(executes, 1);
}

#[tokio::test]
async fn what_a_restarted_runtimed_finds_unknown_is_lost_and_not_executed_again() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.kill_runtimed().await;
    world.fake.lose_all();
    world.start_runtimed();
    let run = world.until_over("a").await;
    let status = run.status.unwrap();
    assert_eq!((status.phase, status.reason.as_deref()), (Phase::Failed, Some("ExecutionLost")));
    assert_eq!(world.fake.calls()[0], format!("Execute {uid}"));
    let executes = world.fake.calls().iter().filter(|call| call.starts_with("Execute")).count();
    assert_eq!(executes, 1);
}

#[tokio::test]
async fn an_end_and_its_output_during_a_restart_are_found() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.kill_runtimed().await;
    world.fake.output(&uid, 2, 0, b"oh no");
    world.fake.exit(&uid, 3, "");
    world.start_runtimed();
    let run = world.until_over("a").await;
    let message = run.status.unwrap().message;
    assert_eq!(message.as_deref(), Some("runtime stderr: oh no"));
}

#[tokio::test]
async fn a_run_that_left_during_a_restart_is_killed() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.kill_runtimed().await;
    world.delete("a").await;
    world.start_runtimed();
    world.fake.called(&format!("Cancel {uid}")).await;
    world.until_removed(&uid).await;
}

#[tokio::test]
async fn an_end_during_a_broken_stream_is_seen() {
    let world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    world.fake.break_streams();
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
}

#[tokio::test]
async fn an_execution_that_the_server_loses_is_lost() {
    let world = World::start(1).await;
    world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    world.fake.lose_all();
    world.fake.break_streams();
    let run = world.until_over("a").await;
    assert_eq!(run.status.unwrap().reason.as_deref(), Some("ExecutionLost"));
}

#[tokio::test]
async fn the_end_of_a_run_is_written_when_the_api_server_is_back() {
    let world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    world.reach.cut(true);
    world.fake.exit(&uid, 0, "");
    world.reach.failed(2).await;
    assert!(!world.fake.calls().contains(&format!("Forget {uid}")), "the end is not written yet");
    world.reach.cut(false);
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
    world.fake.called(&format!("Forget {uid}")).await;
}

#[tokio::test]
async fn a_workspace_that_a_crash_left_is_removed_and_a_foreign_directory_stays() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.kill_runtimed().await;
    let workspaces = world.directory.join("workspace");
    let orphan = "01234567-89ab-4cde-8f01-23456789abcd";
    for name in [orphan, "cache"] {
        std::fs::create_dir(workspaces.join(name)).unwrap();
    }
    world.start_runtimed();
    world.until_removed(orphan).await;
    assert!(workspaces.join("cache").exists() && workspaces.join(&uid).exists());
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
}

#[tokio::test]
async fn what_a_crash_left_of_an_attempt_is_ended_before_the_next_one_begins() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({"retryPolicy": {"maxAttempts": 2}})).await;
    world.fake.executed(0).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    world.kill_runtimed().await;
    world.fake.exit(&uid, 3, "");
    let ended = json!({"phase": "Pending", "assignedPod": null, "reason": "RuntimeError"});
    world.patch_status("a", ended).await;
    let run = world.until("a", |run| run.phase() == Phase::Pending).await;
    world.assign(&run).await;
    world.start_runtimed();
    let run = world.until("a", |run| run.phase() == Phase::Pending).await;
    assert_eq!(run.status.as_ref().unwrap().reason.as_deref(), Some("NotStarted"));
    world.assign(&run).await;
    world.fake.executed(1).await;
    let calls = world.fake.calls();
    let calls: Vec<&String> = calls.iter().filter(|call| !call.starts_with("Status")).collect();
    assert_eq!(
        calls,
        [&format!("Execute {uid}"), &format!("Cancel {uid}"), &format!("Execute {uid}")]
    );
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
}

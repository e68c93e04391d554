//! What becomes of an assigned Run.

use crate::world::World;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Phase, Run};
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::{ExecutionExited, ExecutionOutput};
use serde_json::json;

fn reason(run: &Run) -> &str {
    run.status.as_ref().unwrap().reason.as_deref().unwrap_or_default()
}

fn condition<'a>(run: &'a Run, kind: &str) -> (&'a str, &'a str) {
    let conditions = &run.status.as_ref().unwrap().conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (&found.status, &found.reason)
}

#[tokio::test]
async fn a_run_that_succeeds_has_every_stage_in_order_and_leaves_nothing() {
    let world = World::start(2).await;
    let spec = json!({
        "source": {"inline": "echo hello\n"}, "entrypoint": "a/b.sh", "args": ["x"],
        "env": [{"name": "A", "value": "1"}], "timeoutSeconds": 100,
    });
    let uid = world.assigned("a", spec).await;
    let request = world.fake.executed(0).await;
    let own = world.directory.join("workspace").join(&uid);
    assert_eq!(request.id, uid);
    assert_eq!(request.args, ["x"]);
    assert_eq!(request.env["A"], "1");
    assert_eq!(request.env["KRUNTIME_OUTPUTS"], own.join("outputs").display().to_string());
    assert_eq!(request.timeout_seconds, 100);
    assert_eq!(request.working_dir, own.join("work").display().to_string());
    assert_eq!(request.entrypoint, "a/b.sh");
    let script = std::fs::read_to_string(own.join("work/a/b.sh")).unwrap();
    assert_eq!(script, "echo hello\n");
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Succeeded, "RunCompleted"));
    assert_eq!(condition(&run, "Finished"), ("True", "RunCompleted"));
    assert_eq!(condition(&run, "Running"), ("False", "Completed"));
    let status = run.status.unwrap();
    assert_eq!(status.exit_code, Some(0));
    assert_eq!(status.message.as_deref(), Some("execution completed"));
    assert!(status.completion_time.is_some() && status.start_time.is_some());
    let stages = status.timeline.unwrap();
    let times: Vec<Timestamp> = [
        stages.seen,
        stages.scheduled,
        stages.received,
        stages.prepared,
        stages.started,
        stages.exited,
        stages.finished,
    ]
    .into_iter()
    .map(|stage: Option<MicroTime>| stage.unwrap().0)
    .collect();
    assert!(times.is_sorted(), "{times:?}");
    world.fake.called(&format!("Forget {uid}")).await;
    world.until_removed(&uid).await;
}

#[tokio::test]
async fn a_run_that_takes_a_while_is_running_meanwhile() {
    let world = World::start(2).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let run = world.until("a", |run| run.phase() == Phase::Running).await;
    assert_eq!(condition(&run, "Running"), ("True", "Claimed"));
    world.fake.exit(&uid, 3, "exit status 3");
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, "RuntimeError"));
    let status = run.status.unwrap();
    assert_eq!((status.exit_code, status.message.as_deref()), (Some(3), Some("exit status 3")));
}

#[tokio::test]
async fn a_timeout_kills_and_then_says_so() {
    let world = World::start(2).await;
    let uid = world.assigned("a", json!({"timeoutSeconds": 1})).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Timeout, "Timeout"));
    assert_eq!(run.status.unwrap().message.as_deref(), Some("timeout after 1s"));
    assert_eq!(world.fake.calls()[..2], [format!("Execute {uid}"), format!("Cancel {uid}")]);
}

#[tokio::test]
async fn a_cancelled_run_is_killed_and_then_cancelled() {
    let world = World::start(2).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.hold_cancel(true);
    world.patch("a", json!({"spec": {"cancelRequested": true}})).await;
    world.fake.called(&format!("Cancel {uid}")).await;
    let run = world.until("a", |_| true).await;
    assert!(!run.phase().is_terminal(), "the kill is not acknowledged yet");
    world.fake.hold_cancel(false);
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Cancelled, "Cancelled"));
    assert_eq!(run.status.unwrap().message.as_deref(), Some("cancelled by user"));
}

#[tokio::test]
async fn a_deleted_run_is_killed_and_its_workspace_removed() {
    let world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.delete("a").await;
    world.fake.called(&format!("Cancel {uid}")).await;
    world.until_removed(&uid).await;
    // The slot is free again.
    let next = world.assigned("b", json!({})).await;
    assert_eq!(world.fake.executed(1).await.id, next);
}

#[tokio::test]
async fn a_run_that_is_taken_away_is_killed_and_gets_no_status_from_here() {
    let world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let taken = json!({"phase": "Failed", "reason": "PodGone", "message": "x"});
    world.patch_status("a", taken).await;
    world.fake.called(&format!("Cancel {uid}")).await;
    world.until_removed(&uid).await;
    let run = world.until("a", |_| true).await;
    assert_eq!(reason(&run), "PodGone");
}

#[tokio::test]
async fn no_more_execute_at_once_than_slots_and_the_rest_is_handed_back() {
    let world = World::start(1).await;
    let first = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.assigned("b", json!({})).await;
    // "b" waits 5 s for a slot, then goes back; its attempt does not count.
    let run =
        world.until("b", |run| run.phase() == Phase::Pending && !reason(run).is_empty()).await;
    assert_eq!(reason(&run), "NotStarted");
    let status = run.status.as_ref().unwrap();
    assert_eq!((status.attempt, &status.assigned_pod), (Some(1), &None));
    assert_eq!(world.fake.calls(), [format!("Execute {first}")]);
    world.assign(&run).await;
    world.fake.exit(&first, 0, "");
    let again = world.fake.executed(1).await;
    assert_eq!(Some(again.id.clone()), run.metadata.uid);
    world.fake.exit(&again.id, 0, "");
    let run = world.until_over("b").await;
    assert_eq!(run.status.unwrap().attempt, Some(1));
}

#[tokio::test]
async fn every_resource_is_admitted_up_to_the_capacity_of_the_pod() {
    let world = World::start(3).await;
    let gpus = |gpu: u32| json!({"resources": {"requests": {"gpu": gpu}}});
    let first = world.assigned("a", gpus(2)).await;
    world.fake.executed(0).await;
    world.assigned("b", gpus(1)).await;
    let plain = world.assigned("c", json!({})).await;
    assert_eq!(world.fake.executed(1).await.id, plain, "a slot is free, a gpu is not");
    let run =
        world.until("b", |run| run.phase() == Phase::Pending && !reason(run).is_empty()).await;
    assert_eq!(reason(&run), "NotStarted");
    world.assign(&run).await;
    world.fake.exit(&first, 0, "");
    let again = world.fake.executed(2).await;
    assert_eq!(Some(again.id), run.metadata.uid);
}

#[tokio::test]
async fn a_retry_waits_until_the_former_attempt_is_forgotten() {
    let world = World::start(1).await;
    let spec = json!({"source": {"inline": "x"}, "retryPolicy": {"maxAttempts": 2}});
    let uid = world.assigned("a", spec).await;
    let request = world.fake.executed(0).await;
    std::fs::write(format!("{}/left", request.working_dir), "").unwrap();
    world.fake.exit(&uid, 3, "exit status 3");
    let run = world.until("a", |run| run.phase() == Phase::Pending).await;
    assert_eq!(reason(&run), "RuntimeError");
    let status = run.status.as_ref().unwrap();
    assert!(status.next_attempt_time.is_some() && status.assigned_pod.is_none());
    assert_eq!((status.attempts[0].number, status.attempts[0].exit_code), (1, Some(3)));
    world.assign(&run).await;
    let request = world.fake.executed(1).await;
    let expected = [format!("Execute {uid}"), format!("Forget {uid}"), format!("Execute {uid}")];
    assert_eq!(world.fake.calls(), expected);
    let left: Vec<_> = std::fs::read_dir(&request.working_dir).unwrap().collect();
    assert_eq!(left.len(), 1, "a fresh workspace with its source: {left:?}");
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), run.status.unwrap().attempt), (Phase::Succeeded, Some(2)));
}

#[tokio::test]
async fn a_server_without_events_is_polled() {
    let world = World::start_with(2, false).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.exit(&uid, 3, "");
    let run = world.until_over("a").await;
    assert_eq!(run.phase(), Phase::Failed);
    let status = run.status.unwrap();
    assert_eq!((status.exit_code, status.message.as_deref()), (Some(3), Some("exit status 3")));
    assert!(status.timeline.unwrap().started.is_some());
}

#[tokio::test]
async fn a_refused_execute_is_failed_with_the_servers_words() {
    let world = World::start(2).await;
    world.fake.refuse(Some(tonic::Status::invalid_argument("not like this")));
    let uid = world.assigned("a", json!({})).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, "RuntimeExecute"));
    let message = run.status.unwrap().message.unwrap();
    assert!(message.contains("not like this"), "{message}");
    assert_eq!(world.fake.calls(), [format!("Execute {uid}"), format!("Cancel {uid}")]);
}

#[tokio::test]
async fn a_lying_server_changes_nothing_but_its_own_run() {
    let world = World::start(2).await;
    let exited =
        |exit_code| Event::Exited(ExecutionExited { exit_code, ..ExecutionExited::default() });
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.emit("nobody", exited(1));
    let piece = |stream, offset| ExecutionOutput { stream, offset, data: vec![b'x'; 10] };
    world.fake.emit(&uid, Event::Output(piece(9, 0)));
    world.fake.emit(&uid, Event::Output(piece(1, -5)));
    world.fake.emit(&uid, Event::Output(piece(1, i64::MAX)));
    let other = world.assigned("b", json!({})).await;
    world.fake.executed(1).await;
    world.fake.emit(&uid, exited(70_000));
    world.fake.emit(&uid, exited(0));
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), run.status.unwrap().exit_code), (Phase::Failed, None));
    world.fake.exit(&other, 0, "");
    assert_eq!(world.until_over("b").await.phase(), Phase::Succeeded);
}

#[tokio::test]
async fn a_pod_that_ends_kills_its_runs_and_says_so() {
    let mut world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.assigned("waits", json!({})).await;
    world.stop_runtimed().await;
    assert_eq!(world.fake.calls(), [format!("Execute {uid}"), format!("Cancel {uid}")]);
    let run = world.until("a", |_| true).await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, "PodTerminating"));
}

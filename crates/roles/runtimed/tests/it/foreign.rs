//! Runtime Servers of others, without events, that answer what they like: their own Run ends, others go on.

use crate::server::Garble;
use crate::world::World;
use kruntimes_api::{Phase, Run};
use kruntimes_proto::executor::v1::ExecutionState;
use serde_json::json;
use std::time::{Duration, Instant};
use tonic::Status;

/// Phase, reason and message.
fn end(run: &Run) -> (Phase, String, String) {
    let status = run.status.clone().unwrap();
    (run.phase(), status.reason.unwrap_or_default(), status.message.unwrap_or_default())
}

/// Answers that can't be read end the Run; the server gets the next one all the same.
async fn ends_as_unreadable(garble: Garble, said: &str) {
    let world = World::start_with(2, false).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.garble(Some(garble));
    world.fake.called(&format!("Cancel {uid}")).await;
    world.fake.garble(None);
    let run = world.until_over("a").await;
    let (phase, reason, message) = end(&run);
    assert_eq!((phase, reason.as_str()), (Phase::Failed, "RuntimeError"));
    assert!(message.contains("Status can't be read") && message.contains(said), "{message}");
    let other = world.assigned("b", json!({})).await;
    world.fake.called(&format!("Execute {other}")).await;
    world.fake.exit(&other, 0, "");
    assert_eq!(world.until_over("b").await.phase(), Phase::Succeeded);
}

#[tokio::test]
async fn output_that_is_no_text_ends_the_run() {
    let status = Status::internal("string field contains invalid UTF-8");
    ends_as_unreadable(Garble::Fails(status), "invalid UTF-8").await;
}

#[tokio::test]
async fn an_answer_of_100_mib_is_not_read() {
    ends_as_unreadable(Garble::Prints(100 << 20), "4194304").await;
}

#[tokio::test]
async fn a_server_that_hangs_holds_a_run_for_five_seconds_after_its_timeout() {
    let world = World::start_with(2, false).await;
    world.assigned("a", json!({"timeoutSeconds": 2})).await;
    world.fake.executed(0).await;
    world.fake.garble(Some(Garble::Hangs));
    world.fake.hold_cancel(true);
    let begin = Instant::now();
    let run = world.until_over("a").await;
    assert_eq!(end(&run).0, Phase::Timeout);
    assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
    world.fake.hold_cancel(false);
}

#[tokio::test]
async fn a_state_that_goes_back_changes_nothing() {
    let world = World::start_with(2, false).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.until("a", |run| run.phase() == Phase::Running).await;
    let started = |run: &Run| run.status.clone().unwrap().timeline.unwrap().started;
    let before = started(&world.until("a", |run| run.phase() == Phase::Running).await);
    for state in [ExecutionState::Pending, ExecutionState::Unspecified, ExecutionState::Running] {
        world.fake.set_state(&uid, state);
    }
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!(run.phase(), Phase::Succeeded);
    assert_eq!(started(&run), before);
}

#[tokio::test]
async fn an_execution_that_is_forgotten_is_lost() {
    let world = World::start_with(2, false).await;
    world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.lose_all();
    let run = world.until_over("a").await;
    assert_eq!(end(&run).1, "ExecutionLost");
}

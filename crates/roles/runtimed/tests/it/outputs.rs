//! What a Run gives out, on its way from the file into its status.

use crate::world::World;
use kruntimes_api::{Phase, Run, RunStatus};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

async fn started(
    world: &World,
    name: &str,
    spec: serde_json::Value,
    nth: usize,
) -> (String, PathBuf) {
    let uid = world.assigned(name, spec).await;
    let request = world.fake.executed(nth).await;
    (uid, request.env["KRUNTIME_OUTPUTS"].clone().into())
}

fn status(run: &Run) -> &RunStatus {
    run.status.as_ref().unwrap()
}

fn outputs(run: &Run) -> Vec<(&str, &str)> {
    status(run).outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test]
async fn outputs_stand_in_the_status_of_a_success_and_of_a_failure() {
    let world = World::start(1).await;
    for (nth, (code, phase)) in [(0, Phase::Succeeded), (3, Phase::Failed)].into_iter().enumerate()
    {
        let name = format!("r{nth}");
        let (uid, file) = started(&world, &name, json!({}), nth).await;
        std::fs::write(file, "a=1\ntext<<END\nx\ny\nEND\n").unwrap();
        world.fake.exit(&uid, code, "");
        let run = world.until_over(&name).await;
        assert_eq!(run.phase(), phase);
        assert_eq!(outputs(&run), [("a", "1"), ("text", "x\ny")]);
        world.until_removed(&uid).await;
    }
}

#[tokio::test]
async fn what_can_not_be_kept_fails_a_success_once_and_adds_to_a_failure() {
    let world = World::start(1).await;
    let spec = json!({"retryPolicy": {"maxAttempts": 3}});
    let (uid, file) = started(&world, "a", spec, 0).await;
    symlink("/proc/self/environ", file).unwrap();
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    let want = "$KRUNTIME_OUTPUTS is a symbolic link: it must be a regular file of the Run's own";
    assert_eq!(status(&run).reason.as_deref(), Some("OutputsInvalid"));
    assert_eq!(status(&run).message.as_deref(), Some(want));
    assert_eq!((status(&run).attempt, status(&run).exit_code), (Some(1), Some(0)));
    assert_eq!(outputs(&run), []);
    world.until_removed(&uid).await;

    let (uid, file) = started(&world, "b", json!({}), 1).await;
    std::fs::write(file, format!("a={}", "x".repeat(8193))).unwrap();
    world.fake.exit(&uid, 3, "exit status 3");
    let run = world.until_over("b").await;
    assert_eq!(status(&run).reason.as_deref(), Some("RuntimeError"));
    let want = "exit status 3; OutputsTooLarge: $KRUNTIME_OUTPUTS: the value of a has 8193 bytes: it may have 8192";
    assert_eq!(status(&run).message.as_deref(), Some(want));
}

#[tokio::test]
async fn a_next_attempt_has_outputs_of_its_own() {
    let world = World::start(1).await;
    let spec = json!({"retryPolicy": {"maxAttempts": 2, "backoff": "1ms"}});
    let (uid, file) = started(&world, "a", spec, 0).await;
    std::fs::write(file, "first=1").unwrap();
    world.fake.exit(&uid, 3, "");
    let back = world
        .until("a", |run| run.phase() == Phase::Pending && status(run).attempt == Some(1))
        .await;
    assert_eq!(outputs(&back), [("first", "1")]);
    world.until_removed(&uid).await;
    world.assign(&back).await;
    let file: PathBuf = world.fake.executed(1).await.env["KRUNTIME_OUTPUTS"].clone().into();
    assert!(!file.exists(), "a fresh workspace");
    std::fs::write(file, "second=2").unwrap();
    world.fake.exit(&uid, 0, "");
    assert_eq!(outputs(&world.until_over("a").await), [("second", "2")]);
}

#[tokio::test]
async fn what_was_cancelled_keeps_what_it_gave_out() {
    let world = World::start(1).await;
    let (_, file) = started(&world, "a", json!({}), 0).await;
    std::fs::write(file, "a=1").unwrap();
    world.patch("a", json!({"spec": {"cancelRequested": true}})).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), outputs(&run)), (Phase::Cancelled, vec![("a", "1")]));
}

#[tokio::test]
async fn a_restarted_runtimed_finds_the_outputs() {
    let mut world = World::start(1).await;
    let (uid, file) = started(&world, "a", json!({}), 0).await;
    std::fs::write(file, "a=1").unwrap();
    world.kill_runtimed().await;
    world.fake.exit(&uid, 0, "");
    world.start_runtimed();
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), outputs(&run)), (Phase::Succeeded, vec![("a", "1")]));
}

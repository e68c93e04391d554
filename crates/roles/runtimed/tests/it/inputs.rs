//! Artifacts of earlier Runs, put into the workspace of another before it executes.

use crate::world::World;
use kruntimes_api::labels::ARTIFACT_FINALIZER;
use kruntimes_api::{Phase, Run};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A Run that has left a file and a directory; the answer is where the store has them.
async fn earlier(world: &World) -> PathBuf {
    let uid = world.assigned("build", json!({})).await;
    let left = PathBuf::from(&world.fake.executed(0).await.env["KRUNTIME_ARTIFACTS_DIR"]);
    fs::write(left.join("f"), "hello").unwrap();
    fs::create_dir(left.join("site")).unwrap();
    fs::write(left.join("site/index.html"), "hi").unwrap();
    world.fake.exit(&uid, 0, "");
    world.until("build", |run| run.status.as_ref().unwrap().artifact_store.is_some()).await;
    world.patch("build", json!({"metadata": {"finalizers": [ARTIFACT_FINALIZER]}})).await;
    assert_eq!(world.until_over("build").await.phase(), Phase::Succeeded);
    world.directory.join(format!("store/namespaces/default/runs/{uid}"))
}

fn end(run: &Run) -> (String, String) {
    let status = run.status.as_ref().unwrap();
    (status.reason.clone().unwrap(), status.message.clone().unwrap())
}

/// How a Run with these inputs ends that must not execute.
async fn refused(world: &World, name: &str, spec: Value) -> (String, String) {
    world.assigned(name, spec).await;
    let run = world.until_over(name).await;
    assert_eq!(run.phase(), Phase::Failed);
    end(&run)
}

#[tokio::test]
async fn inputs_are_there_before_the_run_executes_and_gone_after_it() {
    let world = World::start(1).await;
    earlier(&world).await;
    let build = world.until_over("build").await;
    let reference = serde_json::to_value(&build.status.unwrap().artifact_refs[0]).unwrap();
    let uid = world
        .assigned(
            "test",
            json!({"source": {"inline": "true"}, "inputs": [
                {"name": "f", "fromRun": "build"},
                {"name": "site", "fromRun": "build", "path": "in/site"},
                {"name": "f", "ref": reference, "path": "in/again"},
            ]}),
        )
        .await;
    let request = world.fake.executed(1).await;
    let working = PathBuf::from(&request.working_dir);
    for (path, content) in
        [("f", "hello"), ("in/site/index.html", "hi"), ("in/again", "hello"), ("script", "true")]
    {
        assert_eq!(fs::read_to_string(working.join(path)).unwrap(), content, "{path}");
    }
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("test").await.phase(), Phase::Succeeded);
    world.until_removed(&uid).await;
    // The next one has a workspace of its own, with nothing of it.
    let uid = world.assigned("next", json!({})).await;
    let working = world.fake.executed(2).await.working_dir;
    assert_eq!(fs::read_dir(working).unwrap().count(), 0);
    world.fake.exit(&uid, 0, "");
    world.until_over("next").await;
}

#[tokio::test]
async fn what_can_not_be_had_or_put_ends_the_run_before_it_executes() {
    let world = World::start(2).await;
    let kept = earlier(&world).await;
    let one = |name: &str, run: &str| json!({"inputs": [{"name": name, "fromRun": run}]});
    let running = world.assigned("running", json!({})).await;
    world.until("running", |run| run.phase() == Phase::Running).await;
    for (name, spec, reason, part) in [
        ("a", one("f", "nobody"), "InputUnavailable", "there is no Run \"nobody\""),
        ("b", one("f", "running"), "InputUnavailable", "the Run \"running\" is Running"),
        (
            "c",
            one("g", "build"),
            "InputUnavailable",
            "has no artifact \"g\": it has \"f\", \"site\"",
        ),
        (
            "d",
            json!({"source": {"inline": "true"}, "inputs": [{"name": "f", "fromRun": "build", "path": "script"}]}),
            "InputInvalid",
            "spec.inputs[0] (\"f\"): \"script\" is there already",
        ),
        (
            "e",
            json!({"inputs": [{"name": "f", "fromRun": "build"}], "resources": {"limits": {"disk": "4"}}}),
            "DiskLimit",
            "all inputs have more than",
        ),
    ] {
        let (got, message) = refused(&world, name, spec).await;
        assert_eq!(got, reason, "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
    }
    fs::write(kept.join("f"), "hellO").unwrap();
    let (reason, message) = refused(&world, "flipped", one("f", "build")).await;
    assert_eq!(reason, "InputUnavailable");
    assert!(
        message.contains("the store does not have what was kept: its digest differs"),
        "{message}"
    );
    fs::remove_file(kept.join("f")).unwrap();
    let (reason, message) = refused(&world, "lost", one("f", "build")).await;
    assert_eq!(reason, "InputUnavailable");
    assert!(message.contains("can't be read from its store"), "{message}");
    let executed = world.fake.calls().iter().filter(|call| call.starts_with("Execute")).count();
    assert_eq!(executed, 2, "nothing of these was executed: {:?}", world.fake.calls());
    world.fake.exit(&running, 0, "");
}

#[tokio::test]
async fn an_input_that_comes_later_is_had_by_a_retry() {
    let world = World::start(1).await;
    let retried = json!({"inputs": [{"name": "f", "fromRun": "build"}],
        "retryPolicy": {"maxAttempts": 2, "backoff": "1ms"}});
    world.assigned("test", retried).await;
    let back = world.until("test", |run| {
        run.phase() == Phase::Pending && run.status.as_ref().unwrap().attempt == Some(1)
    });
    let back = back.await;
    assert_eq!(end(&back).0, "InputUnavailable");
    earlier(&world).await;
    world.assign(&back).await;
    let working = PathBuf::from(world.fake.executed(1).await.working_dir);
    assert_eq!(fs::read_to_string(working.join("f")).unwrap(), "hello");
}

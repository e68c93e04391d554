//! Logs of attempts that ended, in the store: every attempt's, whatever becomes of its pod, until the Run is deleted.

use crate::world::{PATIENCE, World};
use kruntimes_api::Phase;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{ExecutionEvent, WatchRequest};
use kruntimes_proto::{ARCHIVE_METADATA, TOKEN_METADATA};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

async fn read_as(
    world: &World,
    token: &str,
    run: &str,
    uid: &str,
    attempt: i32,
) -> Result<Vec<ExecutionEvent>, Status> {
    let endpoint = format!("http://{}:9093", world.address);
    let channel = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut request = Request::new(WatchRequest { resume_after: 0 });
    let metadata = request.metadata_mut();
    metadata.insert(TOKEN_METADATA, token.parse().unwrap());
    metadata.insert(ARCHIVE_METADATA, run.parse().unwrap());
    metadata.insert("kruntimes-run", uid.parse().unwrap());
    metadata.insert("kruntimes-attempt", attempt.into());
    let mut events = RuntimeEventsClient::new(channel).watch(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(event) = events.message().await? {
        all.push(event);
    }
    Ok(all)
}

/// What an attempt has written, from the archive.
async fn read(world: &World, run: &str, uid: &str, attempt: i32) -> Result<Vec<u8>, Status> {
    let token = fs::read_to_string(world.directory.join("control/token")).unwrap();
    let events = read_as(world, &token, run, uid, attempt).await?;
    assert!(matches!(events.last().unwrap().event, Some(Event::Exited(_))), "{events:?}");
    let output = |event: ExecutionEvent| match event.event {
        Some(Event::Output(output)) => output.data,
        _ => Vec::new(),
    };
    Ok(events.into_iter().flat_map(output).collect())
}

fn kept(world: &World, uid: &str) -> PathBuf {
    world.directory.join("store/logs/namespaces/default/runs").join(uid)
}

/// Nothing tells of a file: it is looked for.
async fn until(is: impl Fn() -> bool) {
    let looking = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
}

async fn until_there(path: &Path) {
    until(|| path.exists()).await;
}

#[tokio::test]
async fn the_output_of_every_attempt_is_kept_until_its_run_is_deleted() {
    let world = World::start(1).await;
    let retried = json!({"retryPolicy": {"maxAttempts": 2, "backoff": "1ms"}});
    let uid = world.assigned("a", retried).await;
    world.fake.executed(0).await;
    world.fake.output(&uid, 1, 0, b"first \xff\n");
    world.fake.exit(&uid, 1, "");
    let back = world.until("a", |run| run.phase() == Phase::Pending).await;
    world.until_removed(&uid).await;
    world.assign(&back).await;
    world.fake.executed(1).await;
    world.fake.output(&uid, 2, 0, b"second\n");
    world.fake.exit(&uid, 0, "");
    world.until_over("a").await;
    let own = kept(&world, &uid);
    until_there(&own.join("1")).await;
    until_there(&own.join("2")).await;
    assert_eq!(read(&world, "default/a", &uid, 1).await.unwrap(), b"first \xff\n");
    assert_eq!(read(&world, "default/a", &uid, 2).await.unwrap(), b"second\n");
    for (run, of, attempt, code) in [
        ("default/a", uid.as_str(), 3, Code::NotFound),
        ("default/b", uid.as_str(), 1, Code::NotFound),
        ("default/a", "another", 1, Code::NotFound),
        ("other/a", uid.as_str(), 1, Code::PermissionDenied),
        ("a", uid.as_str(), 1, Code::InvalidArgument),
    ] {
        let refused = read(&world, run, of, attempt).await.unwrap_err();
        assert_eq!(refused.code(), code, "{run} {of} {attempt}: {refused}");
    }
    let refused = read_as(&world, "x", "default/a", &uid, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    world.created("other", json!({"runtime": "python"})).await.unwrap();
    let waiting = world.directory.join("state/archive");
    until(|| fs::read_dir(&waiting).unwrap().count() == 0).await;
    world.delete("a").await;
    until(|| !own.exists()).await;
}

#[tokio::test]
async fn a_run_without_output_keeps_nothing() {
    let world = World::start(1).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.exit(&uid, 0, "");
    world.until_over("a").await;
    let uid = world.assigned("b", json!({})).await;
    world.fake.executed(1).await;
    world.fake.output(&uid, 1, 0, b"x");
    world.fake.exit(&uid, 0, "");
    until_there(&kept(&world, &uid).join("1")).await;
    let all = fs::read_dir(kept(&world, &uid).parent().unwrap()).unwrap().count();
    assert_eq!(all, 1);
}

#[tokio::test]
async fn a_store_that_is_down_changes_no_end_and_has_the_log_when_it_is_back() {
    let mut world = World::start(1).await;
    let store = world.directory.join("store");
    fs::write(&store, "a file where the store should be").unwrap();
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.output(&uid, 1, 0, b"kept");
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
    let waiting = world.directory.join("state/archive").join(format!("{uid}.1"));
    until_there(&waiting).await;
    // Another life finds what waits.
    world.kill_runtimed().await;
    fs::remove_file(&store).unwrap();
    world.start_runtimed();
    until_there(&kept(&world, &uid).join("1")).await;
    until(|| !waiting.exists()).await;
}

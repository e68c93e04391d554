//! What a Run leaves in its directory for artifacts, on its way into the store and out of it.

use crate::world::World;
use kruntimes_api::labels::ARTIFACT_FINALIZER;
use kruntimes_api::{ArtifactRef, Phase, Run, RunStatus};
use kruntimes_proto::TOKEN_METADATA;
use kruntimes_proto::artifact::v1::artifact_service_client::ArtifactServiceClient;
use kruntimes_proto::artifact::v1::{ArtifactMetadata, DownloadRequest};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

const RETRIED: &str = r#"{"retryPolicy": {"maxAttempts": 2, "backoff": "1ms"}}"#;

async fn started(world: &World, name: &str, nth: usize) -> (String, PathBuf) {
    let uid = world.assigned(name, serde_json::from_str(RETRIED).unwrap()).await;
    (uid, directory(world, nth).await)
}

async fn directory(world: &World, nth: usize) -> PathBuf {
    world.fake.executed(nth).await.env["KRUNTIME_ARTIFACTS_DIR"].clone().into()
}

fn status(run: &Run) -> &RunStatus {
    run.status.as_ref().unwrap()
}

/// As the controller does, once the status names the store.
async fn guard(world: &World, name: &str) -> Run {
    let run = world.until(name, |run| status(run).artifact_store.is_some()).await;
    assert_eq!(run.phase(), Phase::Running);
    world.patch(name, json!({"metadata": {"finalizers": [ARTIFACT_FINALIZER]}})).await;
    run
}

fn kept(world: &World, uid: &str) -> Vec<String> {
    let own = world.directory.join("store/namespaces/default/runs").join(uid);
    let entries = fs::read_dir(own).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn download(
    world: &World,
    request: [&str; 3],
) -> Result<(ArtifactMetadata, Vec<u8>), Status> {
    let token = fs::read_to_string(world.directory.join("control/token")).unwrap();
    download_with(world, request, &token).await
}

async fn download_with(
    world: &World,
    [namespace, run_name, artifact_name]: [&str; 3],
    token: &str,
) -> Result<(ArtifactMetadata, Vec<u8>), Status> {
    let endpoint = format!("http://{}:9093", world.address);
    let channel = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut client = ArtifactServiceClient::new(channel);
    let [namespace, run_name, artifact_name] =
        [namespace, run_name, artifact_name].map(str::to_owned);
    let mut request = Request::new(DownloadRequest { namespace, run_name, artifact_name });
    request.metadata_mut().insert(TOKEN_METADATA, token.parse().unwrap());
    let mut frames = client.download(request).await?.into_inner();
    let first = frames.message().await?.unwrap();
    assert!(first.data.is_empty());
    let mut content = Vec::new();
    while let Some(frame) = frames.message().await? {
        assert!(frame.metadata.is_none() && (1..=65_536).contains(&frame.data.len()));
        content.extend(frame.data);
    }
    Ok((first.metadata.unwrap(), content))
}

#[tokio::test]
async fn artifacts_of_a_success_are_kept_referred_to_and_given_out() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    assert_eq!(fs::read_dir(&left).unwrap().count(), 0);
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    fs::write(left.join("big.bin"), &content).unwrap();
    fs::write(left.join("empty"), "").unwrap();
    fs::create_dir(left.join("site")).unwrap();
    fs::write(left.join("site/index.html"), "x").unwrap();
    world.fake.exit(&uid, 0, "");
    guard(&world, "a").await;
    let run = world.until_over("a").await;
    assert_eq!(run.phase(), Phase::Succeeded);
    let refs = &status(&run).artifact_refs;
    let shown = |one: &ArtifactRef| (one.name.clone(), one.kind.as_str(), one.size_bytes);
    assert_eq!(shown(&refs[0]), ("big.bin".to_owned(), "file", 200_000));
    assert_eq!(shown(&refs[1]), ("empty".to_owned(), "file", 0));
    assert_eq!((refs[2].name.as_str(), refs[2].kind.as_str()), ("site", "directory"));
    let place = refs[0].location.filesystem.clone().unwrap();
    assert_eq!(place.path, format!("namespaces/default/runs/{uid}/big.bin"));
    assert_eq!(place.volume_claim_name.as_deref(), Some("claim"));
    assert_eq!(kept(&world, &uid), ["big.bin", "empty", "site"]);
    world.until_removed(&uid).await;

    let (metadata, got) = download(&world, ["default", "a", "big.bin"]).await.unwrap();
    assert_eq!((got, metadata.size_bytes), (content, 200_000));
    assert_eq!(Some(metadata.digest), refs[0].digest);
    assert_eq!((metadata.r#type.as_str(), metadata.name.as_str()), ("file", "big.bin"));
    let (_, got) = download(&world, ["default", "a", "empty"]).await.unwrap();
    assert!(got.is_empty());
    for (request, code) in [
        (["default", "a", ""], Code::InvalidArgument),
        (["", "a", "empty"], Code::InvalidArgument),
        (["other", "a", "empty"], Code::PermissionDenied),
        (["default", "b", "empty"], Code::NotFound),
        (["default", "a", "nothing"], Code::NotFound),
        (["default", "a", "../a"], Code::NotFound),
    ] {
        assert_eq!(download(&world, request).await.unwrap_err().code(), code, "{request:?}");
    }
    let no_token = download_with(&world, ["default", "a", "empty"], "x").await.unwrap_err();
    assert_eq!(no_token.code(), Code::Unauthenticated);
    world.created("b", json!({"runtime": "python"})).await.unwrap();
    let other = download(&world, ["default", "b", "empty"]).await.unwrap_err();
    assert_eq!(other.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_flipped_byte_is_refused_wherever_it_is() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    let content: Vec<u8> = (0..150_000_u32).map(|at| (at % 241) as u8).collect();
    fs::write(left.join("f"), &content).unwrap();
    world.fake.exit(&uid, 0, "");
    guard(&world, "a").await;
    world.until_over("a").await;
    let file = world.directory.join(format!("store/namespaces/default/runs/{uid}/f"));
    for number in 0..100 {
        let at = number * content.len() / 100 + number % 2 * (content.len() / 100 - 1);
        let mut flipped = content.clone();
        flipped[at] ^= 1 << (number % 8);
        fs::write(&file, flipped).unwrap();
        let error = download(&world, ["default", "a", "f"]).await.unwrap_err();
        assert_eq!(error.code(), Code::DataLoss, "{at}: {error}");
    }
    for length in [0, content.len() - 1, content.len() + 1] {
        let mut other = content.clone();
        other.resize(length, 0);
        fs::write(&file, other).unwrap();
        let error = download(&world, ["default", "a", "f"]).await.unwrap_err();
        assert_eq!(error.code(), Code::DataLoss, "{length}: {error}");
    }
    fs::write(&file, &content).unwrap();
    assert!(download(&world, ["default", "a", "f"]).await.is_ok());
    fs::remove_file(&file).unwrap();
    let error = download(&world, ["default", "a", "f"]).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
}

#[tokio::test]
async fn readers_at_once_have_a_limit_and_who_leaves_makes_room() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    fs::write(left.join("f"), vec![7; 8 << 20]).unwrap();
    world.fake.exit(&uid, 0, "");
    guard(&world, "a").await;
    world.until_over("a").await;
    let endpoint = Endpoint::from_shared(format!("http://{}:9093", world.address)).unwrap();
    let token = fs::read_to_string(world.directory.join("control/token")).unwrap();
    let mut readers = Vec::new();
    let read = async || {
        // A connection each: those of one share its window.
        let mut client = ArtifactServiceClient::new(endpoint.connect().await.unwrap());
        let [namespace, run_name, artifact_name] = ["default", "a", "f"].map(str::to_owned);
        let mut request = Request::new(DownloadRequest { namespace, run_name, artifact_name });
        request.metadata_mut().insert(TOKEN_METADATA, token.parse().unwrap());
        client.download(request).await.map(tonic::Response::into_inner)
    };
    for _ in 0..16 {
        readers.push(read().await.unwrap());
    }
    assert_eq!(read().await.unwrap_err().code(), Code::ResourceExhausted);
    readers.pop();
    // The pod sees that a reader has left when it offers the next frame.
    let found = async {
        while read().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, found).await.unwrap();
}

#[tokio::test]
async fn a_run_that_leaves_nothing_or_fails_keeps_nothing_and_names_no_store() {
    let world = World::start(1).await;
    for (nth, (name, code, removes)) in
        [("empty", 0, false), ("removed", 0, true), ("failed", 3, false)].into_iter().enumerate()
    {
        let uid = world.assigned(name, json!({})).await;
        let left = directory(&world, nth).await;
        if removes {
            fs::remove_dir(&left).unwrap();
        }
        if code != 0 {
            fs::write(left.join("f"), "1").unwrap();
        }
        world.fake.exit(&uid, code, "");
        let run = world.until_over(name).await;
        assert_eq!(status(&run).artifact_store, None);
        assert_eq!(kept(&world, &uid), [] as [&str; 0]);
        world.until_removed(&uid).await;
    }
}

#[tokio::test]
async fn nothing_is_kept_before_the_finalizer_is_seen() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    fs::write(left.join("f"), "1").unwrap();
    world.fake.exit(&uid, 0, "");
    world.until("a", |run| status(run).artifact_store.is_some()).await;
    // Whatever else is written about the Run is none.
    world.patch("a", json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["x/y"]}})).await;
    world.patch("a", json!({"spec": {"cancelRequested": true}})).await;
    let run = world.until_over("a").await;
    assert_eq!(run.phase(), Phase::Cancelled);
    assert_eq!(status(&run).artifact_refs, []);
    assert!(!world.directory.join("store").exists());
}

#[tokio::test]
async fn a_few_are_kept_at_once_and_a_cancel_ends_that_and_leaves_nothing() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    // Keeping this takes a while: it can't be packed as fast as it is made.
    fs::create_dir(left.join("a")).unwrap();
    fs::File::create(left.join("a/sparse")).unwrap().set_len(1 << 30).unwrap();
    fs::write(left.join("b"), "1").unwrap();
    world.fake.exit(&uid, 0, "");
    guard(&world, "a").await;
    let own = world.directory.join(format!("store/namespaces/default/runs/{uid}"));
    let second_is_kept = async {
        while !own.join("b").exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, second_is_kept).await.unwrap();
    assert!(!own.join("a").exists());
    world.patch("a", json!({"spec": {"cancelRequested": true}})).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), &status(&run).artifact_refs), (Phase::Cancelled, &Vec::new()));
    assert_eq!(kept(&world, &uid), [] as [&str; 0]);
    world.until_removed(&uid).await;
}

#[tokio::test]
async fn what_can_not_be_an_artifact_fails_the_run_and_names_no_store() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    fs::write(left.join("f"), "1").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", left.join("link")).unwrap();
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    let want =
        "$KRUNTIME_ARTIFACTS_DIR: \"link\" is a symbolic link: only files and directories are kept";
    assert_eq!(status(&run).reason.as_deref(), Some("ArtifactInvalid"));
    assert_eq!(status(&run).message.as_deref(), Some(want));
    assert_eq!((status(&run).attempt, &status(&run).artifact_store), (Some(1), &None));
    let (uid, left) = started(&world, "b", 1).await;
    fs::remove_dir(&left).unwrap();
    std::os::unix::fs::symlink("/etc", &left).unwrap();
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("b").await;
    let want = "$KRUNTIME_ARTIFACTS_DIR: it is no directory any more";
    assert_eq!(status(&run).message.as_deref(), Some(want));
}

#[tokio::test]
async fn a_store_that_fails_fails_the_attempt_and_the_next_one_may_succeed() {
    let world = World::start(1).await;
    fs::write(world.directory.join("store"), "a file where the store should be").unwrap();
    let (uid, left) = started(&world, "a", 0).await;
    fs::write(left.join("f"), "1").unwrap();
    world.fake.exit(&uid, 0, "");
    guard(&world, "a").await;
    let back = world
        .until("a", |run| run.phase() == Phase::Pending && status(run).attempt == Some(1))
        .await;
    assert_eq!(status(&back).reason.as_deref(), Some("ArtifactStoreFailed"));
    let message = status(&back).message.clone().unwrap();
    assert!(message.starts_with("the artifact store can't be"), "{message}");
    fs::remove_file(world.directory.join("store")).unwrap();
    world.until_removed(&uid).await;
    world.assign(&back).await;
    let left = directory(&world, 1).await;
    fs::write(left.join("g"), "2").unwrap();
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), kept(&world, &uid)), (Phase::Succeeded, vec!["g".to_owned()]));
}

#[tokio::test]
async fn a_restarted_runtimed_keeps_them_all_and_nothing_twice() {
    let mut world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    fs::write(left.join("f"), "1").unwrap();
    world.fake.exit(&uid, 0, "");
    world.until("a", |run| status(run).artifact_store.is_some()).await;
    world.kill_runtimed().await;
    // What the earlier life had begun.
    let own = world.directory.join("store/namespaces/default/runs").join(&uid);
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join(".artifact-1-1"), "half").unwrap();
    fs::write(own.join("old"), "of another attempt").unwrap();
    world.start_runtimed();
    world.patch("a", json!({"metadata": {"finalizers": [ARTIFACT_FINALIZER]}})).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), kept(&world, &uid)), (Phase::Succeeded, vec!["f".to_owned()]));
    assert_eq!(status(&run).artifact_refs.len(), 1);
}

#[tokio::test]
async fn a_run_that_is_deleted_meanwhile_is_let_go() {
    let world = World::start(1).await;
    let (uid, left) = started(&world, "a", 0).await;
    fs::write(left.join("f"), "1").unwrap();
    world.fake.exit(&uid, 0, "");
    world.until("a", |run| status(run).artifact_store.is_some()).await;
    world.delete("a").await;
    world.until_removed(&uid).await;
    assert!(!world.directory.join("store").exists());
}

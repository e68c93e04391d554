//! What the maintainer gives out where no pod of the Runtime does.

use crate::release::{PATIENCE, World};
use k8s_openapi::api::core::v1::Secret;
use kruntimes_api::names;
use kruntimes_artifacts::StoreConfig;
use kruntimes_maintainer::{Config, StoreArgs};
use kruntimes_proto::artifact::v1::DownloadRequest;
use kruntimes_proto::artifact::v1::artifact_service_client::ArtifactServiceClient;
use kruntimes_proto::executor::v1::WatchRequest;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::{ARCHIVE_METADATA, TOKEN_METADATA};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Of `1`, which every artifact of these tests is (`printf 1 | sha256sum`).
const DIGEST: &str = "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";

/// A Run that has kept the artifact `f`, and refers to it.
async fn referring(world: &World, name: &str) -> (String, PathBuf) {
    let (run, own) = world.kept(name, "pvc1").await;
    let refs = json!([{"name": "f", "driver": "filesystem", "type": "file", "sizeBytes": 1,
        "digest": DIGEST, "createdAt": "2026-01-01T00:00:00Z",
        "location": {"filesystem": {"path": "p", "volumeClaimName": "pvc1"}}}]);
    let patch = Patch::Merge(json!({"status": {"artifactRefs": refs}}));
    world.runs().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    (run.metadata.uid.unwrap(), own)
}

async fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let connecting = async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

async fn download(
    channel: &Channel,
    token: &str,
    namespace: &str,
    name: &str,
) -> Result<Vec<u8>, Status> {
    let mut request = Request::new(DownloadRequest {
        namespace: namespace.to_owned(),
        run_name: name.to_owned(),
        artifact_name: "f".to_owned(),
    });
    request.metadata_mut().insert(TOKEN_METADATA, token.parse().unwrap());
    let answer = ArtifactServiceClient::new(channel.clone()).download(request).await?;
    let (mut frames, mut content) = (answer.into_inner(), Vec::new());
    while let Some(frame) = frames.message().await? {
        content.extend(frame.data);
    }
    Ok(content)
}

async fn logged(channel: &Channel, token: &str, run: &str, uid: &str) -> Result<usize, Status> {
    let mut request = Request::new(WatchRequest { resume_after: 0 });
    request.metadata_mut().insert(TOKEN_METADATA, token.parse().unwrap());
    request.metadata_mut().insert(ARCHIVE_METADATA, run.parse().unwrap());
    request.metadata_mut().insert("kruntimes-run", uid.parse().unwrap());
    request.metadata_mut().insert("kruntimes-attempt", 1.into());
    let mut events = RuntimeEventsClient::new(channel.clone()).watch(request).await?.into_inner();
    let mut count = 0;
    while events.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[tokio::test]
async fn a_home_gives_out_what_any_run_has_left_to_who_has_the_token() {
    let world = World::start();
    let (uid, own) = referring(&world, "a").await;
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), names::LOCAL_DOOR_NAMESPACE);
    let there =
        await_condition(secrets, names::LOCAL_DOOR, |secret: Option<&Secret>| secret.is_some());
    let secret = tokio::time::timeout(PATIENCE, there).await.unwrap().unwrap().unwrap();
    let data = secret.data.unwrap();
    let text = |name: &str| String::from_utf8(data[name].0.clone()).unwrap();
    let (channel, token) = (channel(&text("address")).await, text("token"));
    assert_eq!(download(&channel, &token, "default", "a").await.unwrap(), b"1");
    let refused = async |token: &str, namespace: &str, name: &str| {
        download(&channel, token, namespace, name).await.unwrap_err().code()
    };
    assert_eq!(refused("x", "default", "a").await, Code::Unauthenticated);
    assert_eq!(refused(&token, "other", "a").await, Code::NotFound);
    assert_eq!(refused(&token, "default", "b").await, Code::NotFound);
    fs::write(own.join("f"), "2").unwrap();
    assert_eq!(refused(&token, "default", "a").await, Code::DataLoss);
    let logs = own.ancestors().nth(4).unwrap().join("logs/namespaces/default/runs").join(&uid);
    assert_eq!(
        logged(&channel, &token, "default/a", &uid).await.unwrap_err().code(),
        Code::NotFound
    );
    fs::create_dir_all(&logs).unwrap();
    // One frame of stdout: kind, offset, time, length, byte.
    let frame = [&[1][..], &[0; 16], &[1, 0, 0, 0], b"x"].concat();
    fs::write(logs.join("1"), frame.repeat(3)).unwrap();
    assert_eq!(logged(&channel, &token, "default/a", &uid).await.unwrap(), 3);
    let refused = logged(&channel, "x", "default/a", &uid).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn on_a_cluster_it_gives_out_its_own_store_alone() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::of(|home| {
        let root = names::local_volume(home, "default", "pvc1");
        Config::Store(Box::new(StoreArgs {
            run_namespace: "default".to_owned(),
            store: StoreConfig::volume(root, "pvc1"),
            status_addr: SocketAddr::from(([127, 0, 0, 1], free.port())),
            mounted: PathBuf::new(),
        }))
    });
    referring(&world, "a").await;
    world.kept("other", "pvc2").await;
    let channel = channel(&free.to_string()).await;
    assert_eq!(download(&channel, "none", "default", "a").await.unwrap(), b"1");
    let refused = download(&channel, "none", "other", "a").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = download(&channel, "none", "default", "other").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

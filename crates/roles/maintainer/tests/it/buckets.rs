//! What a bucket that others share has of Runs that there are no more.

#[path = "../../../../io/artifacts/src/bucket/fake.rs"]
#[expect(dead_code, reason = "it can do more than is needed here")]
mod fake;

use crate::release::World;
use fake::Fake;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kruntimes_api::{Run, Runtime};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const GONE: &str = "11111111-1111-4111-8111-111111111111";

/// What the server runs on; it waits for nobody when it is dropped.
struct Executor(Option<tokio::runtime::Runtime>);

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(executor) = self.0.take() {
            executor.shutdown_background();
        }
    }
}

/// A server with an executor of its own, whose time is real.
fn server() -> (Executor, Fake) {
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (sender, started) = std::sync::mpsc::channel();
    executor.spawn(async move { sender.send(Fake::start().await).unwrap() });
    let fake = started.recv_timeout(Duration::from_secs(60)).unwrap();
    (Executor(Some(executor)), fake)
}

/// A Runtime whose store is that bucket, with its Secret.
async fn runtime(client: &Client, fake: &Fake) {
    let secret = json!({"metadata": {"name": "keys"},
        "stringData": {"AWS_ACCESS_KEY_ID": fake::KEY_ID, "AWS_SECRET_ACCESS_KEY": "s"}});
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let secret = serde_json::from_value(secret).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let runtime = json!({"metadata": {"name": "bash"}, "spec": {
        "template": {"spec": {"containers": [{"name": "runtime", "image": "i"}]}},
        "artifactStore": {"driver": "s3", "s3": {
            "bucket": fake::BUCKET, "prefix": "p", "endpoint": format!("http://{}", fake.address),
            "forcePathStyle": true, "credentialsSecretName": "keys"}}}});
    let runtimes: Api<Runtime> = Api::default_namespaced(client.clone());
    let runtime = serde_json::from_value(runtime).unwrap();
    runtimes.create(&PostParams::default(), &runtime).await.unwrap();
}

/// An object as runtimed makes it.
fn put(fake: &Fake, key: &str, cluster: Option<&str>, run_uid: &str) {
    let mut headers = BTreeMap::new();
    headers.insert("x-amz-meta-kruntimes-run-uid".to_owned(), run_uid.to_owned());
    let name = || "x-amz-meta-kruntimes-cluster".to_owned();
    headers.extend(cluster.map(|cluster| (name(), cluster.to_owned())));
    fake.look(|state| state.objects.insert(key.to_owned(), (b"1".to_vec(), headers)));
}

/// Time goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn what_this_home_has_left_in_a_shared_bucket_goes_and_nothing_else() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (_executor, fake) = server();
    let world = World::start();
    let client = world.client.clone();
    runtime(&client, &fake).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let cluster = namespaces.get("kube-system").await.unwrap().uid().unwrap();
    let run = json!({"metadata": {"name": "kept"}, "spec": {"runtime": "bash"}});
    let run: Run = serde_json::from_value(run).unwrap();
    let kept = world.runs().create(&PostParams::default(), &run).await.unwrap().uid().unwrap();
    let runs = "p/namespaces/default/runs";
    let ours = Some(cluster.as_str());
    let goes = [format!("{runs}/{GONE}/f"), format!("p/logs/namespaces/default/runs/{GONE}/1")];
    let stays = [
        (format!("{runs}/{kept}/f"), ours, kept.as_str()),
        (format!("p/logs/namespaces/default/runs/{kept}/1"), ours, kept.as_str()),
        (format!("{runs}/{GONE}/of-another-home"), Some("another"), GONE),
        (format!("{runs}/{GONE}/of-nobody"), None, GONE),
        (format!("{runs}/mine/f"), ours, "mine"),
        (format!("p/namespaces/other/runs/{GONE}/f"), ours, GONE),
        (format!("namespaces/default/runs/{GONE}/f"), ours, GONE),
        ("report.pdf".to_owned(), ours, GONE),
    ];
    for key in &goes {
        put(&fake, key, ours, GONE);
    }
    for (key, cluster, run_uid) in &stays {
        put(&fake, key, *cluster, run_uid);
    }
    let begun = fake::Begun {
        key: format!("{runs}/{GONE}/large"),
        initiated: "2020-01-01T00:00:00.000Z".to_owned(),
        ..fake::Begun::default()
    };
    fake.look(|state| state.uploads.insert("cut-off".to_owned(), begun));
    let has = || fake.look(|state| state.objects.keys().cloned().collect::<BTreeSet<_>>());
    let began = tokio::time::Instant::now();
    while goes.iter().any(|key| has().contains(key)) {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(began.elapsed() < Duration::from_secs(3600), "{:?}", has());
    }
    // Not at the first look: its Run might not be known yet.
    assert!(began.elapsed() > Duration::from_secs(300), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(fake.look(|state| state.uploads.is_empty()));
    assert_eq!(has(), stays.iter().map(|(key, ..)| key.clone()).collect());
    // With its Run what it has becomes what nobody refers to.
    world.runs().delete("kept", &Default::default()).await.unwrap();
    while has().iter().any(|key| key.contains(&kept)) {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(began.elapsed() < Duration::from_secs(3 * 3600), "{:?}", has());
    }
}

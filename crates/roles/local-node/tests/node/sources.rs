//! Secrets and ConfigMaps become files for runtimed, and follow their objects.

use crate::home::{Home, is_ready, phase};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// As the controller makes it: two containers, the second with a Secret and a ConfigMap.
fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "annotations": {"kruntimes.io/local-command": r#"["bash", "-c", "env; exec cat"]"#}},
        "spec": {
            "volumes": [
                {"name": "s", "secret": {"secretName": "db", "optional": true}},
                {"name": "c", "configMap": {"name": "db", "optional": true}},
            ],
            "containers": [
                {"name": "runtime", "image": "any"},
                {"name": "runtimed", "image": "kruntimes-runtimed:latest", "volumeMounts": [
                    {"name": "s", "mountPath": "/etc/kruntimes/secrets/db"},
                    {"name": "c", "mountPath": "/etc/kruntimes/configmaps/db"},
                ]},
            ],
        },
    })
}

/// Creates an object as it stands: no type is between.
async fn put<K>(api: &Api<K>, mut body: Value)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(K::kind(&()));
    let request = kube::core::Request::new(api.resource_url());
    let request = request.create(&Default::default(), serde_json::to_vec(&body).unwrap()).unwrap();
    let _: Value = api.clone().into_client().request(request).await.unwrap();
}

async fn ready(home: &Home) -> PathBuf {
    home.create_pod(&pod()).await;
    place(home, &home.pod("p", is_ready).await)
}

fn place(home: &Home, pod: &Pod) -> PathBuf {
    home.directory.join("pods").join(pod.metadata.uid.as_ref().unwrap()).join("sources")
}

/// Files of the newest version with their content.
fn files(object: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(object.join("..data")).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| {
            let content = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&content).into_owned();
            (entry.file_name().into_string().unwrap(), text)
        })
        .collect();
    files.sort();
    files
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Resolves with the next version that is put in place from now on.
fn next_version(object: &Path) -> impl Future<Output = Vec<(String, String)>> + use<> {
    let object = object.to_owned();
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &object, inotify::WatchFlags::MOVED_TO).unwrap();
    async move {
        let wait = move || {
            let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
            let came = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&limit));
            assert_eq!(came, Ok(1), "no version came");
            let mut buffer = [MaybeUninit::uninit(); 1024];
            inotify::Reader::new(watch, &mut buffer).next().unwrap();
            files(&object)
        };
        tokio::task::spawn_blocking(wait).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runtimed_has_secrets_as_private_files_before_it_starts() {
    let mut home = Home::start();
    let secrets = Api::<Secret>::namespaced(home.client.clone(), "default");
    let maps = Api::<ConfigMap>::namespaced(home.client.clone(), "default");
    put(
        &secrets,
        json!({"metadata": {"name": "db"}, "stringData": {"user": "me", "password": "p"}}),
    )
    .await;
    let map =
        json!({"metadata": {"name": "db"}, "data": {"a": "text"}, "binaryData": {"b": "AP8="}});
    put(&maps, map).await;
    let sources = ready(&home).await;
    assert_eq!(home.line("p", "runtimed", "KRUNTIMES_SOURCES").await, sources.to_str().unwrap());
    assert_eq!(files(&sources.join("secrets/db")), pairs(&[("password", "p"), ("user", "me")]));
    assert_eq!(files(&sources.join("configmaps/db")), pairs(&[("a", "text"), ("b", "\0\u{fffd}")]));
    for (path, mode) in [
        ("", 0o700),
        ("secrets/db/..data", 0o700),
        ("secrets/db/..data/password", 0o600),
        ("configmaps/db/..data/a", 0o600),
    ] {
        let found = std::fs::metadata(sources.join(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
    home.line("p", "runtime", "POD_UID").await;
    let log = std::fs::read_to_string(sources.with_file_name("logs/runtime.log"));
    assert!(!log.unwrap_or_default().contains("KRUNTIMES_SOURCES"));
    home.stop().await;
    assert!(!sources.exists(), "a Secret outlived the home");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_pushed_and_a_missing_one_is_empty() {
    let mut home = Home::start();
    let secrets = Api::<Secret>::namespaced(home.client.clone(), "default");
    let sources = ready(&home).await;
    let object = sources.join("secrets/db");
    assert_eq!(files(&object), pairs(&[]));
    let made = next_version(&object);
    put(&secrets, json!({"metadata": {"name": "db"}, "stringData": {"k": "one", "gone": ""}}))
        .await;
    assert_eq!(made.await, pairs(&[("gone", ""), ("k", "one")]));
    let changed = next_version(&object);
    let patch = Patch::Merge(json!({"data": {"k": "dHdv", "gone": null}}));
    secrets.patch("db", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(changed.await, pairs(&[("k", "two")]));
    let deleted = next_version(&object);
    secrets.delete("db", &DeleteParams::default()).await.unwrap();
    assert_eq!(deleted.await, pairs(&[]));
    let other = next_version(&object);
    put(&secrets, json!({"metadata": {"name": "other"}, "stringData": {"k": "x"}})).await;
    put(&secrets, json!({"metadata": {"name": "db"}, "stringData": {"k": "again"}})).await;
    assert_eq!(other.await, pairs(&[("k", "again")]), "another Secret is none of its business");
    home.pods().delete("p", &DeleteParams::default()).await.unwrap();
    home.no_pod("p").await;
    assert!(!sources.exists(), "a Secret outlived its pod");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_objects_harm_nobody() {
    let mut home = Home::start();
    let secrets = Api::<Secret>::namespaced(home.client.clone(), "default");
    let maps = Api::<ConfigMap>::namespaced(home.client.clone(), "default");
    put(&secrets, json!({"metadata": {"name": "db"}, "data": {"k": 5}})).await;
    let keys = json!({"../evil": "x", "/tmp/evil": "x", "..data": "x", ".": "x", "fine": "y"});
    put(&maps, json!({"metadata": {"name": "db"}, "data": keys})).await;
    let sources = ready(&home).await;
    assert_eq!(files(&sources.join("secrets/db")), pairs(&[]));
    assert_eq!(files(&sources.join("configmaps/db")), pairs(&[("fine", "y")]));
    assert!(!sources.join("configmaps/db/evil").exists());
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_home_left_is_removed_by_the_next() {
    let mut home = Home::start();
    let sources = ready(&home).await;
    home.stop().await;
    // As if it had been killed: the files of its pod are still there.
    std::fs::create_dir_all(sources.join("secrets/db/..1")).unwrap();
    std::fs::write(sources.join("secrets/db/..1/password"), "p").unwrap();
    home.serve();
    home.pod("p", |pod| phase(pod) == "Failed").await;
    assert!(!sources.exists());
    home.stop().await;
}

//! What becomes of the artifacts of Runs that are deleted.

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Event;
use kruntimes_api::labels::{ARTIFACT_FINALIZER, ARTIFACT_STORE_HASH};
use kruntimes_api::{Run, names};
use kruntimes_apiserver::{ApiServer, Options, User};
use kruntimes_artifacts::StoreConfig;
use kruntimes_daemon::{Shutdown, Trigger};
use kruntimes_maintainer::{Config, StoreArgs};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    pub(crate) client: Client,
    _trigger: Trigger,
}

impl World {
    pub(crate) fn start() -> Self {
        let home =
            |home: &Path| Config::Home { home: home.to_owned(), environment: BTreeMap::new() };
        Self::of(home)
    }

    /// A maintainer of a cluster, whose volume is that of this claim.
    fn of_store(claim: &str) -> Self {
        Self::of(|home| {
            let root = names::local_volume(home, "default", claim);
            Config::Store(Box::new(StoreArgs {
                run_namespace: "default".to_owned(),
                store: StoreConfig::volume(root, claim),
                status_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
                mounted: PathBuf::new(),
            }))
        })
    }

    pub(crate) fn of(config: impl FnOnce(&Path) -> Config) -> Self {
        let crds = kruntimes_api::crd::all();
        let server =
            ApiServer::open(Options { data_dir: None, crds, history_limit: 10_000 }).unwrap();
        let client = Client::new(server.service(User::admin("test")), "default");
        let home = tempfile::tempdir().unwrap();
        let (trigger, shutdown) = Shutdown::new();
        let config = config(home.path());
        tokio::spawn(kruntimes_maintainer::serve(config, client.clone(), shutdown));
        Self { home, client, _trigger: trigger }
    }

    pub(crate) fn runs(&self) -> Api<Run> {
        Api::namespaced(self.client.clone(), "default")
    }

    async fn patch(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.runs().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// A Run with one artifact in the store of this claim.
    pub(crate) async fn kept(&self, name: &str, claim: &str) -> (Run, PathBuf) {
        let object = json!({
            "metadata": {
                "name": name, "finalizers": [ARTIFACT_FINALIZER, "other/one"],
                "labels": {ARTIFACT_STORE_HASH: "x"},
            },
            "spec": {"runtime": "a-runtime-that-is-gone"},
        });
        let object = serde_json::from_value(object).unwrap();
        let run: Run = self.runs().create(&PostParams::default(), &object).await.unwrap();
        let status = json!({"status": {"artifactStore":
            {"driver": "filesystem", "filesystem": {"volumeClaimName": claim}}}});
        let (runs, parameters) = (self.runs(), PatchParams::default());
        runs.patch_status(name, &parameters, &Patch::Merge(status)).await.unwrap();
        let own = names::local_volume(self.home.path(), "default", claim)
            .join("namespaces/default/runs")
            .join(run.uid().unwrap());
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("f"), "1").unwrap();
        (run, own)
    }

    async fn delete(&self, name: &str) {
        self.runs().delete(name, &DeleteParams::default()).await.unwrap();
    }

    async fn until_released(&self, name: &str) {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let runs = watcher(self.runs(), config).applied_objects();
        pin_mut!(runs);
        let released = async {
            while let Some(run) = runs.next().await {
                if run.unwrap().finalizers() == ["other/one"] {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, released).await.unwrap();
    }
}

#[tokio::test]
async fn the_artifacts_of_a_deleted_run_go_before_it_and_no_others() {
    let world = World::start();
    let (_, kept) = world.kept("kept", "pvc").await;
    let (_, gone) = world.kept("gone", "pvc").await;
    let (_, other) = world.kept("other", "another-pvc").await;
    world.delete("gone").await;
    world.until_released("gone").await;
    assert!(!gone.exists() && kept.join("f").exists() && other.join("f").exists());
    world.delete("other").await;
    world.until_released("other").await;
    assert!(!other.exists() && kept.join("f").exists());
}

#[tokio::test]
async fn a_run_waits_until_the_store_lets_its_artifacts_go() {
    let world = World::start();
    let (_, own) = world.kept("r", "pvc").await;
    // No artifact is a directory: this one can't be removed.
    fs::create_dir(own.join("d")).unwrap();
    world.delete("r").await;
    let other = world.kept("other", "pvc").await.1;
    world.delete("other").await;
    world.until_released("other").await;
    assert!(!other.exists());
    let run = world.runs().get("r").await.unwrap();
    assert!(run.finalizers().iter().any(|name| name == ARTIFACT_FINALIZER));
    fs::remove_dir(own.join("d")).unwrap();
    world.until_released("r").await;
    assert!(!own.exists());
}

/// Time goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_run_whose_artifacts_stay_tells_how_it_goes_without_them() {
    let world = World::start();
    let (_, own) = world.kept("r", "pvc").await;
    // No artifact is a directory: this one can't be removed.
    fs::create_dir(own.join("d")).unwrap();
    world.delete("r").await;
    let events: Api<Event> = Api::default_namespaced(world.client.clone());
    let about = watcher::Config::default().fields("involvedObject.name=r");
    let told = watcher(events, about).applied_objects();
    pin_mut!(told);
    let event = tokio::time::timeout(PATIENCE, told.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.reason.as_deref(), Some("ArtifactCleanupFailed"));
    let message = event.message.unwrap();
    assert!(message.contains("Why they stay: the artifacts can't be removed"), "{message}");
    let (_, command) =
        message.split_once("kubectl patch run r -n default --type=merge -p '").unwrap();
    let patch: Value = serde_json::from_str(command.split_once('\'').unwrap().0).unwrap();
    world.patch("r", patch).await;
    world.until_released("r").await;
    assert!(own.exists());
}

/// The hash that the controller gives the label of Runs in the store of the claim `pvc1`.
const OF_PVC1: &str = "45d07093075a44a9";

#[tokio::test]
async fn on_a_cluster_it_looks_after_one_store_alone() {
    let world = World::of_store("pvc1");
    let label = |hash: &str| json!({"metadata": {"labels": {ARTIFACT_STORE_HASH: hash}}});
    let (_, mine) = world.kept("mine", "pvc1").await;
    let (_, other) = world.kept("other", "pvc2").await;
    let (_, forged) = world.kept("forged", "pvc2").await;
    for name in ["mine", "forged"] {
        world.patch(name, label(OF_PVC1)).await;
    }
    for name in ["other", "forged", "mine"] {
        world.delete(name).await;
    }
    world.until_released("mine").await;
    assert!(!mine.exists() && other.exists() && forged.exists());
    for name in ["other", "forged"] {
        let run = world.runs().get(name).await.unwrap();
        assert!(run.finalizers().iter().any(|name| name == ARTIFACT_FINALIZER), "{name}");
    }
}

async fn until_gone(path: &Path) {
    let gone = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn what_a_run_that_ended_does_not_refer_to_goes() {
    let world = World::start();
    let (_, lost) = world.kept("lost", "pvc").await;
    let (_, retried) = world.kept("retried", "pvc").await;
    let (_, open) = world.kept("open", "pvc").await;
    fs::write(retried.join("of-an-earlier-attempt"), "1").unwrap();
    fs::write(retried.join(".artifact-1-1"), "1").unwrap();
    let artifact = json!({"name": "f", "driver": "filesystem", "type": "file", "sizeBytes": 1,
        "location": {"filesystem": {"path": "p"}}, "createdAt": "2026-01-01T00:00:00Z"});
    for (name, refs) in [("lost", json!([])), ("retried", json!([artifact]))] {
        let status = json!({"status": {"phase": "Failed", "artifactRefs": refs}});
        let (runs, parameters) = (world.runs(), PatchParams::default());
        runs.patch_status(name, &parameters, &Patch::Merge(status)).await.unwrap();
    }
    until_gone(&lost).await;
    until_gone(&retried.join("of-an-earlier-attempt")).await;
    until_gone(&retried.join(".artifact-1-1")).await;
    assert!(retried.join("f").exists() && open.join("f").exists());
}

/// Time goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn the_sweep_spares_runs_without_their_label_and_goes_on_after_what_it_can_not_remove() {
    let world = World::start();
    let (_, kept) = world.kept("kept", "pvc").await;
    world.patch("kept", json!({"metadata": {"labels": null}})).await;
    let runs = kept.parent().unwrap();
    let (odd, stuck, orphan) = (runs.join("0\\odd"), runs.join("0-stuck"), runs.join("1-orphan"));
    for path in [&odd, &stuck.join("d"), &orphan] {
        fs::create_dir_all(path).unwrap();
    }
    // Another volume of the namespace is a file.
    fs::write(runs.ancestors().nth(4).unwrap().join("a-file"), "").unwrap();
    while orphan.exists() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(kept.join("f").exists() && odd.exists() && stuck.exists());
}

/// Time goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn what_no_run_is_left_of_goes_and_nothing_else() {
    let world = World::start();
    let (_, kept) = world.kept("kept", "pvc").await;
    let runs = kept.parent().unwrap();
    let orphan = runs.join("0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e");
    let logs = runs.ancestors().nth(3).unwrap().join("logs/namespaces/default/runs");
    let own_log = logs.join(kept.file_name().unwrap());
    let log = logs.join("0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e");
    for one in [&orphan, &log, &own_log] {
        fs::create_dir_all(one).unwrap();
        fs::write(one.join("1"), "1").unwrap();
    }
    let began = tokio::time::Instant::now();
    while orphan.exists() || log.exists() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    // Not at the first look: its Run might not be known yet.
    assert!(began.elapsed() > Duration::from_secs(300), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(kept.join("f").exists() && own_log.join("1").exists());
    // With its Run goes its log.
    world.delete("kept").await;
    until_gone(&own_log).await;
}

#[tokio::test]
async fn a_run_that_kept_nothing_is_let_go() {
    let world = World::start();
    let (_, own) = world.kept("r", "pvc").await;
    fs::remove_dir_all(own).unwrap();
    world.delete("r").await;
    // Another write comes between: the finalizers that it leaves are the ones that count.
    world.patch("r", json!({"metadata": {"annotations": {"a": "b"}}})).await;
    world.until_released("r").await;
}

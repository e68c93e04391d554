//! `cargo xtask e2e artifacts`: what Runs leave behind, in a volume and in a bucket of a real MinIO, under kills.
//!
//! What comes back is what was left, byte by byte; a flipped byte is refused; what a store refuses fails the Run in bounded time;
//! whoever is killed amid an upload, what the status refers to is there, and nothing else.

pub(crate) mod bench;
mod faults;
pub(crate) mod minio;
mod trips;

use crate::home::{self, Build, Home};
use crate::load;
use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kruntimes_api::{Run, Runtime};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use minio::Minio;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Bytes of the largest artifact.
    largest: u64,
    flips: usize,
    /// Kills of each part, for each store.
    kills: usize,
}

/// For every change.
pub(crate) const QUICK: Counts = Counts { largest: 256 << 20, flips: 100, kills: 1 };
/// For a release.
pub(crate) const FULL: Counts = Counts { largest: 1 << 30, flips: 1_000, kills: 10 };

const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(300);
/// Refs and objects are one to one within this time after the last Run's end, or its deletion.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);
/// Nothing tells that a file is gone: this often it is looked.
const LOOK: Duration = Duration::from_millis(100);

/// A Runtime for each kind of store.
const VOLUME: &str = "volume";
const IN_BUCKET: &str = "bucket";
const STORES: [&str; 2] = [VOLUME, IN_BUCKET];
const SECRET: &str = "minio";

/// What is kept: the UID of the Run and the name of the artifact.
type Kept = BTreeSet<(String, String)>;

struct World {
    krt: PathBuf,
    home: Home,
    minio: Minio,
    client: Client,
    runs: usize,
}

/// All of it.
pub(crate) fn run(counts: Counts) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let begun = Instant::now();
        let mut world = World::start(Build::Dev).await?;
        for store in STORES {
            world.round_trip(store, counts.largest).await.context(store)?;
            world.flips(store, counts.flips).await.context(store)?;
        }
        world.refusals().await?;
        for _ in 0..counts.kills {
            for store in STORES {
                world.kills(store).await.context(store)?;
            }
        }
        world.delete_all().await?;
        let (runs, seconds) = (world.runs, begun.elapsed().as_secs());
        println!(
            "artifacts: {runs} Runs in {seconds} s: what is referred to is there, and nothing else"
        );
        Ok(())
    })
}

impl World {
    async fn start(build: Build) -> anyhow::Result<Self> {
        let krt = home::build(build)?;
        let minio = Minio::start()?;
        let home = Home::start(&krt)?;
        let client = load::client(&home).await?;
        let world = Self { krt, home, minio, client, runs: 0 };
        world.secret(SECRET, minio::SECRET_KEY).await?;
        let volume = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "e2e"}});
        world.runtime(VOLUME, volume).await?;
        world.runtime(IN_BUCKET, world.bucket(&json!({}))).await?;
        Ok(world)
    }

    /// The store in MinIO's bucket, with other settings.
    fn bucket(&self, other: &Value) -> Value {
        let mut s3 = json!({
            "bucket": minio::BUCKET, "prefix": "e2e/ci", "endpoint": self.minio.endpoint(), "forcePathStyle": true,
            "credentialsSecretName": SECRET,
        });
        for (name, value) in other.as_object().into_iter().flatten() {
            s3[name] = value.clone();
        }
        json!({"driver": "s3", "s3": s3})
    }

    async fn secret(&self, name: &str, key: &str) -> anyhow::Result<()> {
        let secret = json!({
            "metadata": {"name": name},
            "stringData": {"AWS_ACCESS_KEY_ID": minio::KEY_ID, "AWS_SECRET_ACCESS_KEY": key},
        });
        let secrets: Api<Secret> = Api::default_namespaced(self.client.clone());
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        Ok(())
    }

    /// A pool as the ready-made one, with this store, once it is ready.
    async fn runtime(&self, name: &str, store: Value) -> anyhow::Result<()> {
        let runtimes: Api<Runtime> = Api::default_namespaced(self.client.clone());
        let mut spec = serde_json::to_value(runtimes.get("bash").await?.spec)?;
        spec["artifactStore"] = store;
        spec["replicas"] = json!(1);
        spec["capacity"] = json!({"resources": {"runs": "4"}});
        let runtime = json!({"metadata": {"name": name}, "spec": spec});
        runtimes.create(&PostParams::default(), &serde_json::from_value(runtime)?).await?;
        self.ready(name).await
    }

    async fn ready(&self, name: &str) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::default_namespaced(self.client.clone());
        let ready = |deployment: Option<&Deployment>| {
            let status = deployment.and_then(|deployment| deployment.status.as_ref());
            status.and_then(|status| status.ready_replicas) == Some(1)
        };
        let object = format!("runtime-{name}");
        let waiting = await_condition(deployments, &object, ready);
        timeout(READY_WITHIN, waiting).await.with_context(|| format!("{name} is not ready"))??;
        Ok(())
    }

    async fn create(
        &mut self,
        runtime: &str,
        attempts: i32,
        script: &str,
    ) -> anyhow::Result<String> {
        let name = format!("e2e-{}", self.runs);
        self.runs += 1;
        let run = json!({
            "metadata": {"name": name},
            "spec": {
                "runtime": runtime, "args": [script],
                "retryPolicy": {"maxAttempts": attempts, "backoff": "100ms"},
            },
        });
        let runs: Api<Run> = Api::default_namespaced(self.client.clone());
        runs.create(&PostParams::default(), &serde_json::from_value(run)?).await?;
        Ok(name)
    }

    async fn ended(&self, name: &str) -> anyhow::Result<Run> {
        let runs: Api<Run> = Api::default_namespaced(self.client.clone());
        let over = |run: Option<&Run>| run.is_some_and(|run| run.phase().is_terminal());
        let waiting = await_condition(runs, name, over);
        let run =
            timeout(ENDS_WITHIN, waiting).await.with_context(|| format!("{name} hangs"))??;
        run.with_context(|| format!("{name} is gone"))
    }

    fn krt(&self, words: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.krt);
        command.args(words).env("KUBECONFIG", self.home.kubeconfig());
        command.output().context("start krt")
    }

    /// Where the volume is.
    fn volume(&self) -> PathBuf {
        self.home.directory().join("volumes/default/e2e/namespaces/default/runs")
    }

    fn objects(&self) -> PathBuf {
        self.minio.bucket().join("e2e/ci/namespaces/default/runs")
    }

    /// All that both stores have.
    fn kept(&self) -> Kept {
        let mut kept = names(&self.volume());
        // What MinIO has removed may leave empty directories.
        let objects = self.objects();
        let found = names(&objects).into_iter();
        kept.extend(
            found.filter(|(uid, name)| objects.join(uid).join(name).join("xl.meta").exists()),
        );
        kept
    }

    /// Waits until what is kept is what all Runs refer to.
    async fn one_to_one(&self) -> anyhow::Result<()> {
        let runs: Api<Run> = Api::default_namespaced(self.client.clone());
        let begun = Instant::now();
        loop {
            let all = runs.list(&ListParams::default()).await?.items;
            let all = all.iter().filter(|run| run.metadata.deletion_timestamp.is_none());
            let refs = all.flat_map(|run| {
                let uid = run.uid().unwrap_or_default();
                let refs = run.status.iter().flat_map(|status| &status.artifact_refs);
                refs.map(move |artifact| (uid.clone(), artifact.name.clone()))
            });
            let (refs, kept): (Kept, Kept) = (refs.collect(), self.kept());
            if refs == kept {
                return Ok(());
            }
            let missing: Vec<_> = refs.difference(&kept).collect();
            let nobodys: Vec<_> = kept.difference(&refs).collect();
            ensure!(missing.is_empty(), "referred to, and not there: {missing:?}");
            ensure!(
                begun.elapsed() < SETTLES_WITHIN,
                "there, and referred to by no Run after {SETTLES_WITHIN:?}: {nobodys:?}"
            );
            sleep(LOOK).await;
        }
    }

    async fn delete_all(&self) -> anyhow::Result<()> {
        let runs: Api<Run> = Api::default_namespaced(self.client.clone());
        runs.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        self.one_to_one().await?;
        ensure!(self.kept().is_empty(), "kept of Runs that are deleted: {:?}", self.kept());
        Ok(())
    }
}

fn names(runs: &Path) -> Kept {
    let entries = |directory: &Path| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let uids = entries(runs).into_iter();
    uids.flat_map(|uid| {
        let names = entries(&runs.join(&uid));
        names.into_iter().map(move |name| (uid.clone(), name))
    })
    .collect()
}

//! A load of short Runs on a local home: over TLS, with the watch of their ends on a connection of its own.

use crate::home::Home;
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use kruntimes_api::{Run, Runtime, labels};
use kube::api::{Api, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Creates Runs and waits for their ends on one watch.
#[derive(Debug)]
pub(crate) struct Load {
    runs: Api<Run>,
    waits: mpsc::UnboundedSender<(String, oneshot::Sender<()>)>,
    work: &'static [Work],
    next: AtomicUsize,
}

/// What a Run of a load is: its Runtime, and its only argument.
pub(crate) type Work = (&'static str, &'static str);

impl Load {
    /// A load on the home that does each of these in turn, on connections of its own.
    pub(crate) async fn new(home: &Home, work: &'static [Work]) -> anyhow::Result<Self> {
        let runs = Api::default_namespaced(client(home).await?);
        let watched: Api<Run> = Api::default_namespaced(client(home).await?);
        let (waits, receiver) = mpsc::unbounded_channel();
        tokio::spawn(ends(watched, receiver));
        Ok(Self { runs, waits, work, next: AtomicUsize::new(0) })
    }

    /// Gives each pod of the Runtime `bash` so many slots, and waits until all pods have them.
    pub(crate) async fn widen(home: &Home, slots: usize) -> anyhow::Result<()> {
        resize(&client(home).await?, json!({}), slots).await
    }

    /// One Run, to its end.
    pub(crate) async fn run_one(&self) -> anyhow::Result<Duration> {
        let (runtime, script) = self.work[self.next.fetch_add(1, Relaxed) % self.work.len()];
        let run = Run {
            metadata: ObjectMeta {
                generate_name: Some("bench-".to_owned()),
                ..ObjectMeta::default()
            },
            spec: kruntimes_api::RunSpec {
                runtime: runtime.to_owned(),
                args: vec![script.to_owned()],
                ..kruntimes_api::RunSpec::default()
            },
            ..Run::default()
        };
        let started = Instant::now();
        let created = self.runs.create(&PostParams::default(), &run).await?;
        let (sender, ended) = oneshot::channel();
        self.waits.send((created.name_any(), sender)).ok().context("the watch ended")?;
        tokio::time::timeout(Duration::from_secs(30), ended).await??;
        Ok(started.elapsed())
    }

    /// So many of them; the answer is Runs a second.
    pub(crate) async fn run_many(&self, count: usize, at_once: usize) -> anyhow::Result<f64> {
        let started = Instant::now();
        let runs = futures::stream::iter(0..count).map(|_| self.run_one());
        let ended: Vec<Duration> = runs.buffer_unordered(at_once).try_collect().await?;
        let rate = ended.len() as f64 / started.elapsed().as_secs_f64();
        let failed = self.runs.list(&ListParams::default().fields("status.phase=Failed")).await?;
        ensure!(failed.items.is_empty(), "{} Runs failed", failed.items.len());
        Ok(rate)
    }
}

/// Tells each waiter when its Run has ended, in whichever order the two become known.
async fn ends(runs: Api<Run>, mut waits: mpsc::UnboundedReceiver<(String, oneshot::Sender<()>)>) {
    let stream = watcher(runs, watcher::Config::default()).default_backoff().applied_objects();
    futures::pin_mut!(stream);
    let mut waiting: BTreeMap<String, oneshot::Sender<()>> = BTreeMap::new();
    let mut ended: BTreeMap<String, ()> = BTreeMap::new();
    loop {
        tokio::select! {
            Some(Ok(run)) = stream.next() => {
                if run.phase().is_terminal() {
                    match waiting.remove(&run.name_any()) {
                        Some(waiter) => waiter.send(()).unwrap_or_default(),
                        None => drop(ended.insert(run.name_any(), ())),
                    }
                }
            }
            Some((name, waiter)) = waits.recv() => {
                if ended.remove(&name).is_some() {
                    waiter.send(()).unwrap_or_default();
                } else {
                    waiting.insert(name, waiter);
                }
            }
            else => return,
        }
    }
}

/// Gives each pod of the Runtime `bash` so many slots, changes its spec by `patch` beside, and waits until all its pods are
/// as they should be.
pub(crate) async fn resize(
    client: &Client,
    mut patch: serde_json::Value,
    slots: usize,
) -> anyhow::Result<()> {
    let slots = slots.to_string();
    patch["capacity"] = json!({"resources": {"runs": slots}});
    let runtimes: Api<Runtime> = Api::default_namespaced(client.clone());
    let patch = Patch::Merge(json!({ "spec": patch }));
    let patched = runtimes.patch("bash", &PatchParams::default(), &patch).await?;
    let pods = patched.spec.replicas;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let rolled = |deployment: Option<&Deployment>| {
        deployment.is_some_and(|deployment| has_rolled(deployment, &slots, pods))
    };
    await_condition(deployments, "runtime-bash", rolled).await?;
    Ok(())
}

fn has_rolled(deployment: &Deployment, slots: &str, pods: i32) -> bool {
    let (Some(spec), Some(status)) = (&deployment.spec, &deployment.status) else { return false };
    let annotations = spec.template.metadata.as_ref().and_then(|it| it.annotations.as_ref());
    annotations.and_then(|it| it.get(labels::CAPACITY_RUNS)).is_some_and(|it| it == slots)
        && spec.replicas == Some(pods)
        && status.observed_generation == deployment.metadata.generation
        && [status.updated_replicas, status.replicas, status.ready_replicas]
            .iter()
            .all(|count| *count == spec.replicas)
}

pub(crate) async fn client(home: &Home) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(home.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

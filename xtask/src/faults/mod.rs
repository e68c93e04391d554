//! `cargo xtask e2e faults` and `cargo xtask soak faults`: a real local home whose Runs hide, flood, freeze and lose time.

mod clock;
mod endings;
mod floods;
mod zombies;

use crate::home::{self, Build, Home};
use crate::load;
use crate::outside::Outside;
use anyhow::{Context, ensure};
use kruntimes_api::{Phase, Run};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Batches of sidecars that are stopped, each for so long.
    zombies: &'static [Duration],
}

/// Longer than it takes to take a Run, shorter than it takes the node to restart a sidecar that does not answer.
const SHORT: Duration = Duration::from_secs(16);
/// Longer than both.
const LONG: Duration = Duration::from_secs(60);

/// For every change.
pub(crate) const QUICK: Counts = Counts { zombies: &[SHORT] };
/// For a release.
pub(crate) const FULL: Counts =
    Counts { zombies: &[SHORT, SHORT, SHORT, SHORT, SHORT, LONG, LONG, LONG, LONG, LONG] };

/// A pod without a renewal kills its Runs.
const FENCE_AFTER: &str = "5";
/// A pod without a renewal loses its Runs.
const REAP_AFTER: &str = "13";
const PATIENCE: Duration = Duration::from_secs(120);
/// Nothing tells the end of a process that is not ours: this often it is looked.
const LOOK: Duration = Duration::from_millis(10);

/// A local home and the Runs on it.
struct World {
    home: Home,
    outside: Outside,
    runs: Api<Run>,
    client: Client,
}

/// Everything, one after the other.
pub(crate) fn run(counts: Counts) -> anyhow::Result<()> {
    let krt = home::build(Build::Dev)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let world = World::start(&krt, &[]).await?;
        endings::check(&world).await.context("endings")?;
        floods::check(&world).await.context("floods")?;
        drop(world);
        clock::check(&krt).await.context("clock")?;
        zombies::check(&krt, counts).await.context("zombies")
    })
}

/// Slots of a pod until a check wants others.
const SLOTS: usize = 2;

impl World {
    async fn start(krt: &Path, environment: &[(&str, &Path)]) -> anyhow::Result<Self> {
        let flags = ["--fence-after-seconds", FENCE_AFTER, "--reap-after-seconds", REAP_AFTER];
        let home = Home::start_with(krt, environment, &flags)?;
        let client = load::client(&home).await?;
        // The scripts of its Runs write down outside what they do.
        load::resize(&client, json!({"isolation": "none"}), SLOTS).await?;
        let runs = Api::default_namespaced(client.clone());
        Ok(Self { home, outside: Outside::new()?, runs, client })
    }

    /// Gives the Runtime `bash` so many pods of so many slots, and waits for them.
    async fn widen(&self, pods: usize, slots: usize) -> anyhow::Result<()> {
        let patch = json!({"replicas": pods});
        timeout(PATIENCE, load::resize(&self.client, patch, slots)).await?
    }

    async fn create(&self, name: &str, script: &str, spec: Value) -> anyhow::Result<Run> {
        let mut run = json!({
            "metadata": {"name": name},
            "spec": {"runtime": "bash", "args": [script], "env": self.outside.variables()},
        });
        let fields = run["spec"].as_object_mut().context("a spec is an object")?;
        fields.extend(spec.as_object().cloned().unwrap_or_default());
        Ok(self.runs.create(&PostParams::default(), &serde_json::from_value(run)?).await?)
    }

    /// The Run once it is as wanted.
    async fn until(&self, name: &str, wanted: impl Fn(&Run) -> bool) -> anyhow::Result<Run> {
        let is = |run: Option<&Run>| run.is_some_and(&wanted);
        let found = timeout(PATIENCE, await_condition(self.runs.clone(), name, is)).await;
        let found = found.with_context(|| format!("{name} is not as wanted in {PATIENCE:?}"))??;
        found.with_context(|| format!("{name} is gone"))
    }

    async fn until_over(&self, name: &str) -> anyhow::Result<Run> {
        self.until(name, |run| run.phase().is_terminal()).await
    }
}

fn expect_phase(run: &Run, phase: Phase) -> anyhow::Result<()> {
    let status = run.status.as_ref();
    let why = status.map(|status| (status.reason.clone(), status.message.clone()));
    ensure!(run.phase() == phase, "{} is {}, not {phase}: {why:?}", run.name_any(), run.phase());
    Ok(())
}

/// Waits until a file holds so many lines, and reads each as a number.
async fn numbers(path: &Path, count: usize) -> anyhow::Result<Vec<u32>> {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let numbers: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        if numbers.len() >= count {
            return Ok(numbers);
        }
        ensure!(begun.elapsed() < PATIENCE, "{} has {numbers:?}, not {count}", path.display());
        sleep(LOOK).await;
    }
}

/// Waits until all processes are gone; the answer is how long that took.
async fn until_dead(pids: &[u32], within: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    loop {
        let alive: Vec<u32> = pids.iter().copied().filter(|pid| is_alive(*pid)).collect();
        if alive.is_empty() {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < within, "{alive:?} of {pids:?} live after {within:?}");
        sleep(LOOK).await;
    }
}

/// A zombie is dead: somebody else is late to look.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// The sidecar of a pod.
fn runtimed_of(home: &Home, pod_uid: &str) -> anyhow::Result<u32> {
    let place = home.directory().join("pods").join(pod_uid);
    let all = crate::processes::of_home(home.pid())?;
    let found = all.into_iter().find(|process| {
        let cwd: PathBuf = fs::read_link(format!("/proc/{}/cwd", process.pid)).unwrap_or_default();
        process.role.contains("serve runtimed") && cwd.starts_with(&place)
    });
    found.map(|process| process.pid).with_context(|| format!("no runtimed in {}", place.display()))
}

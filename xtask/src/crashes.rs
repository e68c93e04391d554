//! `cargo xtask e2e crashes` and `cargo xtask soak crashes`: each part killed at each of its crash points, under load.
//!
//! Each Run notes its starts and ends in a file outside and holds a lock while any of its processes lives. In the end
//! every Run has ended as without the kills, none ran twice at once or more often than its attempts, nothing is left.

use crate::home::{self, Build, Home};
use crate::load;
use crate::outside::{BEGINS, ENDS, Outside};
use crate::processes;
use anyhow::{Context, ensure};
use kruntimes_api::{Phase, Run};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Points of the pods' sidecars: the pod lives on.
const IN_PODS: [&str; 13] = [
    "runtimed-begun",
    "runtimed-prepared",
    "runtimed-journalled",
    "runtimed-executed",
    "runtimed-running",
    "runtimed-collecting",
    "runtimed-keeping",
    "runtimed-guarded",
    "runtimed-kept",
    "runtimed-ending",
    "runtimed-ended",
    "runtimed-removing",
    "runtimed-lease",
];
/// Points of the main process: all pods end with it.
const IN_MAIN: [&str; 10] = [
    "api-committing",
    "api-committed",
    "api-published",
    "scheduler-assigning",
    "scheduler-assigned",
    "controller-taking",
    "controller-taken",
    "controller-deleting",
    "controller-guarding",
    "maintainer-removed",
];
const PODS: i32 = 4;
/// Slots of a pod.
const SLOTS: usize = 2;
/// Attempts of a Run that must succeed whatever is killed.
const ATTEMPTS: i32 = 50;
const BATCH: usize = 8;
const POINT_WITHIN: Duration = Duration::from_secs(60);
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
/// Nothing tells that a file is gone or a process has ended: this often it is looked.
const LOOK: Duration = Duration::from_millis(5);
const VARIABLE: &str = "KRUNTIMES_CRASH_DIRECTORY";
struct World {
    krt: PathBuf,
    home: Home,
    outside: Outside,
    created: usize,
    kills: BTreeMap<&'static str, usize>,
}

/// Kills so often at each point, amid Workflows and amid Runs.
pub(crate) fn all(times: usize) -> anyhow::Result<()> {
    crate::crashes_workflows::run(times)?;
    run(times)
}

/// Kills so often at each point.
fn run(times: usize) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(kill_all(times))
}

async fn kill_all(times: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut world = World::start()?;
    world.widen().await?;
    let rounds = IN_MAIN.len() * times;
    let mut in_pods = (0..times).flat_map(|_| IN_PODS);
    for round in 0..rounds {
        let share = (IN_PODS.len() * times).div_ceil(rounds);
        for point in in_pods.by_ref().take(share) {
            world.kill_in_pod(point).await.with_context(|| format!("round {round}: {point}"))?;
        }
        let point = IN_MAIN[round % IN_MAIN.len()];
        world.kill_main(point).await.with_context(|| format!("round {round}: {point}"))?;
    }
    let runs = world.settle().await?;
    world.check(&runs)?;
    let kills: usize = world.kills.values().sum();
    println!(
        "crashes: {kills} kills at {} points, {} Runs, {:.0} s: same results, nothing twice, nothing left",
        world.kills.len(),
        world.created,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let krt = home::build(Build::Dev)?;
        let outside = Outside::new()?;
        let home = Home::start_with(&krt, &[(VARIABLE, &outside.path("points"))], &[])?;
        Ok(Self { krt, home, outside, created: 0, kills: BTreeMap::new() })
    }

    async fn client(&self) -> anyhow::Result<Client> {
        load::client(&self.home).await
    }

    async fn widen(&self) -> anyhow::Result<()> {
        // The scripts of the Runs write down outside what they do.
        let patch = json!({"replicas": PODS, "isolation": "none"});
        load::resize(&self.client().await?, patch, SLOTS).await
    }

    /// A few more Runs. One in four is tried once only, one in four is deleted a second after its end.
    async fn create(&mut self, runs: &Api<Run>) -> Result<(), kube::Error> {
        for _ in 0..BATCH {
            let number = self.created;
            let attempts = if number.is_multiple_of(4) { 1 } else { ATTEMPTS };
            let mut run = json!({
                "metadata": {"name": format!("crash-{number}")},
                "spec": {
                    "runtime": "bash",
                    "args": [format!("{BEGINS}; sleep 0.0$((RANDOM % 10)); {}; {ENDS}", left(number))],
                    "env": self.outside.variables(),
                    "retryPolicy": {"maxAttempts": attempts, "backoff": "10ms"},
                },
            });
            if number % 4 == 1 {
                run["spec"]["ttlSecondsAfterFinished"] = json!(1);
            }
            let run = serde_json::from_value(run).map_err(kube::Error::SerdeError)?;
            runs.create(&PostParams::default(), &run).await?;
            self.created += 1;
        }
        Ok(())
    }

    async fn kill_in_pod(&mut self, point: &'static str) -> anyhow::Result<()> {
        let runs = Api::default_namespaced(self.client().await?);
        let armed = self.arm(point)?;
        let begun = Instant::now();
        while armed.exists() {
            ensure!(begun.elapsed() < POINT_WITHIN, "nobody came by");
            self.create(&runs).await?;
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn kill_main(&mut self, point: &'static str) -> anyhow::Result<()> {
        let runs = Api::default_namespaced(self.client().await?);
        self.create(&runs).await?;
        self.arm(point)?;
        let begun = Instant::now();
        while !self.home.has_ended()? {
            ensure!(begun.elapsed() < POINT_WITHIN, "nobody came by");
            if matches!(point, "controller-taking" | "controller-taken") {
                self.kill_a_pod()?;
            }
            // It may die at any of these: what was not acknowledged counts for nothing.
            let created = self.create(&runs).await;
            if created.is_err() {
                self.created += 1;
            }
            sleep(LOOK).await;
        }
        let points = self.outside.path("points");
        self.home.start_again(&self.krt, &[(VARIABLE, &points)])
    }

    fn arm(&mut self, point: &'static str) -> anyhow::Result<PathBuf> {
        let path = self.outside.path("points").join(point);
        fs::write(&path, "")?;
        *self.kills.entry(point).or_default() += 1;
        Ok(path)
    }

    /// Kills both processes of one pod that has Runs, as the end of its machine does.
    fn kill_a_pod(&self) -> anyhow::Result<()> {
        let mut pods: BTreeMap<PathBuf, Vec<u32>> = BTreeMap::new();
        for process in processes::of_home(self.home.pid())? {
            // The processes of a pod, and of its Runs, work below its own directory.
            let place = fs::read_link(format!("/proc/{}/cwd", process.pid)).unwrap_or_default();
            let below = place.strip_prefix(self.home.directory().join("pods"));
            if let Some(pod) = below.ok().and_then(|below| below.iter().next()) {
                pods.entry(pod.into()).or_default().push(process.pid);
            }
        }
        // A new pod needs a moment.
        let busiest = pods.into_values().max_by_key(Vec::len).unwrap_or_default();
        busiest.into_iter().try_for_each(processes::kill)
    }

    /// All Runs that were not deleted, once each has ended.
    async fn settle(&self) -> anyhow::Result<Vec<Run>> {
        let runs: Api<Run> = Api::default_namespaced(self.client().await?);
        let begun = Instant::now();
        loop {
            let all = runs.list(&ListParams::default()).await?.items;
            let open = all.iter().filter(|run| !run.phase().is_terminal());
            let open: Vec<String> =
                open.map(|run| format!("{} {}", run.name_any(), run.phase())).collect();
            if open.is_empty() {
                return Ok(all);
            }
            ensure!(begun.elapsed() < SETTLES_WITHIN, "stuck: {open:?}");
            sleep(LOOK * 40).await;
        }
    }

    fn check(&self, runs: &[Run]) -> anyhow::Result<()> {
        let starts = self.outside.starts()?;
        let mut checked = 0;
        for run in runs {
            let name = run.name_any();
            let policy = run.spec.retry_policy.as_ref();
            let attempts = policy.and_then(|policy| policy.max_attempts).unwrap_or(1);
            let status = run.status.as_ref().context("no status")?;
            let started = starts.get(&run.uid().unwrap_or_default()).copied().unwrap_or(0);
            let attempt = status.attempt.unwrap_or(0);
            ensure!(started <= attempt, "{name}: {started} starts in {attempt} attempts");
            ensure!(attempt <= attempts, "{name}: attempt {attempt} of {attempts}");
            if attempts > 1 || status.phase == Phase::Succeeded {
                let why = &status.message;
                ensure!(status.phase == Phase::Succeeded, "{name}: {} {why:?}", status.phase);
                ensure!(started > 0, "{name} succeeded and never started");
                check_left(self.home.directory(), run).with_context(|| name.clone())?;
            }
            checked += 1;
        }
        ensure!(checked > self.created / 4, "only {checked} of {} Runs are left", self.created);
        self.nothing_is_left()?;
        self.nobodys_artifacts(runs)
    }

    /// What is kept of a Run goes with it: a moment after the last of them is deleted nothing is kept of those.
    fn nobodys_artifacts(&self, runs: &[Run]) -> anyhow::Result<()> {
        let known: Vec<String> = runs.iter().filter_map(ResourceExt::uid).collect();
        let begun = Instant::now();
        loop {
            let kept = fs::read_dir(artifacts(self.home.directory()))?;
            let kept = kept.map(|entry| entry.map(|entry| entry.file_name()));
            let kept = kept.collect::<Result<Vec<_>, _>>()?;
            let nobodys: Vec<_> = kept
                .iter()
                .filter(|uid| !known.iter().any(|known| known.as_str() == uid.as_os_str()))
                .collect();
            if nobodys.is_empty() {
                return Ok(());
            }
            ensure!(begun.elapsed() < SETTLES_WITHIN, "kept of Runs that are gone: {nobodys:?}");
            std::thread::sleep(LOOK * 40);
        }
    }

    fn nothing_is_left(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let left = leftovers(&self.home.directory().join("pods"))?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(begun.elapsed() < SETTLES_WITHIN, "left: {left:?}");
            std::thread::sleep(LOOK * 40);
        }
    }
}

/// What a Run of this number leaves behind: an output, and every other one an artifact.
fn left(number: usize) -> String {
    let output = format!("echo n={number} > \"$KRUNTIME_OUTPUTS\"");
    if !number.is_multiple_of(2) {
        format!("{output}; echo {number} > \"$KRUNTIME_ARTIFACTS_DIR/f\"")
    } else {
        output
    }
}

/// A success has its output and its artifact, which is there and nothing else.
fn check_left(home: &Path, run: &Run) -> anyhow::Result<()> {
    let (status, name) = (run.status.as_ref().context("no status")?, run.name_any());
    let number = name.trim_start_matches("crash-");
    let outputs: Vec<_> = status.outputs.iter().collect();
    ensure!(outputs == [(&"n".to_owned(), &number.to_owned())], "outputs {outputs:?}");
    let refs: Vec<&str> = status.artifact_refs.iter().map(|one| one.name.as_str()).collect();
    let wanted: &[&str] = if number.parse::<usize>()?.is_multiple_of(2) { &[] } else { &["f"] };
    ensure!(refs == wanted, "artifacts {refs:?}");
    // It may be deleted by now, and what was kept with it.
    if run.spec.ttl_seconds_after_finished.is_some() {
        return Ok(());
    }
    let own = artifacts(home).join(run.uid().unwrap_or_default());
    let entries = fs::read_dir(&own).into_iter().flatten();
    let kept =
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()?;
    ensure!(kept == wanted, "kept {kept:?}");
    if !wanted.is_empty() {
        let content = fs::read_to_string(own.join("f"))?;
        ensure!(content == format!("{number}\n"), "content {content:?}");
    }
    Ok(())
}

/// Where the ready-made Runtimes of a home keep what Runs leave behind.
fn artifacts(home: &Path) -> PathBuf {
    home.join("volumes/default/artifacts/namespaces/default/runs")
}

/// Workspaces that still hold something of a Run.
fn leftovers(pods: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut left = Vec::new();
    for pod in fs::read_dir(pods)? {
        let workspace = pod?.path().join("workspace");
        // The Runtime Server's place for temporary directories stays.
        let temporary = workspace.join(".tmp");
        for directory in [&workspace, &temporary] {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                left.push(entry?.path());
            }
        }
        left.retain(|path| *path != temporary);
    }
    Ok(left)
}

//! `cargo xtask bench`: the local home beside the machine's own floor, in rounds of one run.
//!
//! The load generator is this process: over TLS, with its watch on a connection of its own. The floor is the bare
//! fork+exec+wait of `bash -c true`. Figures are medians of the rounds, with their range.

use crate::cargo::cargo;
use crate::generate::root;
use crate::home::{self, Home};
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use kruntimes_api::Run;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

const ROUNDS: usize = 7;
const ONE_BY_ONE: usize = 50;
const AT_ONCE: usize = 64;
const AT_ONCE_RUNS: usize = 400;
const SPAWNS: usize = 300;

/// Builds krt and this tool in release and starts the measurement: a debug load generator would take more of the
/// machine than what it measures.
pub(crate) fn run() -> anyhow::Result<()> {
    home::build(home::Build::Release)?;
    let status = cargo()
        .args(["run", "--quiet", "--release", "--package", "xtask", "--", "bench", "measure"])
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "the measurement failed");
    Ok(())
}

/// Measures and prints the figures.
pub(crate) fn measure_all() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let krt = home::build(home::Build::Release)?;
    let mut starts: Vec<f64> = Vec::new();
    for _ in 0..ROUNDS {
        starts.push(Home::start(&krt)?.ready_after.as_secs_f64() * 1e3);
    }
    let home = Home::start(&krt)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&home))?;
    print_figure("krt local up, start to ready [ms]", &mut starts);
    print_memory(home.pid())
}

async fn measure(home: &Home) -> anyhow::Result<()> {
    let load = Load::new(home).await?;
    for _ in 0..20 {
        load.run_one().await?;
    }
    let (mut latency, mut tail, mut alone, mut floor, mut single) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    let (mut ratio_one, mut ratio_many, mut many) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
    for _ in 0..ROUNDS {
        let bare_one = spawn_rate(1)?;
        let mut times = Vec::new();
        let started = Instant::now();
        for _ in 0..ONE_BY_ONE {
            times.push(load.run_one().await?.as_secs_f64() * 1e3);
        }
        let rate_one = ONE_BY_ONE as f64 / started.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        latency.push(times[times.len() / 2]);
        tail.push(times[times.len() * 95 / 100]);
        alone.push(rate_one);
        single.push(bare_one);
        ratio_one.push(rate_one / bare_one);
        let bare_many = spawn_rate(2)?;
        let rate = load.run_many().await?;
        floor.push(bare_many);
        many.push(rate);
        ratio_many.push(rate / bare_many);
    }
    println!("median of {ROUNDS} rounds (lowest to highest)");
    print_figure("one at a time, p50 [ms]", &mut latency);
    print_figure("one at a time, p95 [ms]", &mut tail);
    print_figure("one at a time [Runs/s]", &mut alone);
    print_figure("floor: bash -c true, one worker [/s]", &mut single);
    print_figure("one at a time / floor", &mut ratio_one);
    print_figure("64 in flight [Runs/s]", &mut many);
    print_figure("floor: bash -c true, two workers [/s]", &mut floor);
    print_figure("64 in flight / floor", &mut ratio_many);
    Ok(())
}

fn print_figure(name: &str, figures: &mut [f64]) {
    figures.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (figures.first(), figures.last()) else { return };
    let median = figures[figures.len() / 2];
    println!("{name:<42} {median:>9.2}   ({low:.2} to {high:.2})");
}

/// Creates Runs and waits for their ends on one watch.
struct Load {
    runs: Api<Run>,
    waits: mpsc::UnboundedSender<(String, oneshot::Sender<()>)>,
}

impl Load {
    async fn new(home: &Home) -> anyhow::Result<Self> {
        let runs = Api::default_namespaced(client(home).await?);
        let watched: Api<Run> = Api::default_namespaced(client(home).await?);
        let (waits, receiver) = mpsc::unbounded_channel();
        tokio::spawn(ends(watched, receiver));
        Ok(Self { runs, waits })
    }

    async fn run_one(&self) -> anyhow::Result<Duration> {
        let run = Run {
            metadata: ObjectMeta {
                generate_name: Some("bench-".to_owned()),
                ..ObjectMeta::default()
            },
            spec: kruntimes_api::RunSpec {
                runtime: "bash".to_owned(),
                args: vec!["true".to_owned()],
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

    async fn run_many(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let runs = futures::stream::iter(0..AT_ONCE_RUNS).map(|_| self.run_one());
        let ended: Vec<Duration> = runs.buffer_unordered(AT_ONCE).try_collect().await?;
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

async fn client(home: &Home) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(home.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Bare fork+exec+wait of `bash -c true`, by so many threads.
fn spawn_rate(workers: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            std::thread::spawn(move || -> anyhow::Result<()> {
                for _ in 0..SPAWNS / workers {
                    let mut command = Command::new("/bin/bash");
                    command.args(["-c", "true"]).stdin(Stdio::null());
                    ensure!(command.status()?.success(), "bash failed");
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
    }
    Ok((SPAWNS / workers * workers) as f64 / started.elapsed().as_secs_f64())
}

/// PSS of the home's processes by role.
fn print_memory(home: u32) -> anyhow::Result<()> {
    let mut total = 0.0;
    for pid in std::iter::once(home).chain(descendants(home)?) {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let role = words.iter().skip(1).take(2).map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let Ok(rollup) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
            continue;
        };
        let kib = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .unwrap_or(0.0);
        total += kib;
        println!(
            "memory, {:<33} {:>9.2} MiB PSS",
            format!("{} ({role})", name.trim()),
            kib / 1024.0
        );
    }
    println!("memory, all {:>41.2} MiB PSS", total / 1024.0);
    Ok(())
}

fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse::<u32>().ok()) {
            parents.insert(pid, parent);
        }
    }
    let mut found = vec![root];
    let mut index = 0;
    while index < found.len() {
        let parent = found[index];
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        index += 1;
    }
    found.remove(0);
    Ok(found)
}

//! `cargo xtask bench`: the local home beside the machine's own floor, in rounds of one run.
//!
//! The load generator is this process: over TLS, with its watch on a connection of its own. The floor is the bare
//! fork+exec+wait of `bash -c true`. Figures are medians of the rounds, with their range.

pub(crate) mod languages;
pub(crate) mod workflows;

use crate::cargo::cargo;
use crate::generate::root;
use crate::home::{self, Home};
use crate::load::{Load, Work};
use crate::processes;
use anyhow::ensure;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(crate) const ROUNDS: usize = 7;
const ONE_BY_ONE: usize = 50;
const AT_ONCE: usize = 64;
/// Pods of the home's Runtime `bash`.
const PODS: usize = 2;
const AT_ONCE_RUNS: usize = 400;
const SPAWNS: usize = 300;
const PROCESSOR_RUNS: usize = 2000;
const TRUE: [Work; 1] = [("bash", "true")];

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

/// Measures what a start of bash takes, supervised and confined, beside a bare one, in the same round.
pub(crate) fn starts() -> anyhow::Result<()> {
    let status = cargo()
        .args(["test", "--quiet", "--release", "--package", "kruntimes-confine"])
        .args(["--test", "processes", "--", "rates"])
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
    runtime.block_on(async {
        // All that are in flight have a slot: else they wait in line, and the figure is of fewer.
        Load::widen(&home, AT_ONCE / PODS).await?;
        measure(&home).await
    })?;
    print_figure("krt local up, start to ready [ms]", &mut starts);
    print_memory(home.pid())
}

/// Processor time of a Run, by process, with 64 in flight, beside that of `bash -c true`: of any binary, on a machine
/// that may be busy.
pub(crate) fn processor_time(krt: &Path) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let home = Home::start(krt)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        Load::widen(&home, AT_ONCE / PODS).await?;
        let load = Load::new(&home, &TRUE).await?;
        load.run_many(AT_ONCE_RUNS, AT_ONCE).await?;
        let before = processes::of_home(home.pid())?;
        load.run_many(PROCESSOR_RUNS, AT_ONCE).await?;
        let mut total = 0.0;
        for process in processes::of_home(home.pid())? {
            let start =
                before.iter().find(|known| known.pid == process.pid).map_or(0, |known| known.ticks);
            let millis = (process.ticks - start) as f64 * 10.0 / PROCESSOR_RUNS as f64;
            total += millis;
            println!("processor time, {:<33} {millis:>7.2} ms a Run", process.role);
        }
        println!("processor time, {:<33} {total:>7.2} ms a Run", "all");
        anyhow::Ok(())
    })?;
    let this = std::process::id();
    let mine = |list: Vec<processes::Process>| {
        list.iter().find(|one| one.pid == this).map_or(0, |one| one.ticks)
    };
    let before = mine(processes::of_home(this)?);
    spawn_rate(2)?;
    let bare = (mine(processes::of_home(this)?) - before) as f64 * 10.0 / SPAWNS as f64;
    println!("processor time, {:<33} {bare:>7.2} ms", "bash -c true, bare");
    Ok(())
}

async fn measure(home: &Home) -> anyhow::Result<()> {
    let load = Load::new(home, &TRUE).await?;
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
        latency.push(percentile(&mut times, 50));
        tail.push(percentile(&mut times, 95));
        alone.push(rate_one);
        single.push(bare_one);
        ratio_one.push(rate_one / bare_one);
        let bare_many = spawn_rate(2)?;
        let rate = load.run_many(AT_ONCE_RUNS, AT_ONCE).await?;
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

/// Below it are so many of a hundred figures. There must be one.
pub(crate) fn percentile(figures: &mut [f64], of_hundred: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() * of_hundred / 100]
}

pub(crate) fn print_figure(name: &str, figures: &mut [f64]) {
    if figures.is_empty() {
        return;
    }
    let median = percentile(figures, 50);
    let (low, high) = (figures[0], figures[figures.len() - 1]);
    println!("{name:<42} {median:>9.2}   ({low:.2} to {high:.2})");
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
    for process in processes::of_home(home)? {
        total += process.pss_kib;
        let mib = process.pss_kib / 1024.0;
        println!("memory, {:<33} {mib:>9.2} MiB PSS", process.role);
    }
    println!("memory, all {:>41.2} MiB PSS", total / 1024.0);
    Ok(())
}

//! `cargo xtask e2e leak` and `cargo xtask soak`: what a local home holds after many Runs and their deletion.
//!
//! After a warm-up, each process must have no more descriptors and threads and at most 1.05 times the memory (PSS) that
//! it had before, there must be the same processes and as many files, and a kept Run must cost at most 8 KiB. Pages of
//! files count as they were at the start: other work on the machine evicts them and lets them come back.

use crate::home::{self, Home};
use crate::load::{self, Load, Work};
use crate::processes::{self, Process};
use anyhow::ensure;
use kruntimes_api::Run;
use kube::api::{Api, DeleteParams, ListParams};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many Runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Before the first look.
    warm_up: usize,
    /// Between the first look and the last.
    runs: usize,
}

/// For every change. The warm-up is long enough to fill what is kept for watches that come back.
pub(crate) const QUICK: Counts = Counts { warm_up: 1_000, runs: 1_000 };
/// For a release. As many before as between the looks: freed memory that lies among what is kept is no leak, and is there
/// after the first ten thousand already.
pub(crate) const FULL: Counts = Counts { warm_up: 10_000, runs: 10_000 };

/// bash and Python in turn.
const WORK: [Work; 2] = [
    ("bash", "echo one line; echo and another >&2"),
    (
        "python",
        "import sys, json, threading; print('one line'); print('and another', file=sys.stderr)",
    ),
];
const AT_ONCE: usize = 32;
/// The most that a process may have in the end, of what it had at the start.
const GROWTH: f64 = 1.05;
/// The most that a Run may cost while it is kept, in all processes.
const RUN_KIB: f64 = 8.0;
/// Threads that wait for work, changes kept for watches that come back (75 s) and freed memory go back within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(150);
const DELETED_WITHIN: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(500);

/// What the home holds.
#[derive(Debug, Clone)]
struct Sample {
    processes: Vec<Process>,
    files: usize,
}

impl Sample {
    fn take(home: &Home) -> anyhow::Result<Self> {
        Ok(Self {
            processes: processes::of_home(home.pid())?,
            files: count_files(home.directory())?,
        })
    }

    fn pss_kib(&self) -> f64 {
        self.processes.iter().map(|process| process.pss_kib).sum()
    }

    /// Without the pages of files.
    fn own_kib(&self) -> f64 {
        self.processes.iter().map(|process| process.pss_kib - process.file_kib).sum()
    }

    /// What is more than it was.
    fn findings(&self, start: &Self) -> Vec<String> {
        let mut findings = Vec::new();
        if self.files != start.files {
            findings.push(format!("{} files, {} at the start", self.files, start.files));
        }
        for process in &self.processes {
            let name = format!("{}, pid {}", process.role, process.pid);
            match start.processes.iter().find(|former| former.pid == process.pid) {
                None => findings.push(format!("{name}: a process that was not there")),
                Some(former) => findings.extend(
                    grown(process, former).into_iter().map(|what| format!("{name}: {what}")),
                ),
            }
        }
        let gone = |former: &&Process| self.processes.iter().all(|now| now.pid != former.pid);
        for former in start.processes.iter().filter(gone) {
            findings.push(format!("{}, pid {}: the process is gone", former.role, former.pid));
        }
        findings
    }
}

fn grown(now: &Process, start: &Process) -> Vec<String> {
    let mut findings = Vec::new();
    let (now_kib, start_kib) = (now.pss_kib - now.file_kib + start.file_kib, start.pss_kib);
    if now_kib > start_kib * GROWTH {
        let (now, start) = (now_kib, start_kib);
        findings.push(format!(
            "{now:.0} KiB, {start:.0} at the start: {:.3} times, the limit is {GROWTH}",
            now / start
        ));
    }
    // Fewer means that at the start some connections were still idle.
    if now.descriptors > start.descriptors {
        findings
            .push(format!("{} descriptors, {} at the start", now.descriptors, start.descriptors));
    }
    if now.threads > start.threads {
        findings.push(format!("{} threads, {} at the start", now.threads, start.threads));
    }
    findings
}

/// Runs the whole check.
pub(crate) fn run(counts: Counts) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let krt = home::build(home::Build::Dev)?;
    let home = Home::start_with(&krt, &[], &["--runtimes=bash,python"])?;
    run_many(&home, counts.warm_up)?;
    delete_all(&home)?;
    let start = settled(&home)?;
    print("start", &start);
    run_many(&home, counts.runs)?;
    let kept = settled(&home)?;
    print("kept", &kept);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let run_kib = (kept.own_kib() - start.own_kib()) / counts.runs as f64;
    println!("leak: {run_kib:.2} KiB a Run while {} are kept", counts.runs);
    delete_all(&home)?;
    let (end, mut findings) = settles_to(&home, &start)?;
    print("end", &end);
    if run_kib > RUN_KIB {
        findings.push(format!("a kept Run costs {run_kib:.2} KiB, the limit is {RUN_KIB}"));
    }
    ensure!(findings.is_empty(), "the home holds more than before:\n  {}", findings.join("\n  "));
    println!("1 passed, 0 failed");
    Ok(())
}

/// So many Runs to their ends, on connections that are closed afterwards.
fn run_many(home: &Home, count: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rate =
        runtime.block_on(async { Load::new(home, &WORK).await?.run_many(count, AT_ONCE).await })?;
    println!("leak: {count} Runs, {rate:.0} a second");
    Ok(())
}

/// All at once: kubectl would delete them one by one, five a second.
fn delete_all(home: &Home) -> anyhow::Result<()> {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let runs: Api<Run> = Api::default_namespaced(load::client(home).await?);
        runs.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let one = ListParams::default().limit(1);
        while !runs.list_metadata(&one).await?.items.is_empty() {
            ensure!(started.elapsed() < DELETED_WITHIN, "Runs are still there");
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    })?;
    println!("leak: their deletion took {} s", started.elapsed().as_secs());
    Ok(())
}

/// The home once nothing has fallen for as long as idle threads and freed memory may take to go back.
fn settled(home: &Home) -> anyhow::Result<Sample> {
    let started = Instant::now();
    let mut lowest = Sample::take(home)?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET && started.elapsed() < SETTLES_WITHIN {
        std::thread::sleep(LOOK);
        let now = Sample::take(home)?;
        if is_less(&now, &lowest) {
            since = Instant::now();
            lowest = now;
        }
    }
    Ok(lowest)
}

const QUIET: Duration = Duration::from_secs(100);

fn is_less(now: &Sample, before: &Sample) -> bool {
    let counts = |sample: &Sample| {
        let each = sample.processes.iter();
        each.map(|process| process.descriptors + process.threads).sum::<usize>()
            + sample.files
            + sample.processes.len()
    };
    counts(now) < counts(before) || now.pss_kib() < before.pss_kib() * 0.99
}

/// The home as soon as it holds no more than at the start, or what it holds when the time is over.
fn settles_to(home: &Home, start: &Sample) -> anyhow::Result<(Sample, Vec<String>)> {
    let started = Instant::now();
    loop {
        let now = Sample::take(home)?;
        let findings = now.findings(start);
        if findings.is_empty() || started.elapsed() >= SETTLES_WITHIN {
            return Ok((now, findings));
        }
        std::thread::sleep(LOOK);
    }
}

fn count_files(directory: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut stack = vec![directory.to_owned()];
    while let Some(next) = stack.pop() {
        // What is removed meanwhile is no file any more.
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries {
            let entry = entry?;
            // Directories that wait for their next use are as many as Runs ended at once, at most as many as slots.
            if entry.file_name().as_encoded_bytes().starts_with(b".spare-") {
                continue;
            }
            count += 1;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                stack.push(entry.path());
            }
        }
    }
    Ok(count)
}

fn print(when: &str, sample: &Sample) {
    for process in &sample.processes {
        let Process { role, pss_kib, file_kib, descriptors, threads, .. } = process;
        println!(
            "leak, {when:<5} {role:<40} {pss_kib:>8.0} KiB ({file_kib:.0} of files) {descriptors:>4} descriptors {threads:>3} threads"
        );
    }
    println!(
        "leak, {when:<5} {:<40} {:>8.0} KiB {:>4} files",
        "all",
        sample.pss_kib(),
        sample.files
    );
}

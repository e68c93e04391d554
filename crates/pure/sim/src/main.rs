//! `cargo xtask sim`: seeds on two threads, a line of counts, and the last events of a seed that breaks a promise.
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_sim::{Counts, Detail, Faults, Report, run};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const THREADS: usize = 2;
/// Every so many seeds nothing goes wrong.
const CALM_EVERY: u64 = 16;
/// A mutant is tried for so many seeds.
const MUTANT_SEEDS: u64 = 1000;

#[derive(Debug, Default)]
struct Arguments {
    seeds: u64,
    from: u64,
    detail: Option<Detail>,
    mutants: bool,
    only: Option<String>,
}

fn main() -> ExitCode {
    let Some(arguments) = read(std::env::args().skip(1)) else {
        println!("usage: sim [--seeds N] [--from S] [--trace] [--mutants] [--mutant NAME]");
        return ExitCode::FAILURE;
    };
    let well = match (&arguments.only, arguments.mutants) {
        (Some(name), _) => {
            let wanted = Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == *name);
            mutant::activate(wanted.copied());
            one(&arguments)
        }
        (None, true) => mutants(arguments.from),
        (None, false) if arguments.detail.is_some() => one(&arguments),
        (None, false) => seeds(&arguments),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments { seeds: 1000, ..Arguments::default() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => arguments.seeds = words.next()?.parse().ok()?,
            "--from" => arguments.from = words.next()?.parse().ok()?,
            "--trace" => arguments.detail = Some(Detail::All),
            "--mutants" => arguments.mutants = true,
            "--mutant" => arguments.only = Some(words.next()?),
            _ => return None,
        }
    }
    Some(arguments)
}

const fn faults(seed: u64) -> Faults {
    if seed.is_multiple_of(CALM_EVERY) { Faults::None } else { Faults::Drawn }
}

/// One seed after another, with all that happens.
fn one(arguments: &Arguments) -> bool {
    let mut well = true;
    for seed in arguments.from..arguments.from + arguments.seeds {
        let report = run(seed, faults(seed), arguments.detail.unwrap_or(Detail::Last));
        if arguments.detail.is_some() || !report.violations.is_empty() {
            tell(seed, &report);
        }
        well &= report.violations.is_empty();
        if !well {
            break;
        }
    }
    well
}

fn tell(seed: u64, report: &Report) {
    report.lines.iter().for_each(|line| println!("{line}"));
    for violation in &report.violations {
        println!("seed {seed}: {}: {}", violation.promise, violation.what);
    }
    println!("seed {seed}: hash {:016x}", report.hash);
}

fn seeds(arguments: &Arguments) -> bool {
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let total = Mutex::new(Counts::default());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(seed, faults(seed), Detail::Hash);
                    if let Ok(mut total) = total.lock() {
                        total.add(&report.counts);
                    }
                    if !report.violations.is_empty()
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push((seed, report.violations));
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_default();
    let mut failed = failed.into_inner().unwrap_or_default();
    failed.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, _)) = failed.first() {
        tell(*seed, &run(*seed, faults(*seed), Detail::Last));
        println!("replay: cargo xtask sim --trace --seeds 1 --from {seed}");
    }
    for (seed, violations) in &failed {
        for violation in violations {
            println!("seed {seed}: {}: {}", violation.promise, violation.what);
        }
    }
    let gaps = total.gaps();
    gaps.iter().for_each(|gap| println!("too seldom: {gap}"));
    println!("{total}");
    failed.is_empty() && gaps.is_empty()
}

/// Each seeded bug must be found.
fn mutants(from: u64) -> bool {
    let all: Vec<Mutant> = Mutant::common().collect();
    let next = AtomicU64::new(0);
    let found = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
                    let Some(mutant) = all.get(at) else { return };
                    if hunt(*mutant, from) {
                        found.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let found = found.into_inner();
    println!("{found} of {} found", all.len());
    found == all.len() as u64
}

fn hunt(mutant: Mutant, from: u64) -> bool {
    mutant::activate(Some(mutant));
    let hit = (from..from + MUTANT_SEEDS).find_map(|seed| {
        let report = run(seed, faults(seed), Detail::Hash);
        report.violations.into_iter().next().map(|violation| (seed, violation))
    });
    mutant::activate(None);
    match &hit {
        Some((seed, violation)) => println!(
            "{mutant:?} ({}): seed {seed}: {}: {}",
            mutant.what(),
            violation.promise,
            violation.what
        ),
        None => println!("{mutant:?} ({}): NOT FOUND", mutant.what()),
    }
    hit.is_some()
}

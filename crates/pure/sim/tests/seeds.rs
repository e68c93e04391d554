//! A few seeds, the same twice, and those that once broke a promise.

use kruntimes_sim::{Counts, Detail, Faults, run};

fn holds(seed: u64, faults: Faults) -> Counts {
    let report = run(seed, faults, Detail::Hash);
    let told = run_again(seed, faults, report.violations.is_empty());
    assert!(report.violations.is_empty(), "seed {seed}: {:?}\n{told}", report.violations);
    report.counts
}

/// The last events of a seed that breaks a promise.
fn run_again(seed: u64, faults: Faults, well: bool) -> String {
    if well { String::new() } else { run(seed, faults, Detail::Last).lines.join("\n") }
}

#[test]
fn the_promises_hold_with_faults_and_without() {
    let mut total = Counts::default();
    for seed in 0..10 {
        total.add(&holds(seed, Faults::Drawn));
        total.add(&holds(seed, Faults::None));
    }
    assert!(total.starts > 100 && total.faults.len() > 20 && total.checks > 1000, "{total}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut hashes = std::collections::BTreeSet::new();
    for seed in 100..105 {
        let hash = |detail| run(seed, Faults::Drawn, detail).hash;
        assert_eq!(hash(Detail::Hash), hash(Detail::All), "seed {seed}");
        hashes.insert(hash(Detail::Hash));
    }
    assert_eq!(hashes.len(), 5);
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let seeds = include_str!("../regressions.txt").lines().filter(|line| !line.starts_with('#'));
    let mut replayed = 0;
    for line in seeds {
        let seed = line.split(' ').next().unwrap().parse().unwrap();
        holds(seed, Faults::Drawn);
        replayed += 1;
    }
    assert!(replayed > 0);
}

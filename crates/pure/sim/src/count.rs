//! What happened, counted: a simulation that never meets a case proves nothing about it.

use crate::faults::Fault;
use crate::points::{Effect, Side};
use kruntimes_api::Phase;
use kruntimes_rules::run::phase::{Writer, legal};
use std::collections::BTreeMap;
use std::fmt;

/// Counts of one seed, or of many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Seeds.
    pub seeds: u64,
    /// Runs that clients created.
    pub runs: u64,
    /// Events that were handled.
    pub steps: u64,
    /// Workflows that clients created.
    pub workflows: u64,
    /// Children of Workflows that were created.
    pub children: u64,
    /// Workflows amid their run that another controller has taken up.
    pub taken_up: u64,
    /// Workflows that were held against what they come to without faults.
    pub compared: u64,
    /// Processes that started.
    pub starts: u64,
    /// How often a pod killed what executed for want of a renewal.
    pub fenced: u64,
    /// Decisions of schedulers.
    pub decisions: u64,
    /// Checks of promises.
    pub checks: u64,
    /// Promises that were broken.
    pub violations: u64,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Crashes by point.
    pub crashes: BTreeMap<(Effect, Side), u64>,
    /// Changes of phase by writer.
    pub transitions: BTreeMap<(Phase, Phase, Writer), u64>,
}

impl Counts {
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn crash(&mut self, effect: Effect, side: Side) {
        *self.crashes.entry((effect, side)).or_default() += 1;
    }

    pub(crate) fn transition(&mut self, from: Phase, to: Phase, writer: Writer) {
        *self.transitions.entry((from, to, writer)).or_default() += 1;
    }

    /// Adds the counts of another seed.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.runs += other.runs;
        self.steps += other.steps;
        self.workflows += other.workflows;
        self.children += other.children;
        self.taken_up += other.taken_up;
        self.compared += other.compared;
        self.starts += other.starts;
        self.fenced += other.fenced;
        self.decisions += other.decisions;
        self.checks += other.checks;
        self.violations += other.violations;
        merge(&mut self.faults, &other.faults);
        merge(&mut self.crashes, &other.crashes);
        merge(&mut self.transitions, &other.transitions);
    }

    /// What was met too seldom to say something about it.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let mut need = |what: String, found: u64, of_ten_thousand: u64| {
            let wanted = (of_ten_thousand * self.seeds / 10_000).max(1);
            if found < wanted {
                gaps.push(format!("{what}: {found} of {wanted}"));
            }
        };
        need("Workflows".to_owned(), self.workflows, 5000);
        need("children of Workflows".to_owned(), self.children, 20_000);
        need("Workflows that are taken up amid their run".to_owned(), self.taken_up, 2000);
        need("Workflows that are compared".to_owned(), self.compared, 2000);
        for fault in Fault::ALL {
            let found = self.faults.get(&fault).copied().unwrap_or(0);
            need(format!("fault {fault:?}"), found, 1000);
        }
        for effect in Effect::ALL {
            for side in [Side::Before, Side::After] {
                let found = self.crashes.get(&(effect, side)).copied().unwrap_or(0);
                need(format!("crash {side:?} {effect:?}"), found, 100);
            }
        }
        for (from, to, writer) in table().filter(|pair| !NOT_MODELLED.contains(pair)) {
            let found = self.transitions.get(&(from, to, writer)).copied().unwrap_or(0);
            need(format!("{from} -> {to} by {writer:?}"), found, 100);
        }
        for (from, to, writer) in NOT_MODELLED {
            if self.transitions.contains_key(&(from, to, writer)) {
                gaps.push(format!("{from} -> {to} by {writer:?} is met: it is to be counted"));
            }
        }
        gaps
    }
}

/// A runtimed names the store before it keeps artifacts. Here a store has one name from the start; runtimed's own tests
/// write it.
const NOT_MODELLED: [(Phase, Phase, Writer); 1] =
    [(Phase::Running, Phase::Running, Writer::Runtimed)];

/// Every legal transition with each of its writers.
fn table() -> impl Iterator<Item = (Phase, Phase, Writer)> {
    let pairs = Phase::ALL.into_iter().flat_map(|from| Phase::ALL.map(|to| (from, to)));
    let all = pairs.flat_map(|(from, to)| Writer::ALL.map(|writer| (from, to, writer)));
    all.filter(|(from, to, writer)| legal(*from, *to, *writer))
}

fn merge<K: Ord + Copy>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(*key).or_default() += count;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults:")?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {count:>9} {fault:?}")?;
        }
        writeln!(f, "crashes:")?;
        for ((effect, side), count) in &self.crashes {
            writeln!(f, "  {count:>9} {side:?} {effect:?}")?;
        }
        writeln!(f, "transitions:")?;
        for ((from, to, writer), count) in &self.transitions {
            writeln!(f, "  {count:>9} {from} -> {to} by {writer:?}")?;
        }
        let sum = |counts: &mut dyn Iterator<Item = &u64>| counts.sum::<u64>();
        write!(
            f,
            "{} seeds: {} runs, {} workflows with {} children, {} taken up amid, {} compared, {} starts, {} steps, {} faults of {} kinds, {} crashes at {} points, {} transitions of {} kinds, {} fenced, {} promises checked, {} violations",
            self.seeds,
            self.runs,
            self.workflows,
            self.children,
            self.taken_up,
            self.compared,
            self.starts,
            self.steps,
            sum(&mut self.faults.values()),
            self.faults.len(),
            sum(&mut self.crashes.values()),
            self.crashes.len(),
            sum(&mut self.transitions.values()),
            self.transitions.len(),
            self.fenced,
            self.checks,
            self.violations
        )
    }
}

//! What a store holds of Runs that there are no more: a crash at the wrong moment, or a finalizer that somebody took away.

use std::collections::BTreeSet;

/// Looks at what a store holds, again and again.
#[derive(Debug, Clone, Default)]
pub struct Sweep<K> {
    suspects: BTreeSet<K>,
}

impl<K: Ord + Clone> Sweep<K> {
    /// Nothing was looked at yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { suspects: BTreeSet::new() }
    }

    /// What is to be removed of what was `found`: what no Run is `known` of, now and at the look before. A Run whose artifacts
    /// are being kept may not be known yet.
    pub fn orphans(&mut self, found: BTreeSet<K>, known: impl Fn(&K) -> bool) -> Vec<K> {
        let unknown: BTreeSet<K> = found.into_iter().filter(|one| !known(one)).collect();
        let orphans = unknown.intersection(&self.suspects).cloned().collect();
        self.suspects = unknown;
        orphans
    }
}

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

/// Looks at what a bucket holds, which others may share and which may be too large for one look: a stretch of it at a time, each twice.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    from: Option<String>,
    is_second: bool,
    sweep: Sweep<String>,
    others: BTreeSet<String>,
}

impl Stretch {
    /// Nothing was looked at yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { from: None, is_second: false, sweep: Sweep::new(), others: BTreeSet::new() }
    }

    /// Where the stretch begins that is to be looked at.
    #[must_use]
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// What may be removed of what was `found` up to `next`, as [`Sweep::orphans`] says it, without what is others': the first so
    /// many. The next stretch comes when none is left.
    pub fn orphans(
        &mut self,
        found: BTreeSet<String>,
        next: Option<String>,
        most: usize,
        known: impl Fn(&String) -> bool,
    ) -> Vec<String> {
        self.others.retain(|uid| found.contains(uid));
        let others = &self.others;
        let mut orphans = self.sweep.orphans(found, |uid| known(uid) || others.contains(uid));
        let is_all = orphans.len() <= most;
        orphans.truncate(most);
        if self.from.is_none() && next.is_none() {
            // All of it is one stretch.
            self.is_second = false;
        } else if self.is_second && is_all {
            (self.from, self.is_second, self.sweep) = (next, false, Sweep::new());
        } else {
            self.is_second = true;
        }
        orphans
    }

    /// What there is of this Run is others': it is not looked at again in this stretch.
    pub fn is_others(&mut self, run_uid: String) {
        self.others.insert(run_uid);
    }
}

/// Whether this is a UID as API servers give them: a bucket may have other names beside them.
#[must_use]
pub fn is_run_uid(name: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut groups = name.split('-');
    let all = GROUPS.iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == *length && group.bytes().all(is_hex))
    });
    all && groups.next().is_none()
}

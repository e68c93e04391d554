//! The watches of a role beside the one of its leader's Lease, each with what it has shown.

use crate::core::Core;
use crate::leader::SLOT;
use crate::message::{Address, Shown};
use crate::schema::Kind;
use crate::store::{Code, Reply};
use crate::watch::{Known, Observed, Seen, Watch};

#[derive(Debug)]
struct Source {
    watch: Watch,
    known: Known,
    synced: bool,
}

/// In the order in which they were opened.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    /// Opens one for each kind, with the selectors of its labels and fields.
    pub(crate) fn open(&mut self, core: &mut Core, me: Address, all: &[(Kind, &str, &str)]) {
        for (kind, labels, fields) in all {
            let slot = SLOT + 1 + self.0.len();
            let mut watch = Watch::new(me, slot, *kind, labels, fields);
            watch.start(core);
            self.0.push(Source { watch, known: Known::default(), synced: false });
        }
    }

    pub(crate) fn are_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether each has shown everything once.
    pub(crate) fn all_synced(&self) -> bool {
        self.are_open() && self.0.iter().all(|source| source.synced)
    }

    /// What an event of the watch in this slot tells: which watch it is, and what was observed.
    pub(crate) fn shown(
        &mut self,
        core: &mut Core,
        slot: usize,
        session: u64,
        event: Shown,
    ) -> (usize, Vec<Observed>) {
        let at = slot - SLOT - 1;
        let Some(source) = self.0.get_mut(at) else { return (at, Vec::new()) };
        let seen = source.watch.shown(core, session, event);
        (at, source.observe(seen))
    }

    pub(crate) fn resume(&mut self, core: &mut Core, slot: usize) {
        if let Some(source) = self.0.get_mut(slot - SLOT - 1) {
            source.watch.resume(core);
        }
    }

    /// Takes an answer, as [`Sources::shown`]; none where it is to no watch.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        call: u64,
        result: &Result<Reply, Code>,
    ) -> Option<(usize, Vec<Observed>)> {
        self.0.iter_mut().enumerate().find_map(|(at, source)| {
            let seen = source.watch.answered(core, call, result)?;
            Some((at, source.observe(seen)))
        })
    }
}

impl Source {
    fn observe(&mut self, seen: Vec<Seen>) -> Vec<Observed> {
        let known = &mut self.known;
        let all: Vec<_> = seen.into_iter().flat_map(|seen| known.observe(seen)).collect();
        self.synced |= all.iter().any(|observed| matches!(observed, Observed::Synced));
        all
    }
}

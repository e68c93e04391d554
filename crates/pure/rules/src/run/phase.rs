//! The one table of phase changes and who may write them.
//!
//! The CRD's rules, the writers in `io/cluster` and the tests stand on this table.

use kruntimes_api::Phase;

/// Who writes the status of a Run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// Assigns, makes wait, ends what can never run.
    Scheduler,
    /// The runtimed of the assigned pod.
    Runtimed,
    /// Takes a Run from a pod that is lost.
    Controller,
}

impl Writer {
    /// All writers.
    pub const ALL: [Self; 3] = [Self::Scheduler, Self::Runtimed, Self::Controller];
}

/// Whether `writer` may change the phase `from` to `to`.
#[must_use]
pub const fn legal(from: Phase, to: Phase, writer: Writer) -> bool {
    match (from, writer) {
        (Phase::Pending, Writer::Scheduler) => {
            matches!(to, Phase::Pending | Phase::Scheduled | Phase::Cancelled | Phase::Failed)
        }
        (Phase::Scheduled, Writer::Runtimed) => {
            matches!(to, Phase::Running | Phase::Pending) || to.is_terminal()
        }
        // Running again: it keeps artifacts.
        (Phase::Running, Writer::Runtimed) => {
            matches!(to, Phase::Running | Phase::Pending) || to.is_terminal()
        }
        (Phase::Scheduled | Phase::Running, Writer::Controller) => {
            matches!(to, Phase::Pending | Phase::Failed | Phase::Cancelled)
        }
        (Phase::Pending, Writer::Runtimed | Writer::Controller)
        | (Phase::Scheduled | Phase::Running, Writer::Scheduler)
        | (Phase::Succeeded | Phase::Failed | Phase::Timeout | Phase::Cancelled, _) => false,
    }
}

/// Whether any writer may change the phase `from` to `to`.
#[must_use]
pub fn legal_for_any(from: Phase, to: Phase) -> bool {
    Writer::ALL.into_iter().any(|writer| legal(from, to, writer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Cancelled, Failed, Pending, Running, Scheduled, Succeeded, Timeout};
    use Writer::{Controller, Runtimed, Scheduler};

    /// `design.md` §3, "Phases, and who may write them", row by row.
    const TABLE: [(Phase, Phase, &[Writer]); 16] = [
        (Pending, Pending, &[Scheduler]),
        (Pending, Scheduled, &[Scheduler]),
        (Pending, Cancelled, &[Scheduler]),
        (Pending, Failed, &[Scheduler]),
        (Scheduled, Running, &[Runtimed]),
        (Scheduled, Succeeded, &[Runtimed]),
        (Scheduled, Failed, &[Runtimed, Controller]),
        (Scheduled, Timeout, &[Runtimed]),
        (Scheduled, Cancelled, &[Runtimed, Controller]),
        (Scheduled, Pending, &[Runtimed, Controller]),
        (Running, Running, &[Runtimed]),
        (Running, Succeeded, &[Runtimed]),
        (Running, Failed, &[Runtimed, Controller]),
        (Running, Timeout, &[Runtimed]),
        (Running, Cancelled, &[Runtimed, Controller]),
        (Running, Pending, &[Runtimed, Controller]),
    ];

    #[test]
    fn each_of_the_49_pairs_is_legal_for_exactly_the_writers_of_the_table() {
        let mut legal_pairs = 0;
        for from in Phase::ALL {
            for to in Phase::ALL {
                let row = TABLE.iter().find(|row| (row.0, row.1) == (from, to));
                let writers = row.map_or(&[] as &[Writer], |row| row.2);
                for writer in Writer::ALL {
                    let want = writers.contains(&writer);
                    assert_eq!(legal(from, to, writer), want, "{from} -> {to} by {writer:?}");
                }
                assert_eq!(legal_for_any(from, to), row.is_some(), "{from} -> {to}");
                legal_pairs += usize::from(row.is_some());
            }
        }
        assert_eq!(legal_pairs, TABLE.len());
    }

    #[test]
    fn nobody_leaves_a_terminal_phase() {
        for from in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            for to in Phase::ALL {
                assert!(!legal_for_any(from, to), "{from} -> {to}");
            }
        }
    }
}

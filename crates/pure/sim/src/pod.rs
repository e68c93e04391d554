//! A pod as it really is: its machine's disk, its Runtime Server with the processes, and what it was given.

use kruntimes_rules::capacity::Resources;
use kruntimes_rules::run::received::Received;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One pod. A pod of the same name is another one.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) capacity: Resources,
    pub(crate) fence_after: Duration,
    /// Its Runtime Server knows no Renew: what executes there is safe only while its runtimed runs.
    pub(crate) foreign: bool,
    /// Whether a runtimed has opened the journal.
    pub(crate) lived: bool,
    /// The disk of the machine, as its processes see it.
    pub(crate) journal: BTreeMap<String, Entry>,
    pub(crate) workspaces: BTreeSet<String>,
    pub(crate) server: Server,
    pub(crate) life: Life,
    /// Whether the kubelet of its machine reaches the API server at all.
    pub(crate) kubelet_cut_until: Duration,
    /// Rises whenever something stops or stalls a container.
    pub(crate) disturbances: u32,
    /// When a process of the whole pod last began to run again after a pause.
    pub(crate) thawed: Duration,
    pub(crate) frozen_until: Duration,
    /// Until then a call of the server waits for an answer that never comes.
    pub(crate) hung_until: Duration,
}

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Runs,
    /// Its containers are being ended.
    Ends,
    /// No container is left, and the kubelet has yet to say so.
    Ended,
    /// The machine is gone: nobody will say anything.
    Lost,
    /// Nothing is left to do.
    Over,
}

/// A line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) attempt: i32,
    pub(crate) received: Received,
    pub(crate) open: bool,
    pub(crate) durable: bool,
}

/// A Runtime Server.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) table: BTreeMap<String, Execution>,
    /// When all is killed unless a renewal comes.
    pub(crate) until: Option<Duration>,
    /// Calls of Cancel that wait for the death of a process: by Run.
    pub(crate) waiting: BTreeMap<String, Vec<Waiter>>,
}

/// Who waits for a process to be dead.
#[derive(Debug, Clone)]
pub(crate) enum Waiter {
    Cancel(u64),
    /// The same id is to be executed again.
    Execute {
        call: u64,
        attempt: i32,
        timeout: Option<Duration>,
    },
}

/// One execution that the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) attempt: i32,
    pub(crate) state: State,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Runs { process: u64 },
    Ended { exit_code: i32, error: String },
}

/// A process, as it really is.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) run: String,
    pub(crate) attempt: i32,
    pub(crate) pod: usize,
    pub(crate) exit_code: i32,
    pub(crate) ignores_term: bool,
    /// Why it is being killed.
    pub(crate) killed: Option<&'static str>,
    pub(crate) request: std::sync::Arc<Resources>,
}

impl Pod {
    pub(crate) fn is_frozen(&self, now: Duration) -> bool {
        self.frozen_until > now
    }

    /// What an earlier life of runtimed may have left something of.
    pub(crate) fn left(&self) -> BTreeSet<String> {
        let open = self.journal.iter().filter(|(_, entry)| entry.open).map(|(uid, _)| uid.clone());
        open.chain(self.workspaces.iter().cloned()).collect()
    }

    /// The machine loses its power: what was not synced is gone.
    pub(crate) fn lose_power(&mut self) {
        self.journal.retain(|_, entry| entry.durable);
    }
}

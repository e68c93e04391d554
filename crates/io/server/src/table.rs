//! All executions the server knows, by id. What has ended is kept until it is forgotten, within limits.

use crate::execution::Execution;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ended executions that are kept; beyond it the oldest are dropped.
pub(crate) const ENDED_LIMIT: usize = 256;
/// Bytes of output that ended executions may hold together; beyond it the oldest are dropped.
const ENDED_BYTES: usize = 32 * 1024 * 1024;
/// Executions that may run at once.
pub(crate) const RUNNING_LIMIT: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_id: BTreeMap<Arc<str>, Arc<Execution>>,
    /// Oldest first.
    ended: VecDeque<Arc<Execution>>,
    ended_bytes: usize,
}

/// Why an execution was not taken in.
#[derive(Debug)]
pub(crate) enum Refusal {
    Exists(Arc<Execution>),
    TooMany,
}

impl Table {
    pub(crate) fn insert(&self, execution: &Arc<Execution>) -> Result<(), Refusal> {
        let mut entries = self.lock();
        if let Some(existing) = entries.by_id.get(execution.id()) {
            return Err(Refusal::Exists(Arc::clone(existing)));
        }
        if entries.by_id.len() - entries.ended.len() >= RUNNING_LIMIT {
            return Err(Refusal::TooMany);
        }
        entries.by_id.insert(Arc::clone(execution.id()), Arc::clone(execution));
        Ok(())
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Execution>> {
        self.lock().by_id.get(id).map(Arc::clone)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Execution>> {
        self.lock().by_id.values().map(Arc::clone).collect()
    }

    /// Counts `execution` among the ended, and drops the oldest beyond the limits.
    pub(crate) fn retain(&self, execution: &Arc<Execution>) {
        let mut entries = self.lock();
        entries.ended_bytes += execution.kept_bytes();
        entries.ended.push_back(Arc::clone(execution));
        while entries.ended.len() > ENDED_LIMIT || entries.ended_bytes > ENDED_BYTES {
            let Some(oldest) = entries.ended.front().map(Arc::clone) else { return };
            entries.remove(&oldest);
        }
    }

    /// Drops `execution`, unless another one has taken its id.
    pub(crate) fn remove(&self, execution: &Arc<Execution>) {
        self.lock().remove(execution);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, execution: &Arc<Execution>) {
        if let Some(at) = self.ended.iter().position(|other| Arc::ptr_eq(other, execution)) {
            self.ended.remove(at);
            self.ended_bytes -= execution.kept_bytes();
        }
        if self.by_id.get(execution.id()).is_some_and(|known| Arc::ptr_eq(known, execution)) {
            self.by_id.remove(execution.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::{STREAM_LIMIT, Stream};

    fn ended(table: &Table, id: usize, bytes: usize) {
        let execution = Execution::new(&format!("run-{id:04}"));
        table.insert(&execution).unwrap();
        execution.keep(Stream::Stdout, &vec![0; bytes]);
        table.retain(&execution);
    }

    #[test]
    fn the_oldest_ended_go_beyond_the_count() {
        let table = Table::default();
        (0..ENDED_LIMIT + 2).for_each(|id| ended(&table, id, 1));
        assert_eq!(table.all().len(), ENDED_LIMIT);
        assert!(table.get("run-0001").is_none());
        assert!(table.get("run-0002").is_some());
    }

    #[test]
    fn the_oldest_ended_go_beyond_the_bytes() {
        let table = Table::default();
        let fitting = ENDED_BYTES / STREAM_LIMIT;
        (0..=fitting).for_each(|id| ended(&table, id, STREAM_LIMIT));
        assert_eq!(table.all().len(), fitting);
        assert!(table.get("run-0000").is_none());
    }

    #[test]
    fn running_ones_are_refused_beyond_the_limit_and_an_id_is_taken_once() {
        let table = Table::default();
        for id in 0..RUNNING_LIMIT {
            table.insert(&Execution::new(&id.to_string())).unwrap();
        }
        assert!(matches!(table.insert(&Execution::new("0")), Err(Refusal::Exists(_))));
        assert!(matches!(table.insert(&Execution::new("x")), Err(Refusal::TooMany)));
        table.remove(&table.get("0").unwrap());
        assert!(table.insert(&Execution::new("x")).is_ok());
    }

    #[test]
    fn a_successor_is_not_removed_in_place_of_its_predecessor() {
        let table = Table::default();
        let first = Execution::new("a");
        table.insert(&first).unwrap();
        table.remove(&first);
        table.insert(&Execution::new("a")).unwrap();
        table.remove(&first);
        assert!(table.get("a").is_some());
    }
}

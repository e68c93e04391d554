//! Output of Runs on disk: bounded per stream and in all, readable while they run and after.
//!
//! One file a Run, `<control>/logs/<uid>`, made at its first output. The newest attempt replaces the former.
//! It goes with its Run; when the limits in all are reached, the Runs that ended first go.

mod frame;
mod log;

pub(crate) use frame::{Frame, Stream};
pub(crate) use log::{Log, Next, Reader, STREAM_BYTES, Stage};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept of all Runs together.
const TOTAL_BYTES: u64 = 64 * 1024 * 1024;
/// Of how many ended Runs something is kept.
const ENDED_RUNS: usize = 1000;

#[derive(Debug, Default)]
struct Inner {
    logs: BTreeMap<String, Arc<Log>>,
    /// Ended Runs, the first to end in front.
    ended: VecDeque<Arc<Log>>,
}

/// The logs of this pod.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    directory: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

impl Spool {
    /// Opens `<control>/logs` with what an earlier life left there.
    pub(crate) fn open(control: &Path) -> io::Result<Self> {
        let directory = control.join("logs");
        fs::create_dir_all(&directory)?;
        let mut found: Vec<(std::time::SystemTime, String)> = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            found.push((modified, entry.file_name().to_string_lossy().into_owned()));
        }
        found.sort();
        let spool = Self { directory, inner: Arc::default() };
        for (_, uid) in found {
            match Log::load(&spool.directory, &uid) {
                Ok(log) => {
                    let log = Arc::new(log);
                    spool.lock().logs.insert(uid, Arc::clone(&log));
                    spool.retire(&log);
                }
                Err(error) => tracing::warn!(uid, %error, "a log could not be read"),
            }
        }
        Ok(spool)
    }

    /// The log of a new attempt; what an earlier one printed goes.
    pub(crate) fn fresh(&self, uid: &str, attempt: i32) -> Arc<Log> {
        let log = Arc::new(Log::new(&self.directory, uid, attempt));
        let mut inner = self.lock();
        inner.ended.retain(|ended| ended.uid() != uid);
        if let Some(former) = inner.logs.insert(uid.to_owned(), Arc::clone(&log)) {
            former.end();
            former.remove();
        }
        log
    }

    /// The log of an attempt that an earlier life of this runtimed began.
    pub(crate) fn resume(&self, uid: &str, attempt: i32) -> Arc<Log> {
        let found = {
            let mut inner = self.lock();
            inner.ended.retain(|ended| ended.uid() != uid);
            inner.logs.get(uid).cloned()
        };
        match found {
            Some(log) if log.reopen() => log,
            _ => self.fresh(uid, attempt),
        }
    }

    /// The log of a Run.
    pub(crate) fn find(&self, uid: &str) -> Option<Arc<Log>> {
        self.lock().logs.get(uid).cloned()
    }

    /// The Run was given back before it started: nothing is to be known of it here.
    pub(crate) fn drop_unstarted(&self, log: &Arc<Log>) {
        log.end();
        let mut inner = self.lock();
        if inner.logs.get(log.uid()).is_some_and(|current| Arc::ptr_eq(current, log)) {
            inner.logs.remove(log.uid());
        }
        log.remove();
    }

    /// The Run has ended: its log may go when room is needed.
    pub(crate) fn retire(&self, log: &Arc<Log>) {
        log.end();
        let mut inner = self.lock();
        let current = inner.logs.get(log.uid()).is_some_and(|current| Arc::ptr_eq(current, log));
        if !current || inner.ended.iter().any(|ended| Arc::ptr_eq(ended, log)) {
            return;
        }
        inner.ended.push_back(Arc::clone(log));
        let mut total: u64 = inner.logs.values().map(|log| log.bytes()).sum();
        while total > TOTAL_BYTES || inner.ended.len() > ENDED_RUNS {
            let Some(oldest) = inner.ended.pop_front() else { break };
            total = total.saturating_sub(oldest.bytes());
            inner.logs.remove(oldest.uid());
            oldest.remove();
        }
    }

    /// The Run is deleted: nobody can ask for its output any more.
    pub(crate) fn forget(&self, uid: &str) {
        let mut inner = self.lock();
        inner.ended.retain(|ended| ended.uid() != uid);
        if let Some(log) = inner.logs.remove(uid) {
            log.end();
            log.remove();
        }
    }

    /// Forgets every ended Run that is not among these.
    pub(crate) fn keep_only(&self, uids: &BTreeSet<String>) {
        let ended = self.lock().ended.iter().map(|log| log.uid().to_owned()).collect::<Vec<_>>();
        for uid in ended.iter().filter(|uid| !uids.contains(*uid)) {
            self.forget(uid);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;

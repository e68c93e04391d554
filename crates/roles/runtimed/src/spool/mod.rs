//! Output of Runs on disk: bounded per stream and in all, readable while they run and after.
//!
//! One file an attempt, `<control>/logs/<uid>.<attempt>`, made at its first output. The newest attempt replaces the
//! former. It goes with its Run; when the limits in all are reached, the Runs that ended first go. Of a Run that ended
//! little is in memory: thousands of them must not leave a heap full of holes.

mod ended;
mod log;

use ended::Ended;
pub(crate) use kruntimes_artifacts::{Frame, Stream};
pub(crate) use log::{Log, Next, Reader, STREAM_BYTES, Stage, parts};

use std::collections::{BTreeMap, BTreeSet};
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
    live: BTreeMap<String, Arc<Log>>,
    ended: BTreeMap<Box<str>, Ended>,
    /// Who ended when: the first to end first.
    order: BTreeMap<u64, Box<str>>,
    /// Bytes of ended logs on the disk.
    bytes: u64,
    count: u64,
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
        let mut found: Vec<(std::time::SystemTime, i32, String)> = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (uid, attempt) = parts(&name);
            found.push((modified, attempt, uid.to_owned()));
        }
        found.sort();
        let spool = Self { directory, inner: Arc::default() };
        for (_, attempt, uid) in found {
            match Log::load(&spool.directory, &uid, attempt) {
                Ok(log) => spool.lock().end(&log),
                Err(error) => tracing::warn!(uid, %error, "a log could not be read"),
            }
        }
        Ok(spool)
    }

    /// The log of a new attempt; what an earlier one printed goes.
    pub(crate) fn fresh(&self, uid: &str, attempt: i32) -> Arc<Log> {
        let log = Arc::new(Log::new(&self.directory, uid, attempt));
        let mut inner = self.lock();
        inner.forget(&self.directory, uid);
        inner.live.insert(uid.to_owned(), Arc::clone(&log));
        log
    }

    /// The log of an attempt that an earlier life of this runtimed began.
    pub(crate) fn resume(&self, uid: &str, attempt: i32) -> Arc<Log> {
        let mut inner = self.lock();
        if let Some(ended) = inner.ended.get(uid) {
            let log = Arc::new(ended.log(&self.directory, uid));
            if log.reopen() {
                inner.drop_ended(uid);
                inner.live.insert(uid.to_owned(), Arc::clone(&log));
                return log;
            }
        }
        drop(inner);
        self.fresh(uid, attempt)
    }

    /// The log of a Run.
    pub(crate) fn find(&self, uid: &str) -> Option<Arc<Log>> {
        let inner = self.lock();
        let live = inner.live.get(uid).cloned();
        live.or_else(|| Some(Arc::new(inner.ended.get(uid)?.log(&self.directory, uid))))
    }

    /// The Run was given back before it started: nothing is to be known of it here.
    pub(crate) fn drop_unstarted(&self, log: &Arc<Log>) {
        log.end();
        let mut inner = self.lock();
        if inner.is_live(log) {
            inner.live.remove(log.uid());
        }
        log.remove();
    }

    /// The Run has ended: its log may go when room is needed.
    pub(crate) fn retire(&self, log: &Arc<Log>) {
        log.end();
        let mut inner = self.lock();
        if !inner.is_live(log) {
            return;
        }
        inner.live.remove(log.uid());
        inner.end(log);
        while inner.bytes > TOTAL_BYTES || inner.ended.len() > ENDED_RUNS {
            let Some((_, oldest)) = inner.order.first_key_value() else { break };
            let oldest = oldest.clone();
            inner.forget(&self.directory, &oldest);
        }
    }

    /// The Run is deleted: nobody can ask for its output any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().forget(&self.directory, uid);
    }

    /// Forgets every ended Run that is not among these.
    pub(crate) fn keep_only(&self, uids: &BTreeSet<String>) {
        let mut inner = self.lock();
        let known = inner.ended.keys().filter(|uid| !uids.contains(&***uid));
        for uid in known.cloned().collect::<Vec<_>>() {
            inner.forget(&self.directory, &uid);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_live(&self, log: &Arc<Log>) -> bool {
        self.live.get(log.uid()).is_some_and(|current| Arc::ptr_eq(current, log))
    }

    fn end(&mut self, log: &Log) {
        self.drop_ended(log.uid());
        self.count += 1;
        let ended = Ended::of(log, self.count);
        self.bytes += ended.bytes();
        self.order.insert(self.count, log.uid().into());
        self.ended.insert(log.uid().into(), ended);
    }

    fn drop_ended(&mut self, uid: &str) -> Option<Ended> {
        let ended = self.ended.remove(uid)?;
        self.bytes -= ended.bytes();
        self.order.remove(&ended.number());
        Some(ended)
    }

    fn forget(&mut self, directory: &Path, uid: &str) {
        if let Some(log) = self.live.remove(uid) {
            log.end();
            log.remove();
        }
        if let Some(ended) = self.drop_ended(uid) {
            ended.log(directory, uid).remove();
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;

//! Logs of attempts that have ended, on their way into the artifact store: after the terminal write, one or two at a time.
//!
//! What waits are second names of the spool's files in `<state>/archive`: nothing is copied before it is sent, a next attempt may
//! replace the log, and a restart finds it again. Nothing that happens here changes the end of a Run.

use crate::config::Config;
use crate::spool::{Log, parts};
use futures::{StreamExt, stream};
use kruntimes_artifacts::{KeepError, Place, Stop, Store, keep_log};
use kruntimes_cluster::watch::Chain;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// Logs that wait: beyond it those of further attempts are not kept.
const WAITING: usize = 1_000;
/// And bytes of them.
const WAITING_BYTES: u64 = 64 << 20;
/// Runs whose logs are to be removed: beyond it they stay until the sweep.
const GONE: usize = 10_000;
const AT_ONCE: usize = 2;
/// Between two tries of a store that fails, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What a pod that ends waits for its last logs.
const FLUSHED_WITHIN: Duration = Duration::from_secs(3);

/// The logs of this pod that go to the store.
#[derive(Debug)]
pub(crate) struct Archive {
    directory: PathBuf,
    namespace: String,
    runtime: String,
    logs: Store,
    told: Notify,
    state: Mutex<State>,
    stop: Stop,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    bytes: u64,
    gone: VecDeque<String>,
}

/// Ends what is under way when nobody waits for it any more.
struct Ends(Stop);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.fire();
    }
}

impl Archive {
    /// None where nothing is to be kept.
    pub(crate) fn open(config: &Config) -> io::Result<Option<Arc<Self>>> {
        if !config.archive_logs || config.store.named().is_none() {
            return Ok(None);
        }
        let directory = config.state.join("archive");
        fs::create_dir_all(&directory)?;
        let archive = Self {
            directory,
            namespace: config.pod_namespace.clone(),
            runtime: config.runtime_name.clone(),
            logs: config.store.open(&config.mounted).logs(),
            told: Notify::new(),
            state: Mutex::default(),
            stop: Stop::default(),
        };
        let left = waiting(&archive.directory)?;
        archive.lock().waiting = left.len();
        archive.lock().bytes = left.iter().map(|one| one.bytes).sum();
        if !left.is_empty() {
            archive.told.notify_one();
        }
        Ok(Some(Arc::new(archive)))
    }

    /// Takes the log of an attempt that has ended. One without output has none.
    pub(crate) fn take(&self, log: &Log) {
        let bytes = log.bytes();
        if bytes == 0 {
            return;
        }
        {
            let mut state = self.lock();
            if state.waiting >= WAITING || state.bytes + bytes > WAITING_BYTES {
                tracing::warn!(
                    uid = log.uid(),
                    "the artifact store is too slow: the log of an attempt is not kept there"
                );
                return;
            }
            state.waiting += 1;
            state.bytes += bytes;
        }
        match log.link_to(&self.directory) {
            Ok(true) => self.told.notify_one(),
            Ok(false) => self.done(bytes),
            Err(error) => {
                self.done(bytes);
                tracing::warn!(uid = log.uid(), %error, "the log of an attempt can't be kept");
            }
        }
    }

    /// The Run is deleted: what is kept of its logs goes.
    pub(crate) fn forget(&self, uid: String) {
        let mut state = self.lock();
        if state.gone.len() < GONE {
            state.gone.push_back(uid);
            self.told.notify_one();
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn serve(self: Arc<Self>) {
        let _ends = Ends(self.stop.clone());
        let mut pause = FIRST_PAUSE;
        loop {
            if self.pass().await {
                pause = FIRST_PAUSE;
                self.told.notified().await;
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// The pod ends: what waits goes now, or with the pod.
    pub(crate) async fn flush(&self) {
        if self.lock().waiting > 0 {
            drop(timeout(FLUSHED_WITHIN, self.pass()).await);
        }
    }

    /// Whether all went well that was there.
    async fn pass(&self) -> bool {
        let directory = self.directory.clone();
        let found = spawn_blocking(move || waiting(&directory)).await;
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the logs that wait can't be listed");
                return false;
            }
            Err(_) => return false,
        };
        let mut sending = stream::iter(found).map(|one| self.send(one)).buffer_unordered(AT_ONCE);
        while let Some(sent) = sending.next().await {
            if !sent {
                return false;
            }
        }
        drop(sending);
        // After what was sent: a log may have been on its way when its Run went.
        while let Some(uid) = self.next_gone() {
            if !self.remove(uid).await {
                return false;
            }
        }
        true
    }

    async fn send(&self, one: Waiting) -> bool {
        let (logs, stop) = (self.logs.clone(), self.stop.clone());
        let (namespace, runtime) = (self.namespace.clone(), self.runtime.clone());
        let (path, bytes) = (one.path.clone(), one.bytes);
        let sent = spawn_blocking(move || {
            let (uid, attempt) = parts(&one.name);
            let file = match File::open(&one.path) {
                // Another pass has sent it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                opened => opened
                    .map_err(|source| KeepError::Store { what: "it can't be read", source })?,
            };
            let place =
                Place { namespace: &namespace, run_uid: uid, run_name: "", runtime: &runtime };
            keep_log(&logs, place, attempt, &file, &stop)
        });
        match sent.await {
            Ok(Ok(())) => {
                if fs::remove_file(&path).is_ok() {
                    self.done(bytes);
                }
                true
            }
            Ok(Err(error)) => {
                let path = path.display();
                tracing::warn!(%path, error = %Chain(&error), "the log of an attempt is not in the artifact store yet");
                false
            }
            Err(_) => false,
        }
    }

    async fn remove(&self, uid: String) -> bool {
        let (logs, namespace) = (self.logs.clone(), self.namespace.clone());
        let (own, stop) = (uid.clone(), self.stop.clone());
        let removed = spawn_blocking(move || logs.remove(Place::of(&namespace, &own), &stop)).await;
        match removed {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(uid, error = %Chain(&error), "logs of a deleted Run stay");
                self.forget(uid);
                false
            }
            Err(_) => false,
        }
    }

    fn next_gone(&self) -> Option<String> {
        self.lock().gone.pop_front()
    }

    fn done(&self, bytes: u64) {
        let mut state = self.lock();
        state.waiting = state.waiting.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log that waits.
#[derive(Debug)]
struct Waiting {
    name: String,
    path: PathBuf,
    bytes: u64,
}

/// All of them, the oldest first.
fn waiting(directory: &Path) -> io::Result<Vec<Waiting>> {
    let mut found: Vec<(SystemTime, Waiting)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let seen = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((seen.modified()?, Waiting { name, path: entry.path(), bytes: seen.len() }));
    }
    found.sort_by(|(one, left), (other, right)| (one, &left.name).cmp(&(other, &right.name)));
    Ok(found.into_iter().map(|(_, one)| one).collect())
}

//! The watch of this pod's Runs: each assignment gets a task, whoever leaves the pod is told so.

use crate::Stops;
use crate::attempt::{Attempt, Update};
use crate::pod::{Drain, Pod};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Phase, Run};
use kruntimes_cluster::readable::Readable;
use kruntimes_cluster::watch::Chain;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How long Runs may take to end at a shutdown.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long a pod without Runs waits for the kubelet to hear of it.
const LINGER: Duration = Duration::from_secs(3);
/// What remains of a drain for killing what has not ended, and saying so.
const LAST_PART: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Which pod this is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// An assignment: another attempt, or the same number given anew.
#[derive(Debug, Clone, PartialEq)]
struct Assignment {
    attempt: i32,
    scheduled: Option<MicroTime>,
}

struct Handle {
    assignment: Assignment,
    updates: mpsc::UnboundedSender<Update>,
    gone: bool,
    /// The Run is deleted: nothing of it is kept when the attempt has ended.
    deleted: bool,
    /// What begins when the attempt has ended.
    next: Option<Arc<Run>>,
}

struct Supervisor {
    pod: Arc<Pod>,
    identity: Identity,
    handles: BTreeMap<String, Handle>,
    tasks: JoinSet<String>,
    listed: BTreeSet<String>,
    live: watch::Sender<bool>,
    /// When a drain ends, whatever has not ended.
    ends_at: Option<Instant>,
}

/// Watches until it is told to end, or until what executes after the begin of a drain has ended. Ends what runs then.
pub(crate) async fn run(
    pod: Arc<Pod>,
    watched: Api<Readable<Run>>,
    identity: Identity,
    live: watch::Sender<bool>,
    mut stops: Stops,
    drain_within: Duration,
) {
    let config = Config::default().fields(&format!("status.assignedPod={}", identity.name));
    let stream = watcher(watched, config).backoff(Pauses(FIRST_PAUSE));
    let mut stream = Box::pin(stream);
    let mut supervisor = Supervisor {
        pod,
        identity,
        handles: BTreeMap::new(),
        tasks: JoinSet::new(),
        listed: BTreeSet::new(),
        live,
        ends_at: None,
    };
    loop {
        let ends_at = supervisor.ends_at;
        tokio::select! {
            () = stops.end.wait() => break,
            () = stops.drain.wait(), if ends_at.is_none() => supervisor.drain(drain_within),
            () = supervisor.pod.drained_to(Drain::Told), if ends_at.is_some() => break,
            () = sleep_until(ends_at.unwrap_or_else(Instant::now)), if ends_at.is_some() => break,
            Some(ended) = supervisor.tasks.join_next() => supervisor.on_ended(ended),
            Some(event) = stream.next() => supervisor.on_watch(event),
        }
    }
    drop(stream);
    supervisor.shut_down().await;
}

impl Supervisor {
    fn on_watch(&mut self, event: Result<Event<Readable<Run>>, watcher::Error>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.live.send_replace(false);
                tracing::warn!(error = %Chain(&error), "the watch of Runs was interrupted");
                return;
            }
        };
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(run) => {
                self.listed.extend(run.uid());
                self.observe(run);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for (uid, handle) in &mut self.handles {
                    if !listed.contains(uid) {
                        handle.leave();
                    }
                }
                self.pod.spool.keep_only(&listed);
                if !self.pod.synced.send_replace(true) {
                    self.sweep(&listed);
                }
                self.live.send_replace(true);
            }
            Event::Apply(run) => {
                self.live.send_if_modified(|live| !std::mem::replace(live, true));
                self.observe(run);
            }
            Event::Delete(run) => self.on_gone(&run),
        }
    }

    /// A Run that is not this pod's any more, or does not exist any more. One that has ended can only be deleted.
    fn on_gone(&mut self, run: &Readable<Run>) {
        let Some(uid) = run.uid() else { return };
        let deleted = run.0.as_ref().is_ok_and(|run| run.phase().is_terminal());
        match self.handles.get_mut(&uid) {
            Some(handle) => {
                handle.deleted |= deleted;
                handle.leave();
            }
            None if deleted => self.pod.spool.forget(&uid),
            None => {}
        }
    }

    fn observe(&mut self, run: Readable<Run>) {
        let run = match run.0 {
            Ok(run) => Arc::new(run),
            Err(error) => {
                tracing::warn!(%error, name = error.metadata.name, "a Run can't be read");
                return;
            }
        };
        let Some(uid) = run.uid().filter(|uid| is_plain(uid)) else { return };
        let assignment = self.assignment(&run);
        match (self.handles.get_mut(&uid), assignment) {
            (None, None) => {}
            (None, Some(assignment)) => self.begin(uid, run, assignment),
            (Some(handle), None) => handle.leave(),
            (Some(handle), Some(assignment)) if handle.assignment == assignment && !handle.gone => {
                handle.tell(Update::Run(run));
            }
            (Some(handle), Some(_)) => {
                handle.leave();
                handle.next = Some(run);
            }
        }
    }

    /// The assignment to this pod, if the Run has one that is not over.
    fn assignment(&self, run: &Run) -> Option<Assignment> {
        let status = run.status.as_ref()?;
        let open = match status.phase {
            Phase::Scheduled | Phase::Running => true,
            Phase::Pending
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Timeout
            | Phase::Cancelled => false,
        };
        let mine = status.assigned_pod.as_deref() == Some(self.identity.name.as_str())
            && status.assigned_pod_uid.as_deref() == Some(self.identity.uid.as_str());
        let deleted = run.metadata.deletion_timestamp.is_some();
        (open && mine && !deleted).then(|| Assignment {
            attempt: status.attempt.unwrap_or(0),
            scheduled: status.timeline.as_ref().and_then(|timeline| timeline.scheduled.clone()),
        })
    }

    fn begin(&mut self, uid: String, run: Arc<Run>, assignment: Assignment) {
        let (updates, receiver) = mpsc::unbounded_channel();
        let handle = Handle { assignment, updates, gone: false, deleted: false, next: None };
        if self.ends_at.is_some() {
            handle.tell(Update::Drain);
        }
        self.handles.insert(uid.clone(), handle);
        let attempt = Attempt::begin(Arc::clone(&self.pod), uid, run);
        self.tasks.spawn(attempt.run(receiver));
    }

    /// From now on nothing begins to execute.
    fn drain(&mut self, within: Duration) {
        let last = LAST_PART.min(within / 2);
        self.ends_at = Some(Instant::now() + (within - last));
        self.pod.drain_to(Drain::Asked);
        for handle in self.handles.values() {
            handle.tell(Update::Drain);
        }
        self.look_at_drain();
    }

    fn look_at_drain(&mut self) {
        if let Some(ends_at) = self.ends_at
            && self.handles.is_empty()
        {
            self.pod.drain_to(Drain::Done);
            self.ends_at = Some(ends_at.min(Instant::now() + LINGER));
        }
    }

    fn on_ended(&mut self, ended: Result<String, tokio::task::JoinError>) {
        let uid = match ended {
            Ok(uid) => uid,
            Err(error) => {
                tracing::error!(%error, "the task of an attempt failed");
                return;
            }
        };
        let Some(handle) = self.handles.remove(&uid) else { return };
        let next = self.after(&uid, handle);
        if let Some((run, assignment)) = next {
            self.begin(uid, run, assignment);
        }
        self.look_at_drain();
    }

    /// What begins when an attempt has ended.
    fn after(&self, uid: &str, handle: Handle) -> Option<(Arc<Run>, Assignment)> {
        if handle.deleted {
            self.pod.spool.forget(uid);
        }
        let run = handle.next?;
        let assignment = self.assignment(&run)?;
        Some((run, assignment))
    }

    /// What an earlier life left behind and no Run of this pod owns any more.
    fn sweep(&self, mine: &BTreeSet<String>) {
        for uid in self.pod.journal.open_uids() {
            if mine.contains(&uid) {
                continue;
            }
            let pod = Arc::clone(&self.pod);
            tokio::spawn(async move {
                pod.server.cancel(&uid).await;
                let workspaces = pod.workspaces.clone();
                let removed = uid.clone();
                drop(tokio::task::spawn_blocking(move || workspaces.remove(&removed)).await);
                pod.journal.ended(&uid);
            });
        }
    }

    async fn shut_down(mut self) {
        self.pod.leaving.send_replace(true);
        for handle in self.handles.values_mut() {
            handle.next = None;
            handle.tell(Update::Shutdown);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_WITHIN, all).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "the pod ends before its Runs have ended");
        }
    }
}

impl Handle {
    fn leave(&mut self) {
        self.next = None;
        if !std::mem::replace(&mut self.gone, true) {
            self.tell(Update::Gone);
        }
    }

    fn tell(&self, update: Update) {
        // The task has ended already when nobody receives.
        drop(self.updates.send(update));
    }
}

/// A UID becomes part of paths.
fn is_plain(uid: &str) -> bool {
    !uid.is_empty()
        && uid.len() <= 64
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Pauses of the watch: doubled up to [`LONGEST_PAUSE`].
struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = self.0;
        self.0 = (next * 2).min(LONGEST_PAUSE);
        Some(next)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

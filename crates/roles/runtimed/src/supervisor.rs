//! The watch of this pod's Runs: what `rules::run::roster` says of them is done, and what the pod's Lease asks for.

use crate::Stops;
use crate::attempt::{Attempt, Update};
use crate::keeper::Notice;
use crate::lease::Told;
use crate::pod::{Drain, Pod};
use crate::slots::Held;
use futures::StreamExt;
use kruntimes_api::Run;
use kruntimes_cluster::readable::Readable;
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::crash;
use kruntimes_rules::run::roster::{Identity, Order, Origin, Roster};
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

/// Where the supervisor looks and what it hears of.
pub(crate) struct Sources {
    pub(crate) watched: Api<Readable<Run>>,
    pub(crate) live: watch::Sender<bool>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
    pub(crate) stops: Stops,
}

struct Supervisor {
    /// What an earlier life left may execute, and what it takes nobody knows: nothing is admitted beside it.
    sweeping: Option<Arc<Held>>,
    pod: Arc<Pod>,
    roster: Roster,
    attempts: BTreeMap<String, mpsc::UnboundedSender<Update>>,
    tasks: JoinSet<String>,
    /// The Lease was broken: the watch begins anew.
    relist: bool,
    live: watch::Sender<bool>,
    /// When a drain ends, whatever has not ended.
    ends_at: Option<Instant>,
}

/// Watches until it is told to end, or until what executes after the begin of a drain has ended. Ends what runs then.
pub(crate) async fn run(pod: Arc<Pod>, me: Identity, sources: Sources, drain_within: Duration) {
    let Sources { watched, live, mut notices, mut stops } = sources;
    let config = Config::default().fields(&format!("status.assignedPod={}", me.name));
    let origin = if pod.journal.is_new() { Origin::Here } else { Origin::Former };
    let left = pod.journal.open_uids().into_iter().chain(pod.workspaces.uids()).collect();
    let open = || Box::pin(watcher(watched.clone(), config.clone()).backoff(Pauses(FIRST_PAUSE)));
    let mut stream = open();
    let sweeping = Some(&left)
        .filter(|left: &&BTreeSet<String>| !left.is_empty())
        .map(|_| Arc::new(pod.slots.take_all()));
    let mut supervisor = Supervisor {
        sweeping,
        pod,
        roster: Roster::new(me, origin, left),
        attempts: BTreeMap::new(),
        tasks: JoinSet::new(),
        relist: false,
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
            Some(notice) = notices.recv() => supervisor.on_notice(notice),
            Some(event) = stream.next() => supervisor.on_watch(event),
        }
        if std::mem::take(&mut supervisor.relist) {
            stream = open();
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
                self.pod.lease.tell(Told::Suspect);
                tracing::warn!(error = %Chain(&error), "the watch of Runs was interrupted");
                return;
            }
        };
        let orders = match event {
            Event::Init => {
                self.roster.list_begins();
                Vec::new()
            }
            Event::InitApply(run) => match readable(run) {
                Ok(run) => self.roster.listed(run),
                Err(uid) => {
                    self.roster.unreadable(uid);
                    Vec::new()
                }
            },
            Event::InitDone => {
                self.pod.lease.tell(Told::Suspect);
                let orders = self.roster.list_ends();
                self.perform_all(orders);
                self.sweeping = None;
                self.look_at_idle();
                self.look_at_clearing();
                self.pod.synced.send_replace(true);
                self.live.send_replace(true);
                Vec::new()
            }
            Event::Apply(run) => {
                self.live.send_if_modified(|live| !std::mem::replace(live, true));
                readable(run).map_or_else(|_| Vec::new(), |run| self.roster.observe(run))
            }
            Event::Delete(run) => self.on_gone(&run),
        };
        self.perform_all(orders);
    }

    /// A Run that is not this pod's any more, or does not exist any more. One that can't be read has not ended here.
    fn on_gone(&mut self, run: &Readable<Run>) -> Vec<Order> {
        let Some(uid) = run.uid() else { return Vec::new() };
        let phase = run.0.as_ref().map(|run| run.phase()).unwrap_or_default();
        self.roster.gone(&uid, phase)
    }

    fn perform_all(&mut self, orders: Vec<Order>) {
        for order in orders {
            self.perform(order);
        }
    }

    fn perform(&mut self, order: Order) {
        match order {
            Order::Begin(uid, run, origin) => self.begin(uid, run, origin),
            Order::Update(uid, run) => self.tell(&uid, Update::Run(run)),
            Order::Gone(uid) => self.tell(&uid, Update::Gone),
            Order::Break(uid) => self.tell(&uid, Update::Broken),
            Order::Forget(uid) => {
                self.pod.spool.forget(&uid);
                if let Some(archive) = &self.pod.archive {
                    archive.forget(uid);
                }
            }
            Order::KeepOnly(uids) => self.pod.spool.keep_only(&uids),
            Order::Sweep(uid) => self.sweep(uid),
        }
    }

    fn begin(&mut self, uid: String, run: Arc<Run>, origin: Origin) {
        let (updates, receiver) = mpsc::unbounded_channel();
        if self.ends_at.is_some() {
            // The receiver is at hand.
            drop(updates.send(Update::Drain));
        }
        self.pod.lease.tell(Told::Work);
        crash::point("runtimed-begun");
        self.attempts.insert(uid.clone(), updates);
        let attempt = Attempt::begin(Arc::clone(&self.pod), uid, run, origin);
        self.tasks.spawn(attempt.run(receiver));
    }

    fn tell(&self, uid: &str, update: Update) {
        if let Some(updates) = self.attempts.get(uid) {
            // The task has ended already when nobody receives.
            drop(updates.send(update));
        }
    }

    fn tell_all(&self, update: impl Fn() -> Update) {
        for updates in self.attempts.values() {
            drop(updates.send(update()));
        }
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Fence => self.tell_all(|| Update::Fenced),
            Notice::Clear => {
                // What executes dies before anybody is asked anything.
                let orders = self.roster.broken();
                self.perform_all(orders);
                self.relist = true;
            }
        }
    }

    fn look_at_clearing(&mut self) {
        if self.roster.is_cleared() {
            self.pod.lease.tell(Told::Cleared);
        }
    }

    /// From now on nothing begins to execute.
    fn drain(&mut self, within: Duration) {
        let last = LAST_PART.min(within / 2);
        self.ends_at = Some(Instant::now() + (within - last));
        self.pod.drain_to(Drain::Asked);
        self.tell_all(|| Update::Drain);
        self.look_at_drain();
    }

    fn look_at_drain(&mut self) {
        if let Some(ends_at) = self.ends_at
            && self.roster.is_empty()
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
        self.attempts.remove(&uid);
        let orders = self.roster.ended(&uid);
        self.perform_all(orders);
        self.look_at_idle();
        self.look_at_clearing();
        self.look_at_drain();
    }

    fn look_at_idle(&self) {
        if self.roster.is_empty() {
            self.pod.lease.tell(Told::Idle);
        }
    }

    /// Ends and removes what an earlier life left of a Run that is not this pod's any more.
    fn sweep(&mut self, uid: String) {
        self.pod.lease.tell(Told::Work);
        let (pod, alone) = (Arc::clone(&self.pod), self.sweeping.clone());
        self.tasks.spawn(async move {
            let _alone = alone;
            let open = pod.cancels.begin(&uid);
            tokio::select! {
                () = pod.server.cancel(&uid) => {}
                () = pod.left() => return uid,
            }
            drop(open);
            let (workspaces, removed) = (pod.workspaces.clone(), uid.clone());
            drop(tokio::task::spawn_blocking(move || workspaces.remove(&removed)).await);
            pod.journal.ended(&uid);
            uid
        });
    }

    async fn shut_down(mut self) {
        self.pod.leaving.send_replace(true);
        self.roster.close();
        self.tell_all(|| Update::Shutdown);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_WITHIN, all).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "the pod ends before its Runs have ended");
        }
    }
}

/// A Run, or the UID of one that can't be read.
fn readable(run: Readable<Run>) -> Result<Arc<Run>, Option<String>> {
    run.0.map(Arc::new).map_err(|error| {
        tracing::warn!(error = error.error, name = error.metadata.name, "a Run can't be read");
        error.metadata.uid
    })
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

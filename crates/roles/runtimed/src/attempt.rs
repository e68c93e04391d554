//! The task of one attempt: it feeds the machine with events and has its effects done.

mod effects;

use crate::artifacts::Keeping;
use crate::clock::Clock;
use crate::pod::Pod;
use crate::preparing::{Made, Preparing};
use crate::shared::Inside;
use crate::slots::Held;
use crate::spool::Log;
use kruntimes_api::{Run, RunSpec, Share};
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::machine::Machine;
use kruntimes_rules::run::roster::Origin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// What the supervisor tells an attempt.
#[derive(Debug)]
pub(crate) enum Update {
    /// The Run looks like this now.
    Run(Arc<Run>),
    /// The Run is deleted, or not this pod's any more.
    Gone,
    /// The pod ends.
    Shutdown,
    /// The pod ends as soon as what executes has ended.
    Drain,
    /// The pod could not renew its Lease.
    Fenced,
    /// The pod's Lease was broken.
    Broken,
}

/// One attempt.
pub(crate) struct Attempt {
    pod: Arc<Pod>,
    uid: String,
    run: Arc<Run>,
    machine: Machine,
    number: i32,
    clock: Clock,
    log: Arc<Log>,
    /// Every effect sends a bounded number of events, so the channel is bounded too.
    events: mpsc::UnboundedSender<Event>,
    received: mpsc::UnboundedReceiver<Event>,
    tasks: JoinSet<()>,
    preparing: Option<Preparing>,
    /// Nobody wants the Execute any more.
    abandoned: watch::Sender<bool>,
    held: Option<Held>,
    waits: Option<oneshot::Receiver<Held>>,
    awaits_lease: bool,
    cancel_told: bool,
    handed_back: bool,
    ending: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
    keeping: Arc<Keeping>,
    /// Set when the attempt is prepared. It may hold Secrets: nothing prints it.
    made: Arc<OnceLock<Made>>,
    /// That it works in a workspace that Runs share.
    inside: Option<Inside>,
    /// It holds a workspace, and ends so as soon as nobody works in it.
    leaves: Option<Event>,
}

/// Only reached through a branch that is switched off.
fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_secs(3600)
}

/// Waits for ever where nothing is waited for, or where the pod never has it.
async fn granted(waits: &mut Option<oneshot::Receiver<Held>>) -> Held {
    if let Some(receiver) = waits
        && let Ok(held) = receiver.await
    {
        return held;
    }
    std::future::pending().await
}

/// Takes its part in a workspace that Runs share.
fn join(pod: &Pod, uid: &str, run: &Run) -> Option<Inside> {
    let shared = &pod.workspaces.shared;
    let key = run.workspace_key()?;
    match run.spec.share() {
        Share::None => None,
        Share::Holds(_) => {
            shared.hold(&key, uid);
            None
        }
        Share::Within(_) => Some(shared.enter(&key)),
    }
}

/// What the machine needs of a Run: its source may be large.
fn slim(spec: &RunSpec) -> RunSpec {
    RunSpec {
        timeout_seconds: spec.timeout_seconds,
        retry_policy: spec.retry_policy.clone(),
        holds_workspace: spec.holds_workspace,
        ..RunSpec::default()
    }
}

/// Waits until nobody works in the workspace that the Run holds.
async fn emptied(pod: &Pod, run: &Run) {
    if let (Share::Holds(_), Some(key)) = (run.spec.share(), run.workspace_key()) {
        pod.workspaces.shared.emptied(&key).await;
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Attempt").field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl Attempt {
    /// Takes an assignment. What an earlier life began is registered for its events when this returns.
    pub(crate) fn begin(pod: Arc<Pod>, uid: String, run: Arc<Run>, origin: Origin) -> Self {
        let clock = Clock::start();
        let status = run.status.as_ref();
        let number = status.and_then(|status| status.attempt).unwrap_or(0);
        let spec = slim(&run.spec);
        let journalled = pod.journal.find(&uid).filter(|entry| entry.attempt == number);
        let mut held = None;
        let ((machine, first), log) = match journalled {
            Some(entry) => {
                tracing::info!(
                    uid,
                    number,
                    "the attempt is in the journal: it is not executed again"
                );
                let known = status.and_then(|status| status.timeline.as_ref());
                held = Some(pod.slots.take_now(request_of(&run)));
                let machine = Machine::reattach(spec, number, clock.read(entry.received), known);
                (machine, pod.spool.resume(&uid, number))
            }
            None => {
                let begin = match origin {
                    Origin::Here => Machine::start,
                    Origin::Former => Machine::give_back,
                };
                (begin(spec, number, clock.now()), pod.spool.fresh(&uid, number))
            }
        };
        let (events, received) = mpsc::unbounded_channel();
        let keeping = Arc::new(Keeping::under_lease_of(&pod));
        let inside = join(&pod, &uid, &run);
        let mut attempt = Self {
            pod,
            uid,
            run,
            machine,
            number,
            clock,
            log,
            events,
            received,
            tasks: JoinSet::new(),
            held,
            waits: None,
            preparing: None,
            abandoned: watch::Sender::new(false),
            awaits_lease: false,
            cancel_told: false,
            handed_back: false,
            ending: Arc::default(),
            gone: Arc::default(),
            keeping,
            made: Arc::default(),
            inside,
            leaves: None,
        };
        attempt.see_guard();
        attempt.perform_all(first);
        attempt.tell_cancel();
        attempt
    }

    /// Brings the attempt to its end. When this returns nothing of it is left, and another attempt of the same Run may
    /// begin.
    pub(crate) async fn run(mut self, mut updates: mpsc::UnboundedReceiver<Update>) -> String {
        while !self.machine.is_done() {
            let pod = Arc::clone(&self.pod);
            let deadline = self.machine.deadline().map(|time| self.clock.instant(time));
            let event = tokio::select! {
                Some(event) = self.received.recv() => Some(event),
                Some(update) = updates.recv() => self.on_update(update),
                held = granted(&mut self.waits) => {
                    self.waits = None;
                    self.held = Some(held);
                    Some(Event::SlotGranted)
                }
                () = pod.lease.held(), if self.awaits_lease => {
                    self.awaits_lease = false;
                    Some(Event::LeaseHeld)
                }
                () = sleep_until(deadline.unwrap_or_else(far)), if deadline.is_some() => {
                    Some(Event::Deadline)
                }
                () = emptied(&pod, &self.run), if self.leaves.is_some() => self.leaves.take(),
            };
            if let Some(event) = event {
                self.handle(event);
            }
        }
        self.close()
    }

    fn handle(&mut self, event: Event) {
        let executed = event == Event::Executed;
        let effects = self.machine.handle(event, self.clock.now());
        self.perform_all(effects);
        if executed && !self.holds() && self.log.exit().is_none() {
            self.poll(false);
        }
    }

    fn on_update(&mut self, update: Update) -> Option<Event> {
        match update {
            Update::Gone => {
                self.gone.store(true, Ordering::Relaxed);
                Some(Event::Deleted)
            }
            Update::Shutdown => Some(Event::Shutdown),
            Update::Drain => {
                if self.holds() {
                    self.leaves = Some(Event::Shutdown);
                }
                Some(Event::Drain)
            }
            Update::Fenced => Some(Event::Fenced),
            Update::Broken => Some(Event::Broken),
            Update::Run(run) => {
                self.run = run;
                self.see_guard();
                self.tell_cancel();
                None
            }
        }
    }

    /// Whether it executes nothing, but holds a workspace.
    fn holds(&self) -> bool {
        matches!(self.run.spec.share(), Share::Holds(_))
    }

    /// Nobody enters the workspace that it holds any more.
    fn let_go(&self) {
        if let (Share::Holds(_), Some(key)) = (self.run.spec.share(), self.run.workspace_key()) {
            self.pod.workspaces.shared.let_go(&key, &self.uid);
        }
    }

    fn see_guard(&self) {
        if let Some(artifacts) = &self.pod.artifacts {
            self.keeping.seen(&self.run, artifacts);
        }
    }

    fn tell_cancel(&mut self) {
        if self.run.spec.cancel_requested == Some(true) && !self.cancel_told {
            self.cancel_told = true;
            if self.holds() && self.machine.may_have_started() {
                // Who works in there goes on to its end; nobody else enters.
                self.let_go();
                self.leaves = Some(Event::CancelRequested);
            } else {
                self.handle(Event::CancelRequested);
            }
        }
    }

    fn close(mut self) -> String {
        self.tasks.abort_all();
        self.pod.registry.unregister(&self.uid);
        // Deleted or taken away while it executed: nobody asks this pod for its output.
        let taken = self.gone.load(Ordering::Relaxed) && !self.ending.load(Ordering::Relaxed);
        if self.handed_back || taken {
            self.pod.spool.drop_unstarted(&self.log);
        } else {
            if let Some(archive) = &self.pod.archive {
                archive.take(&self.log);
            }
            self.pod.spool.retire(&self.log);
        }
        drop(self.inside.take());
        self.let_go();
        // What is journalled may be an earlier attempt, which a crash left open.
        self.pod.journal.ended(&self.uid);
        self.uid
    }
}

/// The scheduler assigns no Run whose request can't be read; here such a one takes a Run's slot.
fn request_of(run: &Run) -> Arc<Resources> {
    Resources::requested(&run.spec).unwrap_or_else(|_| Resources::one_run())
}

//! The task of one attempt: it feeds the machine with events and has its effects done.

use crate::clock::Clock;
use crate::execute;
use crate::journal::Entry;
use crate::pod::Pod;
use crate::poll;
use crate::preparing::{Preparing, Variables};
use crate::slots::Held;
use crate::spool::Log;
use crate::write::{self, Final};
use kruntimes_api::{Run, RunSpec};
use kruntimes_daemon::crash;
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::run::event::{Effect, Event};
use kruntimes_rules::run::machine::Machine;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};
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
    held: Option<Held>,
    waits: Option<oneshot::Receiver<Held>>,
    awaits_lease: bool,
    cancel_told: bool,
    handed_back: bool,
    ending: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
    /// Set when the attempt is prepared. It may hold Secrets: nothing prints it.
    environment: Arc<OnceLock<Variables>>,
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

impl std::fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Attempt").field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl Attempt {
    /// Takes an assignment. What an earlier life began is registered for its events when this returns.
    pub(crate) fn begin(pod: Arc<Pod>, uid: String, run: Arc<Run>) -> Self {
        let clock = Clock::start();
        let status = run.status.as_ref();
        let number = status.and_then(|status| status.attempt).unwrap_or(0);
        // The machine needs no source: it may be large.
        let spec = RunSpec {
            timeout_seconds: run.spec.timeout_seconds,
            retry_policy: run.spec.retry_policy.clone(),
            ..RunSpec::default()
        };
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
            None => (Machine::start(spec, number, clock.now()), pod.spool.fresh(&uid, number)),
        };
        let (events, received) = mpsc::unbounded_channel();
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
            awaits_lease: false,
            cancel_told: false,
            handed_back: false,
            ending: Arc::default(),
            gone: Arc::default(),
            environment: Arc::default(),
        };
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
        if executed && self.log.exit().is_none() {
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
            Update::Drain => Some(Event::Drain),
            Update::Fenced => Some(Event::Fenced),
            Update::Broken => Some(Event::Broken),
            Update::Run(run) => {
                self.run = run;
                self.tell_cancel();
                None
            }
        }
    }

    fn tell_cancel(&mut self) {
        if self.run.spec.cancel_requested == Some(true) && !self.cancel_told {
            self.cancel_told = true;
            self.handle(Event::CancelRequested);
        }
    }

    fn perform_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::AcquireSlot => self.acquire_slot(),
            Effect::ReleaseSlot => {
                self.waits = None;
                self.held = None;
            }
            Effect::PrepareWorkspace => self.prepare(),
            Effect::StopPreparing => {
                if let Some(preparing) = &mut self.preparing {
                    preparing.stop();
                }
            }
            Effect::AwaitLease if self.pod.lease.is_held() => self.handle(Event::LeaseHeld),
            Effect::AwaitLease => self.awaits_lease = true,
            Effect::Execute => self.execute(),
            Effect::Inspect => {
                self.register();
                self.pod.registry.adopt(&self.uid);
                self.poll(true);
            }
            Effect::Cancel => {
                let (pod, uid) = (Arc::clone(&self.pod), self.uid.clone());
                let open = pod.cancels.begin(&uid);
                self.spawn(async move {
                    pod.server.cancel(&uid).await;
                    drop(open);
                    Some(Event::CancelAcknowledged)
                });
            }
            Effect::Forget => {
                let (pod, uid) = (Arc::clone(&self.pod), self.uid.clone());
                self.spawn(async move {
                    tokio::select! {
                        () = pod.server.forget(&uid) => {}
                        () = pod.left() => {}
                    }
                    Some(Event::Forgotten)
                });
            }
            Effect::RemoveWorkspace => self.remove_workspace(),
            Effect::WriteRunning(timeline) => {
                let (runs, run) = (self.pod.runs.clone(), Arc::clone(&self.run));
                let (clock, ending) = (self.clock, Arc::clone(&self.ending));
                let recorder = self.pod.recorder.clone();
                self.spawn(async move {
                    let owned =
                        write::running(&runs, &run, &timeline, clock, &ending, &recorder).await;
                    crash::point("runtimed-running");
                    (!owned).then_some(Event::Deleted)
                });
            }
            Effect::WriteTerminal(outcome, timeline) => {
                self.write(Final::Terminal(outcome, timeline));
            }
            Effect::WriteRetry(outcome, timeline) => self.write(Final::Retry(outcome, timeline)),
            Effect::HandBack(message) => {
                self.handed_back = true;
                self.write(Final::HandBack(message));
            }
        }
    }

    fn acquire_slot(&mut self) {
        if self.held.is_none() {
            match self.pod.slots.acquire(request_of(&self.run)) {
                Ok(held) => self.held = Some(held),
                Err(waits) => {
                    self.waits = Some(waits);
                    return;
                }
            }
        }
        self.send(Event::SlotGranted);
    }

    fn prepare(&mut self) {
        let (pod, uid, run) = (Arc::clone(&self.pod), self.uid.clone(), Arc::clone(&self.run));
        let environment = Arc::clone(&self.environment);
        let (preparing, work) = Preparing::begin(pod, uid, run, environment);
        self.preparing = Some(preparing);
        self.spawn(work);
    }

    fn execute(&mut self) {
        self.register();
        let (pod, uid, run) = (Arc::clone(&self.pod), self.uid.clone(), Arc::clone(&self.run));
        let environment = Arc::clone(&self.environment);
        let received = self.clock.keep(self.machine.received());
        let entry = Entry { attempt: self.number, received };
        self.spawn(async move {
            if let Err(error) = pod.journal.record(&uid, entry).await {
                return Some(Event::ExecuteFailed(format!(
                    "the journal can't be written: {error}"
                )));
            }
            crash::point("runtimed-journalled");
            let own = environment.get().cloned().unwrap_or_default();
            let event = execute::under_lease(&pod, &execute::request(&pod, &uid, &run, &own)).await;
            crash::point("runtimed-executed");
            if event == Event::LeaseMissed {
                pod.journal.void(&uid);
            }
            Some(event)
        });
    }

    fn register(&self) {
        let name = self.run.metadata.name.as_deref().unwrap_or_default();
        let lines = self.pod.sink.lines(&self.uid, name);
        let log = Arc::clone(&self.log);
        self.pod.registry.register(&self.uid, log, lines, self.events.clone());
    }

    fn poll(&mut self, at_once: bool) {
        let (pod, uid) = (Arc::clone(&self.pod), self.uid.clone());
        self.spawn(
            async move { poll::until_it_ends(&pod.server, &pod.registry, &uid, at_once).await },
        );
    }

    fn remove_workspace(&mut self) {
        let (pod, uid) = (Arc::clone(&self.pod), self.uid.clone());
        let preparing = self.preparing.take();
        self.spawn(async move {
            if let Some(preparing) = preparing {
                preparing.ended().await;
            }
            crash::point("runtimed-removing");
            let removed = {
                let uid = uid.clone();
                tokio::task::spawn_blocking(move || pod.workspaces.remove(&uid)).await
            };
            if let Ok(Err(error)) = removed {
                // The next attempt removes it again before it begins.
                tracing::warn!(uid, %error, "a workspace could not be removed");
            }
            Some(Event::WorkspaceRemoved)
        });
    }

    fn write(&mut self, last: Final) {
        self.ending.store(true, Ordering::Relaxed);
        let (runs, run, clock) = (self.pod.runs.clone(), Arc::clone(&self.run), self.clock);
        let (gone, recorder) = (Arc::clone(&self.gone), self.pod.recorder.clone());
        self.spawn(async move {
            crash::point("runtimed-ending");
            write::last(&runs, &run, &last, clock, &gone, &recorder).await;
            crash::point("runtimed-ended");
            Some(Event::Written)
        });
    }

    fn spawn(&mut self, work: impl Future<Output = Option<Event>> + Send + 'static) {
        let events = self.events.clone();
        self.tasks.spawn(async move {
            if let Some(event) = work.await {
                // The receiver is gone when the attempt is: nobody waits for the event then.
                drop(events.send(event));
            }
        });
    }

    fn send(&self, event: Event) {
        drop(self.events.send(event));
    }

    fn close(mut self) -> String {
        self.tasks.abort_all();
        self.pod.registry.unregister(&self.uid);
        // Deleted or taken away while it executed: nobody asks this pod for its output.
        let taken = self.gone.load(Ordering::Relaxed) && !self.ending.load(Ordering::Relaxed);
        if self.handed_back || taken {
            self.pod.spool.drop_unstarted(&self.log);
        } else {
            self.pod.spool.retire(&self.log);
        }
        // What is journalled may be an earlier attempt, which a crash left open.
        self.pod.journal.ended(&self.uid);
        self.uid
    }
}

/// The scheduler assigns no Run whose request can't be read; here such a one takes a Run's slot.
fn request_of(run: &Run) -> Arc<Resources> {
    Resources::requested(&run.spec).unwrap_or_else(|_| Resources::one_run())
}

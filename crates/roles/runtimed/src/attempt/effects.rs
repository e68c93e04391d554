//! What the machine of an attempt asks for, done: each in a task of its own that answers with an event.

use super::{Attempt, request_of};
use crate::artifacts::{self, Job};
use crate::execute;
use crate::journal::Entry;
use crate::outputs;
use crate::poll;
use crate::preparing::Preparing;
use crate::write::{self, Final};
use kruntimes_api::Timeline;
use kruntimes_daemon::crash;
use kruntimes_rules::run::event::{Collected, Effect, Event};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Attempt {
    pub(super) fn perform_all(&mut self, effects: Vec<Effect>) {
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
            Effect::StopExecuting => drop(self.abandoned.send_replace(true)),
            Effect::Inspect if self.holds() => self.send(Event::Started(self.clock.now())),
            Effect::Inspect => {
                self.register();
                self.pod.registry.adopt(&self.uid);
                self.poll(true);
            }
            Effect::Cancel => self.cancel(),
            Effect::Collect => self.collect(),
            Effect::KeepArtifacts(timeline) => self.keep_artifacts(timeline),
            Effect::StopKeeping => self.keeping.stop(),
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

    fn cancel(&mut self) {
        // Nobody enters what is about to go.
        self.let_go();
        let (pod, uid, run) = (Arc::clone(&self.pod), self.uid.clone(), Arc::clone(&self.run));
        let open = pod.cancels.begin(&uid);
        self.spawn(async move {
            super::emptied(&pod, &run).await;
            pod.server.cancel(&uid).await;
            drop(open);
            Some(Event::CancelAcknowledged)
        });
    }

    fn prepare(&mut self) {
        let (pod, uid, run) = (Arc::clone(&self.pod), self.uid.clone(), Arc::clone(&self.run));
        let (preparing, work) = Preparing::begin(pod, uid, run, Arc::clone(&self.made));
        self.preparing = Some(preparing);
        self.spawn(work);
    }

    fn execute(&mut self) {
        let holds = self.holds();
        if !holds {
            self.register();
        }
        let (pod, uid, run) = (Arc::clone(&self.pod), self.uid.clone(), Arc::clone(&self.run));
        let made = Arc::clone(&self.made);
        let received = self.clock.keep(self.machine.received());
        self.abandoned.send_replace(false);
        let abandoned = self.abandoned.subscribe();
        let entry = Entry { attempt: self.number, received };
        self.spawn(async move {
            if let Err(error) = pod.journal.record(&uid, entry).await {
                return Some(Event::ExecuteFailed(format!(
                    "the journal can't be written: {error}"
                )));
            }
            crash::point("runtimed-journalled");
            let event = match made.get() {
                // There is no process that a lost Lease would have to end.
                _ if holds && pod.lease.is_held() => Event::Executed,
                Some(made) if !holds => {
                    let request = execute::request(&pod, &uid, &run, made);
                    let bounds = execute::bounds(&run, pod.run_limits);
                    execute::under_lease(&pod, &request, bounds, abandoned).await
                }
                Some(_) | None => Event::LeaseMissed,
            };
            crash::point("runtimed-executed");
            if event == Event::LeaseMissed {
                pod.journal.void(&uid);
            }
            Some(event)
        });
    }

    fn register(&self) {
        let name = self.run.metadata.name.as_deref().unwrap_or_default();
        let lines = self.pod.sink.lines(&self.uid, name, self.number);
        let log = Arc::clone(&self.log);
        self.pod.registry.register(&self.uid, log, lines, self.events.clone());
    }

    pub(super) fn poll(&mut self, at_once: bool) {
        let (pod, uid) = (Arc::clone(&self.pod), self.uid.clone());
        self.spawn(
            async move { poll::until_it_ends(&pod.server, &pod.registry, &uid, at_once).await },
        );
    }

    /// Most Runs leave nothing behind: that is seen at once.
    fn collect(&mut self) {
        let (pod, uid) = (Arc::clone(&self.pod), self.uid.clone());
        if outputs::is_nothing(&pod.workspaces, &uid) {
            return self.send(Event::Collected(Collected::default()));
        }
        self.spawn(async move {
            crash::point("runtimed-collecting");
            let collect = move || outputs::collect(&pod.workspaces, &uid);
            let collected = tokio::task::spawn_blocking(collect).await.ok()?;
            Some(Event::Collected(collected))
        });
    }

    fn keep_artifacts(&mut self, timeline: Timeline) {
        let job = Job {
            pod: Arc::clone(&self.pod),
            uid: self.uid.clone(),
            run: Arc::clone(&self.run),
            timeline,
            clock: self.clock,
            keeping: Arc::clone(&self.keeping),
        };
        self.spawn(async move {
            let artifacts = job.pod.artifacts.clone();
            Some(Event::Kept(match artifacts {
                Some(artifacts) => artifacts::keep(job, &artifacts).await,
                None => Ok(Vec::new()),
            }))
        });
    }

    fn remove_workspace(&mut self) {
        let (pod, uid, run) = (Arc::clone(&self.pod), self.uid.clone(), Arc::clone(&self.run));
        let preparing = self.preparing.take();
        self.spawn(async move {
            if let Some(preparing) = preparing {
                preparing.ended().await;
            }
            crash::point("runtimed-removing");
            if pod.server.isolates() && pod.workspaces.put_aside(&uid, &run) {
                return Some(Event::WorkspaceRemoved);
            }
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
}

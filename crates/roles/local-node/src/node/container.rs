//! One container of a pod that this node runs: its process, its probes and what is known of it.
//!
//! Invariant: events carry the number of the process they are about; those of earlier ones are ignored.

use super::launch::{Place, launch};
use super::plan::{ContainerPlan, Program, RestartPolicy};
use super::probe::{self, Readiness};
use super::restart::{Next, after_exit};
use super::status::{ContainerView, Ended, View};
use crate::logs::ContainerLog;
use crate::process::{self, Exit, Process};
use crate::{Config, PodIdentity};
use jiff::Timestamp;
use kruntimes_api::{conditions, pods};
use rustix::process::Pid;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long the rest of a process's output may take after its end.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);

/// What happens to a container.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) index: usize,
    /// The number of the process.
    pub(super) run: u32,
    pub(super) what: What,
}

/// See [`Event`].
#[derive(Debug)]
pub(super) enum What {
    Exited(Exit),
    Ready(bool),
    Unhealthy,
    Restart,
    /// Its hook before the end has been answered.
    HookDone,
    /// The time to end by itself is over.
    Overdue,
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) plan: ContainerPlan,
    image: String,
    index: usize,
    pub(super) run: u32,
    log: Arc<ContainerLog>,
    state: State,
    last: Option<Ended>,
    restarts: i32,
    failures: u32,
    pub(super) ready: bool,
    /// When a signal that this node did not send ended the last process.
    killed: Option<Instant>,
    probes: JoinSet<()>,
    events: mpsc::Sender<Event>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Running {
        pid: Pid,
        since: Instant,
        started: Timestamp,
        signalled: bool,
    },
    /// Restart says whether another process follows.
    Ended {
        ended: Ended,
        restart: bool,
    },
}

impl Container {
    pub(super) fn new(
        plan: ContainerPlan,
        image: String,
        index: usize,
        log: Arc<ContainerLog>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            plan,
            image,
            index,
            run: 0,
            log,
            state: State::Waiting,
            last: None,
            restarts: 0,
            failures: 0,
            ready: false,
            killed: None,
            probes: JoinSet::new(),
            events,
        }
    }

    /// Starts the next process. One that can't start counts as one that ended at once.
    pub(super) fn start(
        &mut self,
        config: &Config,
        pod: &PodIdentity,
        place: &Place,
        policy: RestartPolicy,
    ) {
        if self.run > 0 {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.run += 1;
        let started = Timestamp::now();
        match process::start(&launch(config, pod, place, &self.plan)) {
            Ok((process, output)) => {
                let (pid, since) = (process.pid(), Instant::now());
                self.state = State::Running { pid, since, started, signalled: false };
                self.attend(process, output);
                self.watch(place);
            }
            Err(error) => {
                let message = format!("the program can't be started: {error}");
                tracing::warn!(pod = pod.name, container = self.plan.name, message);
                self.end(Exit::Code(128), started, Duration::ZERO, policy, Some(message));
            }
        }
    }

    fn attend(&self, process: Process, output: tokio::net::unix::pipe::Receiver) {
        let copy = tokio::spawn(Arc::clone(&self.log).copy(output));
        let events = self.events.clone();
        let (index, run) = (self.index, self.run);
        tokio::spawn(async move {
            let exit = process.wait().await;
            let stop = copy.abort_handle();
            if tokio::time::timeout(OUTPUT_WAIT, copy).await.is_err() {
                stop.abort();
            }
            // Without a receiver nobody needs to know.
            drop(events.send(Event { index, run, what: What::Exited(exit) }).await);
        });
    }

    fn watch(&mut self, place: &Place) {
        let (index, run, address) = (self.index, self.run, place.address);
        self.ready = self.plan.readiness.is_none();
        if let Some(probe) = self.plan.readiness.clone() {
            let events = self.events.clone();
            self.probes.spawn(async move {
                let mut readiness = Readiness::new(probe, address);
                loop {
                    let what = What::Ready(readiness.change().await);
                    if events.send(Event { index, run, what }).await.is_err() {
                        return;
                    }
                }
            });
        }
        if let Some(probe) = self.plan.liveness.clone() {
            let events = self.events.clone();
            self.probes.spawn(async move {
                probe::unhealthy(probe, address).await;
                drop(events.send(Event { index, run, what: What::Unhealthy }).await);
            });
        }
    }

    /// Takes the end of the process; sends [`What::Restart`] when another one is to follow.
    pub(super) fn exited(&mut self, exit: Exit, policy: RestartPolicy) {
        let State::Running { since, started, signalled, .. } = self.state else { return };
        self.killed = (exit.signal().is_some() && !signalled).then(Instant::now);
        self.end(exit, started, since.elapsed(), policy, None);
    }

    fn end(
        &mut self,
        exit: Exit,
        started: Timestamp,
        lived: Duration,
        policy: RestartPolicy,
        message: Option<String>,
    ) {
        self.probes = JoinSet::new();
        self.ready = false;
        let ended = Ended {
            code: exit.code(),
            signal: exit.signal(),
            reason: match (&message, exit) {
                (Some(_), _) => pods::START_ERROR,
                (None, Exit::Code(0)) => conditions::RUNNING_COMPLETED,
                (None, Exit::Code(_) | Exit::Signal(_)) => pods::ERROR,
            },
            message,
            started,
            finished: Timestamp::now(),
        };
        let restart = match after_exit(policy, exit, lived, self.failures) {
            Next::Stay => false,
            Next::Restart { wait, failures } => {
                self.failures = failures;
                self.later(wait, What::Restart);
                true
            }
        };
        self.last = Some(ended.clone());
        self.state = State::Ended { ended, restart };
    }

    /// Sends an event about this process after a while.
    pub(super) fn later(&self, wait: Duration, what: What) {
        let (index, run, events) = (self.index, self.run, self.events.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(events.send(Event { index, run, what }).await);
        });
    }

    /// Asks the process to end, after its hook where it has one.
    pub(super) fn wind_down(&mut self, address: Option<Ipv4Addr>) {
        match (self.plan.pre_stop.clone(), address) {
            (Some(hook), Some(address)) if self.is_running() => {
                let (index, run, events) = (self.index, self.run, self.events.clone());
                self.probes.spawn(async move {
                    probe::tell(&hook, address).await;
                    drop(events.send(Event { index, run, what: What::HookDone }).await);
                });
            }
            _ => self.terminate(),
        }
    }

    /// Has the process end without waiting for anything: a role does so at SIGINT.
    pub(super) fn leave(&mut self) {
        match (&self.plan.run, &mut self.state) {
            (Program::Role { .. }, State::Running { pid, signalled, .. }) => {
                *signalled = true;
                process::interrupt(*pid);
            }
            _ => self.terminate(),
        }
    }

    /// Asks the process to end.
    pub(super) fn terminate(&mut self) {
        if let State::Running { pid, signalled, .. } = &mut self.state {
            *signalled = true;
            process::terminate(*pid);
        }
    }

    /// Ends the process and its descendants.
    pub(super) fn kill(&mut self) {
        if let State::Running { pid, signalled, .. } = &mut self.state {
            *signalled = true;
            process::kill_tree(*pid);
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether a process that ended is to be followed by another.
    pub(super) fn awaits_restart(&self) -> bool {
        matches!(self.state, State::Ended { restart: true, .. })
    }

    /// How it ended, if for good.
    pub(super) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended { ended, restart: false } => Some(ended),
            State::Ended { .. } | State::Running { .. } | State::Waiting => None,
        }
    }

    /// How long ago somebody else's signal ended its last process.
    pub(super) fn killed_since(&self) -> Option<Duration> {
        self.killed.map(|at| at.elapsed())
    }

    pub(super) fn log(&self) -> &Arc<ContainerLog> {
        &self.log
    }

    /// What the status says; in a pod that is over no restart is announced.
    pub(super) fn view(&self, over: bool) -> ContainerView {
        let (id, state) = match &self.state {
            State::Waiting => (None, waiting(pods::CONTAINER_CREATING, String::new())),
            State::Running { pid, started, .. } => {
                (Some(pid.as_raw_pid()), View::Running { since: *started })
            }
            State::Ended { ended, restart } if over || !restart => {
                (None, View::Ended(ended.clone()))
            }
            State::Ended { ended, .. } => {
                let message = ended.message.clone().unwrap_or_else(|| {
                    format!("exit status {}: the container is restarted after a while", ended.code)
                });
                (None, waiting(pods::CRASH_LOOP_BACK_OFF, message))
            }
        };
        let last = if matches!(state, View::Ended(_)) { None } else { self.last.clone() };
        ContainerView {
            name: self.plan.name.clone(),
            image: self.image.clone(),
            id,
            state,
            last,
            restarts: self.restarts,
            ready: self.ready,
        }
    }
}

pub(super) fn waiting(reason: &str, message: String) -> View {
    View::Waiting { reason: reason.to_owned(), message }
}

//! One pod on this node, from its binding to the end of its object.
//!
//! Every change comes as an event; after each one [`Actor::settle`] brings processes and status to where the stage of
//! the pod wants them. Invariant: a pod that is over, or whose object is gone, has no process, token or address.

mod start;
mod view;

use super::Node;
use super::container::{Container, Event, What};
use super::directories::Directories;
use super::launch::Place;
use super::plan::{Refusal, RestartPolicy};
use super::restart::is_pod_gone;
use super::sources::Sources;
use super::write::{PodWriter, Written};
use crate::PodIdentity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::pods;
use kruntimes_daemon::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// First wait before something that failed is tried again; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest such wait.
const RETRY_LAST: Duration = Duration::from_secs(30);
/// How long processes may take to end when the home ends.
const LEAVE_WAIT: Duration = Duration::from_millis(2500);
/// How long a container that is not healthy may take to end.
const UNHEALTHY_WAIT: Duration = Duration::from_secs(10);
/// Events of a pod that wait.
pub(super) const EVENT_LIMIT: usize = 64;

/// The pod.
#[derive(Debug)]
pub(super) struct Actor {
    node: Arc<Node>,
    identity: PodIdentity,
    writer: PodWriter,
    stage: Stage,
    policy: RestartPolicy,
    grace: Duration,
    containers: Vec<Container>,
    place: Option<Place>,
    sources: Option<Sources>,
    token: Option<String>,
    started: Option<Timestamp>,
    events: mpsc::Sender<Event>,
    /// When processes that were asked to end are killed.
    deadline: Option<Instant>,
    /// When something that failed is tried again, and the wait after that.
    retry: Option<Instant>,
    retry_wait: Duration,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Not started: something is missing, or the node can't run it.
    Pending(Option<Refusal>),
    Live,
    /// Its processes are ending.
    Stopping(Goal),
    /// Ended; the object stays until somebody deletes it.
    Over {
        phase: &'static str,
        why: Option<(&'static str, String)>,
    },
    /// Nothing is left to do.
    Done,
}

#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// The object is to be deleted.
    Delete,
    /// The object is gone.
    Vanish,
    /// The home ends.
    Leave,
    /// The pod failed.
    Fail { reason: &'static str, message: String },
}

impl Actor {
    pub(super) fn new(
        node: Arc<Node>,
        pod: Pod,
        stage: Stage,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let client = node.client.clone();
        Self {
            identity: identity(&pod),
            writer: PodWriter::new(client, pod),
            node,
            stage,
            policy: RestartPolicy::Always,
            grace: Duration::ZERO,
            containers: Vec::new(),
            place: None,
            sources: None,
            token: None,
            started: None,
            events,
            deadline: None,
            retry: None,
            retry_wait: RETRY_FIRST,
        }
    }

    /// Lives until nothing is left of the pod, or the home ends.
    pub(super) async fn run(
        mut self,
        mut updates: watch::Receiver<Option<Arc<Pod>>>,
        mut events: mpsc::Receiver<Event>,
        mut shutdown: Shutdown,
    ) {
        if matches!(self.stage, Stage::Over { .. }) {
            // What a home that was killed left behind, Secrets among it.
            self.clean_up(true).await;
        }
        self.look_at_object();
        self.settle().await;
        let mut leaving = false;
        while !matches!(self.stage, Stage::Done) {
            let timer = self.deadline.into_iter().chain(self.retry).min();
            let alarm = async {
                match timer {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = updates.changed() => {
                    let update = updates.borrow_and_update().clone().filter(|_| changed.is_ok());
                    self.on_update(update.as_deref());
                }
                Some(event) = events.recv() => self.on_event(&event),
                () = shutdown.wait(), if !leaving => {
                    leaving = true;
                    self.stop(Goal::Leave, LEAVE_WAIT);
                }
                () = alarm => self.on_alarm(),
            }
            self.settle().await;
        }
    }

    fn on_update(&mut self, pod: Option<&Pod>) {
        match pod {
            Some(pod) => {
                self.writer.seen(pod);
                self.look_at_object();
            }
            None => self.vanish(),
        }
    }

    fn look_at_object(&mut self) {
        let metadata = &self.writer.pod().metadata;
        if metadata.deletion_timestamp.is_none() {
            return;
        }
        let seconds = metadata.deletion_grace_period_seconds;
        let grace = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let grace = grace.map_or(self.grace, Duration::from_secs);
        self.stop(Goal::Delete, grace);
    }

    fn vanish(&mut self) {
        self.stop(Goal::Vanish, Duration::ZERO);
    }

    fn on_alarm(&mut self) {
        let now = Instant::now();
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.containers.iter_mut().for_each(Container::kill);
        }
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
        }
    }

    fn on_event(&mut self, event: &Event) {
        let stopping = !matches!(self.stage, Stage::Live);
        let (policy, grace) = (self.policy, self.grace);
        let Some(container) = self.containers.get_mut(event.index) else { return };
        if container.run != event.run {
            return;
        }
        match event.what {
            What::Ready(ready) => container.ready = ready && container.is_running(),
            What::Unhealthy => {
                let (pod, name) = (&self.identity.name, &container.plan.name);
                tracing::warn!(pod, name, "liveness probe failed; the container is restarted");
                container.terminate();
                container.later(grace.min(UNHEALTHY_WAIT), What::Overdue);
            }
            What::HookDone => container.terminate(),
            What::Overdue => container.kill(),
            What::Exited(exit) => {
                container.exited(exit, policy);
                self.after_exit();
            }
            What::Restart if stopping || !container.awaits_restart() => {}
            What::Restart => {
                if let Some(place) = &self.place {
                    container.start(&self.node.config, &self.identity, place, policy);
                }
            }
        }
    }

    fn after_exit(&mut self) {
        if !matches!(self.stage, Stage::Live) {
            return;
        }
        if is_pod_gone(self.containers.iter().map(Container::killed_since)) {
            let message = "the processes of all containers were killed".to_owned();
            let reason = pods::PROCESSES_GONE;
            self.stop(Goal::Fail { reason, message }, Duration::ZERO);
        }
    }

    /// Begins the end; a goal that is further on replaces one that is less.
    fn stop(&mut self, goal: Goal, grace: Duration) {
        let rank = |goal: &Goal| match goal {
            Goal::Fail { .. } => 0,
            Goal::Delete => 1,
            Goal::Vanish => 2,
            Goal::Leave => 3,
        };
        match &self.stage {
            Stage::Done => return,
            Stage::Stopping(current) if rank(current) >= rank(&goal) => return,
            Stage::Stopping(_) | Stage::Pending(_) | Stage::Live | Stage::Over { .. } => {}
        }
        let leaves = matches!(goal, Goal::Leave);
        self.stage = Stage::Stopping(goal);
        let deadline = Instant::now() + grace;
        self.deadline = Some(self.deadline.map_or(deadline, |at| at.min(deadline)));
        if grace.is_zero() {
            self.containers.iter_mut().for_each(Container::kill);
        } else if leaves {
            self.containers.iter_mut().for_each(Container::leave);
        } else {
            let address = self.place.as_ref().map(|place| place.address);
            self.containers.iter_mut().for_each(|container| container.wind_down(address));
        }
    }

    /// Does what the stage asks for.
    async fn settle(&mut self) {
        if self.retry.is_some() {
            // Only the end of the home can't wait.
            if !matches!(self.stage, Stage::Stopping(Goal::Leave | Goal::Vanish)) {
                return;
            }
        }
        if matches!(self.stage, Stage::Pending(_)) {
            self.try_start().await;
        }
        self.try_finish().await;
        let running = self.containers.iter().any(Container::is_running);
        match self.stage.clone() {
            Stage::Stopping(goal) if !running => self.finish(goal).await,
            Stage::Stopping(Goal::Leave | Goal::Vanish) | Stage::Done => {}
            Stage::Pending(_) | Stage::Live | Stage::Stopping(_) | Stage::Over { .. } => {
                let observed = self.observe();
                let written = self.writer.status(&observed).await;
                self.take(written);
            }
        }
    }

    /// A pod that is not to be restarted is over when all its containers are.
    async fn try_finish(&mut self) {
        if !matches!(self.stage, Stage::Live) || self.containers.is_empty() {
            return;
        }
        let ended: Option<Vec<i32>> = self
            .containers
            .iter()
            .map(|container| container.ended().map(|ended| ended.code))
            .collect();
        let Some(codes) = ended else { return };
        self.clean_up(true).await;
        let phase = if codes.iter().all(|code| *code == 0) { "Succeeded" } else { "Failed" };
        self.stage = Stage::Over { phase, why: None };
    }

    async fn finish(&mut self, goal: Goal) {
        self.deadline = None;
        match goal {
            Goal::Fail { reason, message } => {
                // Told first: another pod is to take its place at once.
                self.stage = Stage::Over { phase: "Failed", why: Some((reason, message)) };
                let observed = self.observe();
                let written = self.writer.status(&observed).await;
                self.clean_up(true).await;
                self.take(written);
            }
            Goal::Delete => {
                // As a kubelet does: who sees all containers terminated needs no other proof that nothing runs.
                let observed = self.observe();
                if self.writer.status(&observed).await == Written::Failed {
                    return self.take(Written::Failed);
                }
                self.clean_up(false).await;
                match self.writer.remove().await {
                    Written::Done | Written::Gone => self.stage = Stage::Done,
                    Written::Failed => self.take(Written::Failed),
                }
            }
            Goal::Vanish => {
                self.clean_up(false).await;
                self.stage = Stage::Done;
            }
            Goal::Leave => {
                self.clean_up(true).await;
                self.stage = Stage::Done;
            }
        }
    }

    /// Gives back what the pod had; its output may stay.
    async fn clean_up(&mut self, keep_logs: bool) {
        if let Some(token) = self.token.take() {
            self.node.tokens.revoke(&token);
        }
        if let Some(mut sources) = self.sources.take() {
            sources.stop().await;
        }
        if let Some(place) = self.place.take() {
            self.node.addresses.release(place.address);
        }
        for log in self.containers.iter().map(Container::log) {
            if keep_logs {
                log.close();
            } else {
                self.node.logs.remove(log);
            }
        }
        let Some(directories) = self.directories() else { return };
        // A workspace may be large.
        let remove = move || if keep_logs { directories.keep_logs() } else { directories.remove() };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(remove).await {
            tracing::warn!(pod = self.identity.name, %error, "files of a former pod stay");
        }
    }

    fn directories(&self) -> Option<Directories> {
        Directories::of(&self.node.config.data_dir, &self.identity.uid)
    }

    /// Takes what became of a write, and plans the next try.
    fn take(&mut self, written: Written) {
        match written {
            Written::Done => self.retry_wait = RETRY_FIRST,
            Written::Gone => self.vanish(),
            Written::Failed => {
                self.retry = Some(Instant::now() + self.retry_wait);
                self.retry_wait = (self.retry_wait * 2).min(RETRY_LAST);
            }
        }
    }
}

fn identity(pod: &Pod) -> PodIdentity {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    PodIdentity {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        service_account: account.unwrap_or_else(|| "default".to_owned()),
    }
}

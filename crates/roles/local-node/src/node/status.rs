//! The status of a pod on this node: a pure function of what was observed.
//!
//! Invariants: conditions of other writers stay as they are; times change only with what they tell.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::pods;
use std::net::Ipv4Addr;

/// What is known of a pod.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) phase: &'static str,
    /// Reason and message of the pod as a whole.
    pub(super) why: Option<(&'static str, String)>,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) started: Option<Timestamp>,
    pub(super) containers: Vec<ContainerView>,
}

/// What is known of a container.
#[derive(Debug)]
pub(super) struct ContainerView {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) id: Option<i32>,
    pub(super) state: View,
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    pub(super) ready: bool,
}

/// State of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum View {
    Waiting { reason: String, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

/// How a container's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
}

/// The new status of `pod`, if it differs from what the pod says.
pub(super) fn status(pod: &Pod, observed: &Observed, now: Timestamp) -> Option<PodStatus> {
    let before = pod.status.clone().unwrap_or_default();
    let conditions = before.conditions.clone().unwrap_or_default();
    let mut status = PodStatus {
        phase: Some(observed.phase.to_owned()),
        host_ip: Some(super::HOST_ADDRESS.to_string()),
        host_ips: Some(vec![HostIP { ip: super::HOST_ADDRESS.to_string() }]),
        container_statuses: Some(observed.containers.iter().map(container).collect()),
        conditions: Some(merge(pod, &conditions, observed, now)),
        ..before.clone()
    };
    if let Some((reason, message)) = &observed.why {
        status.reason = Some((*reason).to_owned());
        status.message = Some(message.clone());
    }
    if let Some(address) = observed.address {
        status.pod_ip = Some(address.to_string());
        status.pod_ips = Some(vec![PodIP { ip: address.to_string() }]);
    }
    if let Some(started) = observed.started {
        status.start_time = Some(seconds(started));
    }
    (status != before).then_some(status)
}

fn merge(
    pod: &Pod,
    before: &[PodCondition],
    observed: &Observed,
    now: Timestamp,
) -> Vec<PodCondition> {
    let names = |ready: bool| {
        let names = observed.containers.iter().filter(|view| view.ready == ready);
        names.map(|view| view.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let waiting = format!("containers with unready status: [{}]", names(false));
    let ended = matches!(observed.phase, "Failed" | "Succeeded");
    let containers_ready = !ended && names(false).is_empty() && !observed.containers.is_empty();
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref());
    let closed_gate = gates.unwrap_or_default().iter().find(|gate| {
        let found = before.iter().find(|condition| condition.type_ == gate.condition_type);
        found.is_none_or(|condition| condition.status != "True")
    });
    let not_ready = if ended {
        Some((
            if observed.phase == "Failed" { pods::POD_FAILED } else { pods::POD_COMPLETED },
            String::new(),
        ))
    } else if containers_ready {
        None
    } else {
        Some((pods::CONTAINERS_NOT_READY, waiting))
    };
    let ready = not_ready.clone().or_else(|| {
        let gate = closed_gate?;
        let message = format!("the condition {} is not True", gate.condition_type);
        Some((pods::READINESS_GATES_NOT_READY, message))
    });
    let own = [
        ("PodScheduled", None),
        ("Initialized", None),
        ("ContainersReady", not_ready),
        ("Ready", ready),
    ];
    let mut conditions = before.to_vec();
    for (kind, problem) in own {
        let last = before.iter().find(|condition| condition.type_ == kind);
        let new = condition(kind, problem, last, now);
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(place) => *place = new,
            None => conditions.push(new),
        }
    }
    conditions
}

fn condition(
    kind: &str,
    problem: Option<(&str, String)>,
    last: Option<&PodCondition>,
    now: Timestamp,
) -> PodCondition {
    let status = if problem.is_none() { "True" } else { "False" };
    let since = last.filter(|last| last.status == status);
    let since = since.and_then(|last| last.last_transition_time.clone());
    let (reason, message) = problem.unzip();
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message: message.filter(|message| !message.is_empty()),
        last_transition_time: Some(since.unwrap_or_else(|| seconds(now))),
        last_probe_time: None,
        observed_generation: None,
    }
}

fn container(view: &ContainerView) -> ContainerStatus {
    let state = match &view.state {
        View::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: Some(message.clone()).filter(|message| !message.is_empty()),
            }),
            ..ContainerState::default()
        },
        View::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(seconds(*since)) }),
            ..ContainerState::default()
        },
        View::Ended(ended) => terminated(ended),
    };
    ContainerStatus {
        name: view.name.clone(),
        image: view.image.clone(),
        image_id: String::new(),
        container_id: view.id.map(|pid| format!("{CONTAINER_ID_PREFIX}{pid}")),
        started: Some(matches!(view.state, View::Running { .. })),
        state: Some(state),
        last_state: view.last.as_ref().map(terminated),
        ready: view.ready,
        restart_count: view.restarts,
        ..ContainerStatus::default()
    }
}

/// What precedes the process id in `containerID`.
pub(super) const CONTAINER_ID_PREFIX: &str = "process://";

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ended.code,
            signal: ended.signal,
            reason: Some(ended.reason.to_owned()),
            message: ended.message.clone(),
            started_at: Some(seconds(ended.started)),
            finished_at: Some(seconds(ended.finished)),
            container_id: None,
        }),
        ..ContainerState::default()
    }
}

/// A time as the API writes it: whole seconds.
fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests;

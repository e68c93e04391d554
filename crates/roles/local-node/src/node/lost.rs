//! Containers of a pod whose processes this node does not have: it was started by a home that has ended.

use super::status::{ContainerView, Ended, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kruntimes_api::{conditions, pods};

/// Exit code of a process whose end nobody saw, as kubelets write it.
const UNKNOWN_EXIT: i32 = 137;

/// All containers as ended; one that ended before keeps how.
pub(super) fn views(pod: &Pod, now: Timestamp) -> Vec<ContainerView> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let statuses = statuses.unwrap_or_default();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let views = containers.map(|container| {
        let status = statuses.iter().find(|status| status.name == container.name);
        let state = status.and_then(|status| status.state.as_ref());
        ContainerView {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            id: None,
            state: View::Ended(state.and_then(known_end).unwrap_or_else(|| lost(status, now))),
            last: None,
            restarts: status.map_or(0, |status| status.restart_count),
            ready: false,
        }
    });
    views.collect()
}

fn known_end(state: &ContainerState) -> Option<Ended> {
    let terminated = state.terminated.as_ref()?;
    let reasons = [
        conditions::RUNNING_COMPLETED,
        pods::ERROR,
        pods::START_ERROR,
        pods::CONTAINER_STATUS_UNKNOWN,
    ];
    let reason = terminated.reason.as_deref();
    Some(Ended {
        code: terminated.exit_code,
        signal: terminated.signal,
        reason: reasons.into_iter().find(|known| Some(*known) == reason).unwrap_or(pods::ERROR),
        message: terminated.message.clone(),
        started: terminated.started_at.as_ref()?.0,
        finished: terminated.finished_at.as_ref()?.0,
    })
}

fn lost(status: Option<&ContainerStatus>, now: Timestamp) -> Ended {
    let running = status.and_then(|status| status.state.as_ref()?.running.as_ref());
    let started =
        running.and_then(|running| running.started_at.as_ref()).map_or(now, |time| time.0);
    Ended {
        code: UNKNOWN_EXIT,
        signal: None,
        reason: pods::CONTAINER_STATUS_UNKNOWN,
        message: Some("the local home that ran it has ended".to_owned()),
        started,
        finished: now,
    }
}

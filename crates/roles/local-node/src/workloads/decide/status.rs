//! The status of a Deployment: counts, `Available` and `Progressing`.
//!
//! Invariant: the same observation gives the same status, so that it is written only when something changed.

use super::rollout::Bounds;
use super::seconds;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::pods;
use std::time::Duration;

/// `progressDeadlineSeconds`, unless given.
const DEFAULT_DEADLINE_SECONDS: i32 = 600;

/// The status, and when to look again for the progress deadline. `creates` says that a new set is made by this plan.
pub(super) fn deployment(
    deployment: &Deployment,
    current: Option<&ReplicaSet>,
    old: &[&ReplicaSet],
    bounds: Bounds,
    creates: bool,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let before = deployment.status.clone().unwrap_or_default();
    let all = || old.iter().copied().chain(current).filter_map(|set| set.status.as_ref());
    let sum = |count: fn(&ReplicaSetStatus) -> i32| all().map(count).sum::<i32>();
    let available = sum(|status| status.available_replicas.unwrap_or(0));
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(|status| status.replicas)),
        updated_replicas: Some(
            current.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas),
        ),
        ready_replicas: Some(sum(|status| status.ready_replicas.unwrap_or(0))),
        available_replicas: Some(available),
        unavailable_replicas: Some((bounds.desired - available).max(0)),
        collision_count: before.collision_count,
        terminating_replicas: before.terminating_replicas,
        conditions: None,
    };
    let conditions = before.conditions.as_deref().unwrap_or_default();
    let available = available_condition(find(conditions, "Available"), &status, bounds, now);
    let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    let deadline = u64::try_from(deadline.unwrap_or(DEFAULT_DEADLINE_SECONDS)).unwrap_or_default();
    let stage = if creates || current.is_none() {
        Stage::Started
    } else if is_complete(&status, bounds) {
        Stage::Complete
    } else if moved(&before, &status) {
        Stage::Moved
    } else {
        Stage::Waiting
    };
    let last = find(conditions, "Progressing");
    let (progressing, recheck) = progressing(last, stage, Duration::from_secs(deadline), now);
    status.conditions = Some(vec![available, progressing]);
    (status, recheck)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Started,
    Moved,
    Waiting,
    Complete,
}

fn is_complete(status: &DeploymentStatus, bounds: Bounds) -> bool {
    let counts = [status.replicas, status.updated_replicas, status.available_replicas];
    counts.iter().all(|count| *count == Some(bounds.desired))
}

fn moved(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let more = |pick: fn(&DeploymentStatus) -> Option<i32>| {
        pick(after).unwrap_or(0) > pick(before).unwrap_or(0)
    };
    let old = |status: &DeploymentStatus| {
        status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0)
    };
    more(|status| status.updated_replicas)
        || more(|status| status.ready_replicas)
        || more(|status| status.available_replicas)
        || old(after) < old(before)
}

fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn available_condition(
    last: Option<&DeploymentCondition>,
    status: &DeploymentStatus,
    bounds: Bounds,
    now: Timestamp,
) -> DeploymentCondition {
    if status.available_replicas.unwrap_or(0) >= bounds.desired - bounds.unavailable {
        let message = "Deployment has minimum availability.";
        condition("Available", "True", pods::MINIMUM_REPLICAS_AVAILABLE, message, last, None, now)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition(
            "Available",
            "False",
            pods::MINIMUM_REPLICAS_UNAVAILABLE,
            message,
            last,
            None,
            now,
        )
    }
}

fn progressing(
    last: Option<&DeploymentCondition>,
    stage: Stage,
    deadline: Duration,
    now: Timestamp,
) -> (DeploymentCondition, Option<Duration>) {
    let write = |status, reason, message, updated| {
        condition("Progressing", status, reason, message, last, updated, now)
    };
    let updated = last.and_then(|last| last.last_update_time.clone());
    match stage {
        Stage::Complete => {
            let message = "the ReplicaSet of the current template has all its pods available";
            (write("True", pods::NEW_REPLICA_SET_AVAILABLE, message, None), None)
        }
        Stage::Started | Stage::Moved => {
            let again =
                last.is_some_and(|last| last.reason.as_deref() == Some(pods::REPLICA_SET_UPDATED));
            let updated =
                if stage == Stage::Started && again { updated } else { Some(seconds(now)) };
            let message = "the ReplicaSet of the current template is progressing";
            (write("True", pods::REPLICA_SET_UPDATED, message, updated), Some(deadline))
        }
        Stage::Waiting => {
            if let Some(last) = last.filter(|last| {
                // A rollout that was complete does not fail because a pod is replaced.
                last.reason.as_deref() != Some(pods::REPLICA_SET_UPDATED)
            }) {
                return (last.clone(), None);
            }
            let since = updated.as_ref().map_or(now, |time| time.0);
            let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            match deadline.checked_sub(waited).filter(|left| !left.is_zero()) {
                Some(left) => {
                    let message = "the ReplicaSet of the current template is progressing";
                    (write("True", pods::REPLICA_SET_UPDATED, message, updated), Some(left))
                }
                None => {
                    let message =
                        "the ReplicaSet of the current template has not progressed in time";
                    (write("False", pods::PROGRESS_DEADLINE_EXCEEDED, message, None), None)
                }
            }
        }
    }
}

/// A condition whose times change only when it does.
fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    last: Option<&DeploymentCondition>,
    updated: Option<Time>,
    now: Timestamp,
) -> DeploymentCondition {
    let same_status = last.filter(|last| last.status == status);
    let same = same_status.filter(|last| last.reason.as_deref() == Some(reason));
    let transition = same_status.and_then(|last| last.last_transition_time.clone());
    let update = updated.or_else(|| same.and_then(|last| last.last_update_time.clone()));
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(transition.unwrap_or_else(|| seconds(now))),
        last_update_time: Some(update.unwrap_or_else(|| seconds(now))),
    }
}

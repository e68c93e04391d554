//! The pods of a ReplicaSet: how many to make, which to delete, and what its status says.
//!
//! Invariants: only pods that the set controls count; a set that is being deleted makes none; a pod that failed is
//! replaced at once, but pods that fail again and again wait.

use super::{is_owned, owned_by};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kruntimes_api::pods;
use std::time::Duration;

/// Pods that one look makes at most; the events of these lead to the next look.
const CREATE_LIMIT: usize = 100;
/// How long a failed pod stays to be looked at.
const FAILED_KEPT: Duration = Duration::from_secs(300);
/// Failed pods that stay at most.
const FAILED_LIMIT: usize = 20;
/// Failures in this time count for the wait before the next replacement.
const FAILED_WINDOW: Duration = Duration::from_secs(60);
/// Longest wait before a replacement.
const REPLACE_LAST: Duration = Duration::from_secs(60);

/// What to do for a ReplicaSet.
#[derive(Debug, PartialEq)]
pub(in crate::workloads) struct ScalePlan {
    pub(in crate::workloads) create: usize,
    /// Names of the pods to delete.
    pub(in crate::workloads) delete: Vec<String>,
    pub(in crate::workloads) status: ReplicaSetStatus,
    /// Look again after this time without an event.
    pub(in crate::workloads) recheck: Option<Duration>,
}

/// Decides for `set`; `pods` are the pods of its namespace.
pub(in crate::workloads) fn scale(set: &ReplicaSet, pods: &[Pod], now: Timestamp) -> ScalePlan {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let owned: Vec<&Pod> =
        pods.iter().filter(|pod| is_owned(&pod.metadata, "ReplicaSet", uid)).collect();
    let (mut active, ended): (Vec<&Pod>, Vec<&Pod>) = owned
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .partition(|pod| !is_ended(pod));
    let (status, until_available) = status(set, &active, now);
    let mut plan = ScalePlan { create: 0, delete: Vec::new(), status, recheck: until_available };
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let wanted = usize::try_from(set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
        .unwrap_or_default();
    if active.len() > wanted {
        active.sort_by_key(|pod| keep_rank(pod));
        plan.delete = active.iter().take(active.len() - wanted).map(|pod| name(pod)).collect();
    } else if active.len() < wanted {
        match replacement_wait(&ended, wanted, now) {
            None => plan.create = (wanted - active.len()).min(CREATE_LIMIT),
            Some(wait) => sooner(&mut plan.recheck, wait),
        }
    }
    forget_ended(&mut plan, ended, now);
    plan
}

/// The pod named `name` of `set`.
pub(in crate::workloads) fn pod(set: &ReplicaSet, name: &str) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: set.metadata.namespace.clone(),
        labels: from.labels,
        annotations: from.annotations,
        finalizers: from.finalizers,
        owner_references: Some(vec![owned_by(&set.metadata, "ReplicaSet")]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec, status: None }
}

fn status(
    set: &ReplicaSet,
    active: &[&Pod],
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let min_ready = Duration::from_secs(u64::try_from(min_ready).unwrap_or_default());
    let mut ready = 0;
    let mut available = 0;
    let mut recheck = None;
    for since in active.iter().filter_map(|pod| ready_since(pod)) {
        ready += 1;
        let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        match min_ready.checked_sub(age) {
            Some(left) if !left.is_zero() => sooner(&mut recheck, left),
            Some(_) | None => available += 1,
        }
    }
    let count = i32::try_from(active.len()).unwrap_or(i32::MAX);
    let status = ReplicaSetStatus {
        replicas: count,
        fully_labeled_replicas: Some(count),
        ready_replicas: Some(ready),
        available_replicas: Some(available),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        terminating_replicas: None,
    };
    (status, recheck)
}

/// How long to wait before the next replacement, if pods fail faster than they should.
fn replacement_wait(ended: &[&Pod], wanted: usize, now: Timestamp) -> Option<Duration> {
    let recent: Vec<Timestamp> = ended
        .iter()
        .filter(|pod| reason(pod) == Some(pods::PROCESSES_GONE))
        .map(|pod| ended_at(pod))
        .filter(|at| age(*at, now) < FAILED_WINDOW)
        .collect();
    let over = recent.len().checked_sub(wanted.saturating_mul(2) + 4)?;
    let wait = Duration::from_secs(1 << over.min(6)).min(REPLACE_LAST);
    let last = recent.iter().max()?;
    wait.checked_sub(age(*last, now)).filter(|left| !left.is_zero())
}

fn forget_ended(plan: &mut ScalePlan, mut ended: Vec<&Pod>, now: Timestamp) {
    ended.sort_by_key(|pod| std::cmp::Reverse((ended_at(pod), name(pod))));
    for (index, pod) in ended.into_iter().enumerate() {
        match FAILED_KEPT.checked_sub(age(ended_at(pod), now)) {
            Some(left) if index < FAILED_LIMIT && !left.is_zero() => {
                sooner(&mut plan.recheck, left);
            }
            Some(_) | None => plan.delete.push(name(pod)),
        }
    }
}

fn sooner(recheck: &mut Option<Duration>, wait: Duration) {
    *recheck = Some(recheck.map_or(wait, |planned| planned.min(wait)));
}

fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn reason(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.reason.as_deref()
}

fn is_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// The pods that go first have the lowest rank: not bound, then not ready, then the newest.
fn keep_rank(pod: &Pod) -> (bool, bool, std::cmp::Reverse<Timestamp>, String) {
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    (bound, ready_since(pod).is_some(), std::cmp::Reverse(created_at(pod)), name(pod))
}

fn created_at(pod: &Pod) -> Timestamp {
    pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn ended_at(pod: &Pod) -> Timestamp {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let finished = statuses.unwrap_or_default().iter().filter_map(|container| {
        Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
    });
    finished.max().unwrap_or_else(|| created_at(pod))
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or_else(|| created_at(pod), |time| time.0))
}

#[cfg(test)]
mod tests;

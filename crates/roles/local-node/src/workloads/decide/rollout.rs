//! The ReplicaSets of a Deployment: which to make, to scale and to delete, so that a new template replaces the old.
//!
//! Invariants: never more than `replicas + maxSurge` pods are asked for, and no old pod that is available is given
//! up while fewer than `replicas - maxUnavailable` would stay; a set's name follows from the template, so that a
//! repeated decision makes nothing twice.

use super::{REVISION, TEMPLATE_HASH, is_owned, owned_by, status};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Hex digits of a template's hash.
const HASH_CHARS: usize = 10;
/// `maxSurge` and `maxUnavailable`, unless given.
const DEFAULT_PERCENT: i64 = 25;
/// `revisionHistoryLimit`, unless given.
const DEFAULT_HISTORY: i32 = 10;

/// What to do for a Deployment.
#[derive(Debug)]
pub(in crate::workloads) struct RolloutPlan {
    pub(in crate::workloads) create: Option<Box<ReplicaSet>>,
    pub(in crate::workloads) scale: Vec<Scale>,
    /// Names of the ReplicaSets to delete.
    pub(in crate::workloads) delete: Vec<String>,
    /// The revision of the current template: for the Deployment, and for its set if that says otherwise.
    pub(in crate::workloads) revision: String,
    pub(in crate::workloads) renumber: Option<String>,
    pub(in crate::workloads) status: DeploymentStatus,
    /// Look again after this time without an event.
    pub(in crate::workloads) recheck: Option<Duration>,
}

/// A ReplicaSet that gets another number of replicas, if it is still at this version.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::workloads) struct Scale {
    pub(in crate::workloads) name: String,
    pub(in crate::workloads) version: String,
    pub(in crate::workloads) replicas: i32,
}

/// Numbers of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) desired: i32,
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// One ReplicaSet as the decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Observed {
    name: String,
    version: String,
    replicas: i32,
    available: i32,
    /// Pods that there still are.
    present: i32,
}

/// Decides for `deployment`; `sets` are the ReplicaSets of its namespace. None: the object makes no sense or is being
/// deleted, so that only its change helps.
pub(in crate::workloads) fn rollout(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    now: Timestamp,
) -> Option<RolloutPlan> {
    let spec = deployment.spec.as_ref()?;
    if deployment.metadata.deletion_timestamp.is_some() || !selects(&spec.selector, &spec.template)
    {
        return None;
    }
    let uid = deployment.metadata.uid.as_deref()?;
    let hash = template_hash(&spec.template);
    let owned: Vec<&ReplicaSet> = sets
        .iter()
        .filter(|set| is_owned(&set.metadata, "Deployment", uid))
        .filter(|set| set.metadata.deletion_timestamp.is_none())
        .collect();
    let (current, mut old): (Vec<&ReplicaSet>, Vec<&ReplicaSet>) =
        owned.iter().partition(|set| label(set, TEMPLATE_HASH) == Some(hash.as_str()));
    old.sort_by_key(|set| revision(set));
    let current = current.first().copied();
    let bounds = bounds(spec);
    let newest = old.last().map_or(0, |set| revision(set));
    let number = match current {
        Some(set) if revision(set) > newest => revision(set),
        Some(_) | None => newest + 1,
    };
    let mut plan = RolloutPlan {
        create: None,
        scale: Vec::new(),
        delete: history(&old, spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY)),
        revision: number.to_string(),
        renumber: current
            .filter(|set| revision(set) != number)
            .and_then(|set| set.metadata.name.clone()),
        status: DeploymentStatus::default(),
        recheck: None,
    };
    plan_sets(&mut plan, deployment, current, &old, &hash);
    let changes = plan.create.is_some();
    (plan.status, plan.recheck) =
        status::deployment(deployment, current, &old, bounds, changes, now);
    Some(plan)
}

fn plan_sets(
    plan: &mut RolloutPlan,
    deployment: &Deployment,
    current: Option<&ReplicaSet>,
    old: &[&ReplicaSet],
    hash: &str,
) {
    let Some(spec) = deployment.spec.as_ref() else { return };
    let bounds = bounds(spec);
    let old: Vec<Observed> = old.iter().map(|set| observe(set)).collect();
    let new = current.map(observe);
    let paused = spec.paused == Some(true);
    let recreate =
        spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate");
    let wanted = if recreate && old.iter().any(|set| set.replicas > 0 || set.present > 0) {
        new.as_ref().map_or(0, |set| set.replicas.min(bounds.desired))
    } else {
        let total: i32 = old.iter().chain(&new).map(|set| set.replicas).sum();
        new_replicas(bounds, new.as_ref().map_or(0, |set| set.replicas), total)
    };
    match &new {
        None if !paused => {
            plan.create =
                Some(Box::new(replica_set(deployment, spec, hash, wanted, &plan.revision)));
        }
        Some(set) if set.replicas != wanted => {
            plan.scale.push(Scale {
                name: set.name.clone(),
                version: set.version.clone(),
                replicas: wanted,
            });
        }
        Some(_) | None => {}
    }
    if paused {
        return;
    }
    if recreate {
        let live = old.iter().filter(|set| set.replicas > 0);
        plan.scale.extend(live.map(|set| set.scaled(0)));
    } else if let Some(new) = new.filter(|new| new.replicas == wanted) {
        plan.scale.extend(scale_down(bounds, &new, &old));
    }
}

impl Observed {
    fn scaled(&self, replicas: i32) -> Scale {
        Scale { name: self.name.clone(), version: self.version.clone(), replicas }
    }
}

fn observe(set: &ReplicaSet) -> Observed {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.as_ref();
    Observed {
        name: set.metadata.name.clone().unwrap_or_default(),
        version: set.metadata.resource_version.clone().unwrap_or_default(),
        replicas,
        // A status from before the last scaling may still count pods that are about to go.
        available: status.and_then(|status| status.available_replicas).unwrap_or(0).min(replicas),
        present: status.map_or(0, |status| status.replicas),
    }
}

/// Replicas of the current template's set.
fn new_replicas(bounds: Bounds, new: i32, total: i32) -> i32 {
    if new >= bounds.desired {
        return bounds.desired;
    }
    let room = bounds.desired.saturating_add(bounds.surge).saturating_sub(total);
    new + room.clamp(0, bounds.desired - new)
}

/// The old sets that shrink: first pods that are not available, then as many as the new ones stand in for.
fn scale_down(bounds: Bounds, new: &Observed, old: &[Observed]) -> Vec<Scale> {
    let least = bounds.desired - bounds.unavailable;
    let total: i32 = old.iter().map(|set| set.replicas).sum::<i32>() + new.replicas;
    let mut budget = total - least - (new.replicas - new.available);
    let mut left: Vec<(i32, i32)> = old.iter().map(|set| (set.replicas, set.available)).collect();
    for (replicas, available) in &mut left {
        let cut = (*replicas - *available).min(budget).max(0);
        *replicas -= cut;
        budget -= cut;
    }
    let available: i32 = left.iter().map(|(_, available)| available).sum::<i32>() + new.available;
    let mut spare = (available - least).min(budget);
    for (replicas, _) in &mut left {
        let cut = (*replicas).min(spare).max(0);
        *replicas -= cut;
        spare -= cut;
    }
    let pairs = old.iter().zip(left).filter(|(set, (replicas, _))| set.replicas != *replicas);
    pairs.map(|(set, (replicas, _))| set.scaled(replicas)).collect()
}

fn history(old: &[&ReplicaSet], limit: i32) -> Vec<String> {
    let idle: Vec<&&ReplicaSet> = old
        .iter()
        .filter(|set| {
            let observed = observe(set);
            observed.replicas == 0 && observed.present == 0
        })
        .collect();
    let limit = usize::try_from(limit).unwrap_or_default();
    let extra = idle.len().saturating_sub(limit);
    idle.into_iter().take(extra).filter_map(|set| set.metadata.name.clone()).collect()
}

pub(super) fn bounds(spec: &DeploymentSpec) -> Bounds {
    let desired = spec.replicas.unwrap_or(1).max(0);
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let surge = amount(surge, desired, 99);
    let unavailable = amount(unavailable, desired, 0).min(desired);
    // With neither nothing could ever move.
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    Bounds { desired, surge, unavailable: unavailable.min(desired) }
}

/// A number or a percentage of `desired`; `round` hundredths are added before the fraction is cut.
fn amount(value: Option<&IntOrString>, desired: i32, round: i64) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(count)) => return (*count).max(0),
        Some(IntOrString::String(text)) => {
            text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_PERCENT)
        }
        None => DEFAULT_PERCENT,
    };
    let hundredths = i64::from(desired).saturating_mul(percent.clamp(0, 100)).saturating_add(round);
    i32::try_from(hundredths / 100).unwrap_or(i32::MAX)
}

fn selects(selector: &LabelSelector, template: &PodTemplateSpec) -> bool {
    let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let wanted = selector.match_labels.as_ref();
    wanted.is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    })
}

fn template_hash(template: &PodTemplateSpec) -> String {
    let text = serde_json::to_vec(template).unwrap_or_default();
    let digest = Sha256::digest(&text);
    let mut hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    hash.truncate(HASH_CHARS);
    hash
}

fn label<'a>(set: &'a ReplicaSet, key: &str) -> Option<&'a str> {
    set.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn revision(set: &ReplicaSet) -> i64 {
    let annotations = set.metadata.annotations.as_ref();
    annotations.and_then(|map| map.get(REVISION)?.parse().ok()).unwrap_or(0)
}

fn replica_set(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    hash: &str,
    replicas: i32,
    revision: &str,
) -> ReplicaSet {
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let mut template = spec.template.clone();
    let hash_label = || (TEMPLATE_HASH.to_owned(), hash.to_owned());
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().extend([hash_label()]);
    let labels = metadata.labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().extend([hash_label()]);
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            annotations: Some(BTreeMap::from([(REVISION.to_owned(), revision.to_owned())])),
            owner_references: Some(vec![owned_by(&deployment.metadata, "Deployment")]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;

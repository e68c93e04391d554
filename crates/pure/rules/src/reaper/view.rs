//! What the reaper is shown, and what it orders.

use crate::mutant::{self, Mutant};
use crate::placement::RunKey;
use crate::pods;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Phase, Reason, Run, labels};
use kube::ResourceExt;
use std::sync::Arc;

/// Namespace and name of a pod, and of the Lease that is named as it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One pod: another one of its name has another UID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// Where it is.
    pub key: PodKey,
    /// UID.
    pub uid: String,
}

/// What the API server shows of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSeen {
    /// Which.
    pub id: PodId,
    /// How it is.
    pub life: Life,
}

/// How a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It is to stay, or may at least still run.
    Stays,
    /// It is being deleted and may still run.
    Ends,
    /// The kubelet says that nothing of it runs or ever will.
    Terminated,
}

/// A pod's Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Named as the pod.
    pub key: PodKey,
    /// Its resourceVersion.
    pub version: String,
    /// UID of the pod that may have executed under it since it was last free: its holder, or, where it is broken, the one
    /// that held it when it was.
    pub claimed_by: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Order {
    /// It is answered, once.
    Request(Request),
    /// Its pod is being deleted: delete the Run if its whole namespace is, for the pod waits for the Run.
    LookAtNamespace {
        /// The Run.
        run: Arc<Run>,
    },
}

/// What the reaper waits for.
#[derive(Debug, Clone)]
pub enum Request {
    /// Write the Lease without a holder and with the label `kruntimes.io/broken`: an update of `version`, or a creation.
    /// Answer: [`super::Reaper::broke`].
    BreakLease {
        /// Whose.
        pod: PodId,
        /// Name of its Runtime.
        runtime: String,
        /// What it stands on.
        version: Option<String>,
        /// Value of the label: the UID of the pod that may have executed under it.
        claimed_by: Option<String>,
    },
    /// Read consistently whether this pod exists. Answer: [`super::Reaper::found`].
    FindPod {
        /// Which.
        pod: PodId,
    },
    /// Write that the Run has lost its pod, as a change of exactly this version. Answer: [`super::Reaper::took`].
    Take {
        /// The Run as it was remembered.
        run: Arc<Run>,
        /// For programs.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// What became of a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakAnswer {
    /// This is the version of the broken Lease.
    Broken(String),
    /// Another version is stored, or none, or one where none was expected.
    Conflict,
    /// No answer, or a refusal: it may have been accepted.
    Failed,
}

/// Whether a pod was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindAnswer {
    /// It exists.
    Exists,
    /// None has this name, or another one has it.
    Gone,
    /// No answer.
    Failed,
}

/// What became of taking a Run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeAnswer {
    /// It was written, or the Run is gone.
    Done,
    /// Somebody else wrote the Run, or no answer came.
    Not,
}

impl PodKey {
    /// The key of an object that is named as a pod.
    #[must_use]
    pub fn of(object: &impl kube::Resource) -> Self {
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        Self { namespace, name: object.meta().name.clone().unwrap_or_default() }
    }
}

impl PodSeen {
    /// The view of a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let life = if pods::have_terminated(pod) {
            Life::Terminated
        } else if pod.metadata.deletion_timestamp.is_some() {
            Life::Ends
        } else {
            Life::Stays
        };
        Self { id: PodId { key: PodKey::of(pod), uid: pod.uid().unwrap_or_default() }, life }
    }
}

impl LeaseSeen {
    /// The view of a Lease.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let claimed_by = lease.labels().get(labels::BROKEN).cloned().or(holder);
        Self {
            key: PodKey::of(lease),
            version: lease.resource_version().unwrap_or_default(),
            claimed_by: claimed_by.filter(|uid| !uid.is_empty()),
        }
    }
}

/// The pod that a Run is assigned to.
pub(super) fn pod_of(run: &Run) -> Option<PodId> {
    let status = run.status.as_ref()?;
    let passed = status.phase == Phase::Scheduled && mutant::is(Mutant::ScheduledNotReaped);
    if passed || !matches!(status.phase, Phase::Scheduled | Phase::Running) {
        return None;
    }
    let name = status.assigned_pod.clone()?;
    let key = PodKey { namespace: RunKey::of(run).namespace, name };
    Some(PodId { key, uid: status.assigned_pod_uid.clone().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claimed_by(labels: &Value, spec: &Value) -> Option<String> {
        let lease = json!({"metadata": {"name": "p", "namespace": "n", "labels": labels,
            "resourceVersion": "7"}, "spec": spec});
        let seen = LeaseSeen::of(&serde_json::from_value(lease).unwrap());
        assert_eq!((seen.key.name.as_str(), seen.version.as_str()), ("p", "7"));
        seen.claimed_by
    }

    #[test]
    fn a_lease_is_claimed_by_its_holder_or_by_who_held_it_when_it_was_broken() {
        let held = json!({"holderIdentity": "u1"});
        let idle = json!({"holderIdentity": ""});
        let broken = |by: &str| json!({"runtime": "bash", "kruntimes.io/broken": by});
        assert_eq!(claimed_by(&json!({}), &held).as_deref(), Some("u1"));
        assert_eq!(claimed_by(&json!({}), &idle), None);
        assert_eq!(claimed_by(&json!({}), &Value::Null), None);
        assert_eq!(claimed_by(&broken("u1"), &idle).as_deref(), Some("u1"));
        assert_eq!(claimed_by(&broken(""), &idle), None);
    }
}

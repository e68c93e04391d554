//! Runs whose pod is gone: who finds them, and what is said of them.
//!
//! The snapshot's pod is read consistently, after the Run was seen assigned: a cache may lag.

use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Phase, Reason, Run};
use kube::ResourceExt;

/// What became of an assigned Run's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The pod is there, or the Run is not assigned.
    Held,
    /// The pod can't finish the Run.
    Lost {
        /// For programs.
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// Judges an assigned Run by its pod, `None` when the API server has none of that name.
#[must_use]
pub fn judge(run: &Run, pod: Option<&Pod>) -> Verdict {
    let Some(status) = &run.status else { return Verdict::Held };
    let (Phase::Scheduled | Phase::Running, Some(name)) = (status.phase, &status.assigned_pod)
    else {
        return Verdict::Held;
    };
    let lost = |what: &str| Verdict::Lost {
        reason: Reason::PodGone,
        message: format!("pod {name} {what}"),
    };
    match pod {
        None => lost("is gone"),
        Some(pod) if pod.uid() != status.assigned_pod_uid => lost("was replaced by another one"),
        Some(pod) if has_ended(pod) => lost("has ended"),
        Some(_) => Verdict::Held,
    }
}

/// Whether the kubelet says that all containers of a pod have terminated.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(phase: &str) -> Run {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"runtime": "bash"},
            "status": {"phase": phase, "assignedPod": "p", "assignedPodUID": "1"},
        }))
        .unwrap()
    }

    fn pod(uid: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": uid}, "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn is_lost(run: &Run, pod: Option<&Pod>) -> bool {
        matches!(judge(run, pod), Verdict::Lost { reason: Reason::PodGone, .. })
    }

    #[test]
    fn an_assigned_run_is_lost_with_its_pod_and_only_with_it() {
        for phase in ["Scheduled", "Running"] {
            assert!(is_lost(&run(phase), None), "{phase}");
            assert!(is_lost(&run(phase), Some(&pod("2", "Running"))), "{phase}");
            assert!(is_lost(&run(phase), Some(&pod("1", "Failed"))), "{phase}");
            assert!(!is_lost(&run(phase), Some(&pod("1", "Running"))), "{phase}");
        }
        for phase in ["Pending", "Succeeded", "Failed"] {
            assert!(!is_lost(&run(phase), None), "{phase}");
        }
    }
}

//! What a pod's status says of its containers.

use crate::mutant::{self, Mutant};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kruntimes_api::conditions;

/// Whether a pod has ended, as its phase says. The garbage collector of pods writes that too, for nodes that it lost:
/// what ran there may still run.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Whether a pod and its runtimed can be asked something now.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_true = |kind: &str| {
        conditions.clone().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    pod.metadata.deletion_timestamp.is_none()
        && is_true("Ready")
        && is_true(conditions::RUNTIMED_READY)
}

/// Whether the kubelet says that nothing of a pod runs and that nothing will: every container has terminated, in a pod that
/// has ended or is being deleted, where none is started again.
#[must_use]
pub fn have_terminated(pod: &Pod) -> bool {
    if mutant::is(Mutant::FailedIsProof) {
        return has_ended(pod);
    }
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return false };
    let stays_down = has_ended(pod) || pod.metadata.deletion_timestamp.is_some();
    let statuses = status.container_statuses.as_deref().unwrap_or_default();
    let of_init = status.init_container_statuses.as_deref().unwrap_or_default();
    let sidecars = spec.init_containers.iter().flatten();
    let mut sidecars =
        sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    stays_down
        && !spec.containers.is_empty()
        && spec.containers.iter().all(|container| has_terminated(&container.name, statuses))
        && sidecars.all(|container| has_terminated(&container.name, of_init))
}

fn has_terminated(name: &str, statuses: &[ContainerStatus]) -> bool {
    let found = statuses.iter().find(|status| status.name == name);
    found.and_then(|status| status.state.as_ref()).is_some_and(|state| state.terminated.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(deleting: bool, phase: &str, containers: &[(&str, Value)], sidecar: &Value) -> Pod {
        let statuses: Vec<Value> = containers
            .iter()
            .map(|(name, state)| {
                json!({"name": name, "state": state, "ready": false,
                "image": "", "imageID": "", "restartCount": 0})
            })
            .collect();
        let deleted = deleting.then_some("2026-01-01T00:00:00Z");
        let init = json!([{"name": "side", "state": sidecar, "ready": false, "image": "",
            "imageID": "", "restartCount": 0}]);
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "1", "deletionTimestamp": deleted},
            "spec": {
                "containers": [{"name": "runtime"}, {"name": "runtimed"}],
                "initContainers": [{"name": "first"}, {"name": "side", "restartPolicy": "Always"}],
            },
            "status": {"phase": phase, "containerStatuses": statuses, "initContainerStatuses": init},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_end_of_every_container_in_a_pod_that_stays_down_is_the_kubelets_word() {
        let ended = json!({"terminated": {"exitCode": 137}});
        let runs = json!({"running": {}});
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let both = [("runtime", ended.clone()), ("runtimed", ended.clone())];
        let one_runs = [("runtime", runs.clone()), ("runtimed", ended.clone())];
        let one_waits = [("runtime", ended.clone()), ("runtimed", waits)];
        let one_unknown = [("runtime", ended.clone())];
        for (deleting, phase, containers, sidecar, want) in [
            (false, "Failed", &both[..], &ended, true),
            (false, "Succeeded", &both, &ended, true),
            (true, "Running", &both, &ended, true),
            // They will be started again.
            (false, "Running", &both, &ended, false),
            (true, "Running", &one_runs, &ended, false),
            (true, "Running", &one_waits, &ended, false),
            // A phase without containers that terminated is the word of the garbage collector.
            (false, "Failed", &one_runs, &ended, false),
            (false, "Failed", &one_unknown, &ended, false),
            (true, "Failed", &[], &ended, false),
            (true, "Failed", &both, &runs, false),
        ] {
            let pod = pod(deleting, phase, containers, sidecar);
            assert_eq!(have_terminated(&pod), want, "{deleting} {phase} {containers:?} {sidecar}");
        }
    }

    #[test]
    fn a_pod_of_which_nothing_is_known_runs() {
        for pod in [
            json!({"metadata": {"name": "p"}}),
            json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": {"phase": "Failed"}}),
        ] {
            assert!(!have_terminated(&serde_json::from_value(pod).unwrap()));
        }
    }

    #[test]
    fn a_pod_can_be_asked_when_it_and_its_runtimed_are_ready_and_it_stays() {
        for (ready, runtimed, deleting, want) in [
            ("True", "True", false, true),
            ("False", "True", false, false),
            ("True", "Unknown", false, false),
            ("True", "True", true, false),
        ] {
            let deleted = deleting.then_some("2026-01-01T00:00:00Z");
            let pod = json!({
                "metadata": {"name": "p", "deletionTimestamp": deleted},
                "status": {"conditions": [
                    {"type": "Ready", "status": ready},
                    {"type": conditions::RUNTIMED_READY, "status": runtimed},
                ]},
            });
            let pod = serde_json::from_value(pod).unwrap();
            assert_eq!(is_ready(&pod), want, "{ready} {runtimed} {deleting}");
        }
        assert!(!is_ready(&serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap()));
    }

    #[test]
    fn a_phase_says_whether_a_pod_has_ended() {
        let ended = json!({"running": {}});
        for (phase, want) in [
            ("Pending", false),
            ("Running", false),
            ("Unknown", false),
            ("Succeeded", true),
            ("Failed", true),
        ] {
            assert_eq!(has_ended(&pod(false, phase, &[], &ended)), want, "{phase}");
        }
    }
}

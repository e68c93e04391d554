//! What keeps the pods of a pool from being ready, as far as the cluster says, and what to do about it.
//!
//! Nobody has a right on Secrets here: that one is missing is known by the kubelet's word alone, on a container or, for a
//! volume, in an Event.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kruntimes_api::{conditions, pods, pools};
use serde_json::Value;

/// What keeps a pool from being ready.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// The reason of `Ready=False`.
    pub reason: &'static str,
    /// What it is about, and what to do.
    pub message: String,
}

impl Trouble {
    /// With the name of the pod it was found on.
    #[must_use]
    pub fn on(&self, pod: &str) -> Self {
        Self { reason: self.reason, message: format!("pod {pod}: {}", self.message) }
    }
}

/// Reasons of a container that does not start, and what is written as the reason of the Runtime.
const WAITING: [(&str, &str); 16] = [
    ("ErrImagePull", conditions::IMAGE_PULL_FAILED),
    ("ImagePullBackOff", conditions::IMAGE_PULL_FAILED),
    ("InvalidImageName", conditions::IMAGE_PULL_FAILED),
    ("ErrImageNeverPull", conditions::IMAGE_PULL_FAILED),
    ("ImageInspectError", conditions::IMAGE_PULL_FAILED),
    ("RegistryUnavailable", conditions::IMAGE_PULL_FAILED),
    ("SignatureValidationFailed", conditions::IMAGE_PULL_FAILED),
    ("CreateContainerConfigError", pods::CREATE_CONTAINER_CONFIG_ERROR),
    ("CreateContainerError", pods::CREATE_CONTAINER_ERROR),
    ("RunContainerError", pods::START_ERROR),
    ("StartError", pods::START_ERROR),
    ("CrashLoopBackOff", pods::CRASH_LOOP_BACK_OFF),
    ("ImageNotServedLocally", pods::IMAGE_NOT_SERVED_LOCALLY),
    ("InvalidLocalCommand", pods::INVALID_LOCAL_COMMAND),
    ("NotServedLocally", pods::NOT_SERVED_LOCALLY),
    ("NoLoopbackAddress", pods::NO_LOOPBACK_ADDRESS),
];

/// Starts after which a container that is not ready counts as one that crashes.
const CRASHES: i32 = 2;

/// What the Deployment itself says: its pods can't be created.
#[must_use]
pub fn of_deployment(deployment: &Value) -> Option<Trouble> {
    let mut conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
    let failure = conditions.find(|it| it["type"] == "ReplicaFailure" && it["status"] == "True")?;
    let answer = failure["message"].as_str().unwrap_or_default();
    Some(Trouble {
        reason: pools::PODS_REFUSED,
        message: format!("the cluster refuses to create pods: {answer}"),
    })
}

/// What a pod says.
#[must_use]
pub fn of_pod(pod: &Pod) -> Option<Trouble> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let status = pod.status.as_ref()?;
    containers(status)
        .find_map(of_container)
        .or_else(|| unscheduled(status))
        .or_else(|| unhealthy(status))
}

/// Whether a pod waits for something before its first container.
#[must_use]
pub fn waits_for_volumes(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let creates = |container: &ContainerStatus| {
        waiting(container)
            .is_some_and(|(reason, _)| ["ContainerCreating", "PodInitializing"].contains(&reason))
    };
    status.phase.as_deref() == Some("Pending") && containers(status).all(creates)
}

/// What the kubelet says in an Event about a volume that it can't mount.
#[must_use]
pub fn of_mount(message: &str) -> Trouble {
    Trouble {
        reason: pools::VOLUME_UNAVAILABLE,
        message: format!(
            "{}: create what is missing in this namespace, or take the volume out of spec.template",
            message.trim_end_matches('.')
        ),
    }
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn waiting(container: &ContainerStatus) -> Option<(&str, &str)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref()?, waiting.message.as_deref().unwrap_or_default()))
}

fn of_container(container: &ContainerStatus) -> Option<Trouble> {
    let Some((found, said)) = waiting(container) else { return crashing(container) };
    let (_, reason) = WAITING.iter().find(|(known, _)| *known == found)?;
    let (name, image) = (&container.name, &container.image);
    let field = if name == kruntimes_api::names::RUNTIMED_CONTAINER {
        "spec.daemonImage, or --default-daemon-image of the controller"
    } else {
        "the image in spec.template"
    };
    let message = match *reason {
        conditions::IMAGE_PULL_FAILED => format!(
            "container {name} can't get the image \"{image}\" ({found}: {said}): mend {field}, or the access to its registry"
        ),
        pods::CREATE_CONTAINER_CONFIG_ERROR => format!(
            "container {name} can't be made ({said}): create what is missing, or take it out of spec.template"
        ),
        pods::CRASH_LOOP_BACK_OFF => return Some(crash(container)),
        _ => format!("container {name}: {said}"),
    };
    Some(Trouble { reason, message })
}

/// One that ends again and again runs in between, which is no better.
fn crashing(container: &ContainerStatus) -> Option<Trouble> {
    let ended = container.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
    let again = container.restart_count >= CRASHES && !container.ready && ended;
    again.then(|| crash(container))
}

fn crash(container: &ContainerStatus) -> Trouble {
    let name = &container.name;
    Trouble {
        reason: pods::CRASH_LOOP_BACK_OFF,
        message: format!(
            "container {name} {} again and again: `kubectl logs -c {name} --previous` of the pod says why",
            ended(container)
        ),
    }
}

fn ended(container: &ContainerStatus) -> String {
    let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    last.map_or_else(|| "ends".to_owned(), |last| format!("ends with exit code {}", last.exit_code))
}

fn unscheduled(status: &PodStatus) -> Option<Trouble> {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    let said = found.message.as_deref().unwrap_or_default();
    if said.contains("persistentvolumeclaim") {
        return Some(of_mount(said));
    }
    let reason = found.reason.as_deref().unwrap_or_default();
    (reason == "Unschedulable").then(|| Trouble {
        reason: pools::PODS_UNSCHEDULABLE,
        message: format!("no node takes it ({said}): add room, or ask for less in spec.template"),
    })
}

fn unhealthy(status: &PodStatus) -> Option<Trouble> {
    let mut all = status.conditions.iter().flatten();
    let found = all.find(|it| it.type_ == conditions::RUNTIMED_READY && it.status == "False")?;
    let said = found.message.as_deref()?.strip_prefix(conditions::SERVER_SAYS)?;
    Some(Trouble {
        reason: pools::SERVER_UNHEALTHY,
        message: format!("its Runtime Server says: {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap()
    }

    fn waits(name: &str, reason: &str, message: &str) -> Value {
        json!({"containerStatuses": [{
            "name": name, "image": "i:1", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 7}},
        }]})
    }

    fn check(status: &Value, want: Option<(&str, &str)>) {
        let found = of_pod(&pod(status));
        let found = found.as_ref().map(|it| (it.reason, it.message.as_str()));
        assert_eq!(found, want, "{status}");
    }

    #[test]
    fn a_deployment_whose_pods_are_refused_says_so() {
        let deployment = |kind: &str, status: &str| {
            let other = json!({"type": "Available", "status": "True"});
            let failure = json!({"type": kind, "status": status, "message": "no room"});
            of_deployment(&json!({"status": {"conditions": [other, failure]}}))
        };
        let found = deployment("ReplicaFailure", "True").unwrap();
        let expected = "the cluster refuses to create pods: no room";
        assert_eq!((found.reason, &*found.message), (pools::PODS_REFUSED, expected));
        assert_eq!(deployment("ReplicaFailure", "False"), None);
        assert_eq!(deployment("Progressing", "True"), None);
        assert_eq!(of_deployment(&json!({})), None);
    }

    #[test]
    fn what_keeps_a_pod_is_said_with_what_to_do() {
        check(
            &waits("runtime", "ErrImagePull", "not found"),
            Some((
                "ImagePullFailed",
                "container runtime can't get the image \"i:1\" (ErrImagePull: not found): mend the image in \
                 spec.template, or the access to its registry",
            )),
        );
        check(
            &waits("runtimed", "InvalidImageName", "no"),
            Some((
                "ImagePullFailed",
                "container runtimed can't get the image \"i:1\" (InvalidImageName: no): mend spec.daemonImage, or \
                 --default-daemon-image of the controller, or the access to its registry",
            )),
        );
        check(
            &waits("runtime", "CreateContainerConfigError", "secret \"tls\" not found"),
            Some((
                "CreateContainerConfigError",
                "container runtime can't be made (secret \"tls\" not found): create what is missing, or take it out of \
                 spec.template",
            )),
        );
        check(
            &waits("runtime", "CrashLoopBackOff", "back-off 10s"),
            Some((
                "CrashLoopBackOff",
                "container runtime ends with exit code 7 again and again: `kubectl logs -c runtime --previous` of the \
                 pod says why",
            )),
        );
        check(&waits("runtime", "ContainerCreating", ""), None);
        let unscheduled = |message: &str| {
            json!({"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            }]})
        };
        check(
            &unscheduled("0/1 nodes are available: 1 Insufficient cpu."),
            Some((
                "PodsUnschedulable",
                "no node takes it (0/1 nodes are available: 1 Insufficient cpu.): add room, or ask for less in \
                 spec.template",
            )),
        );
        check(
            &unscheduled("persistentvolumeclaim \"data\" not found."),
            Some((
                "VolumeUnavailable",
                "persistentvolumeclaim \"data\" not found: create what is missing in this namespace, or take the \
                 volume out of spec.template",
            )),
        );
        let mut leaving = pod(&waits("runtime", "ErrImagePull", "x"));
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(of_pod(&leaving), None);
    }

    #[test]
    fn a_server_says_itself_why_it_takes_no_runs() {
        let unhealthy = |status: &str, message: &str| {
            json!({"conditions": [{
                "type": "kruntimes.io/RuntimedReady", "status": status, "message": message,
            }]})
        };
        check(
            &unhealthy("False", "the Runtime Server is not healthy: no python3 found"),
            Some(("ServerUnhealthy", "its Runtime Server says: no python3 found")),
        );
        check(&unhealthy("False", "the Runtime Server can't be asked: tcp connect error"), None);
        check(&unhealthy("True", "the Runtime Server is not healthy: x"), None);
    }

    #[test]
    fn a_container_that_crashed_twice_does_so_while_it_runs_too() {
        let runs = |restarts: i32, ready: bool| {
            let mut status = waits("runtime", "", "");
            let container = &mut status["containerStatuses"][0];
            container["state"] = json!({"running": {}});
            container["restartCount"] = json!(restarts);
            container["ready"] = json!(ready);
            of_pod(&pod(&status)).map(|it| it.reason)
        };
        assert_eq!(runs(2, false), Some("CrashLoopBackOff"));
        assert_eq!((runs(1, false), runs(2, true)), (None, None));
    }

    #[test]
    fn a_pod_waits_for_volumes_until_its_first_container() {
        let at = |reason: &str, phase: &str| {
            let mut status = waits("runtime", reason, "");
            status["phase"] = json!(phase);
            waits_for_volumes(&pod(&status))
        };
        assert!(at("ContainerCreating", "Pending") && at("PodInitializing", "Pending"));
        assert!(!at("ErrImagePull", "Pending") && !at("ContainerCreating", "Running"));
        assert!(waits_for_volumes(&pod(&json!({"phase": "Pending"}))));
    }
}

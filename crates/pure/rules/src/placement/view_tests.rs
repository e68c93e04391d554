//! Pods as the scheduler sees them.

use super::{PodHealth, PodView};
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{conditions, labels, pods};
use serde_json::{Value, json};

fn pod(phase: &str, holds: &[&str], waiting: Option<&str>) -> Value {
    let conditions: Vec<Value> = ["Ready", conditions::RUNTIMED_READY]
        .map(|kind| {
            let status = if holds.contains(&kind) { "True" } else { "False" };
            json!({"type": kind, "status": status})
        })
        .into();
    let container = json!({"name": "runtime", "ready": false, "image": "i", "imageID": "",
        "restartCount": 0, "state": {"waiting": {"reason": waiting}}});
    json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {labels::RUNTIME: "bash"}},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": [container]},
    })
}

fn view(pod: Value) -> Option<PodView> {
    PodView::of(&serde_json::from_value::<Pod>(pod).unwrap())
}

fn health(pod: Value) -> PodHealth {
    view(pod).unwrap().health
}

#[test]
fn a_pod_is_ready_when_it_runs_and_both_conditions_hold() {
    let both = &["Ready", conditions::RUNTIMED_READY][..];
    for (phase, holds, expected) in [
        ("Running", both, PodHealth::Ready),
        ("Running", &both[..1], PodHealth::NotReady),
        ("Running", &both[1..], PodHealth::NotReady),
        ("Running", &[], PodHealth::NotReady),
        ("Pending", both, PodHealth::NotReady),
        ("Unknown", both, PodHealth::NotReady),
        ("Succeeded", both, PodHealth::Leaving),
        ("Failed", &[], PodHealth::Leaving),
    ] {
        assert_eq!(health(pod(phase, holds, None)), expected, "{phase} {holds:?}");
    }
    let mut deleting = pod("Running", both, None);
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(health(deleting), PodHealth::Leaving);
    let mut unknown = pod("Running", both, None);
    unknown["status"] = Value::Null;
    assert_eq!(health(unknown), PodHealth::NotReady);
}

#[test]
fn a_pod_without_its_image_is_told_from_one_that_starts() {
    for (reason, expected) in [
        ("ErrImagePull", PodHealth::ImagePullFailed),
        ("ImagePullBackOff", PodHealth::ImagePullFailed),
        ("InvalidImageName", PodHealth::ImagePullFailed),
        (pods::IMAGE_NOT_SERVED_LOCALLY, PodHealth::ImagePullFailed),
        ("ContainerCreating", PodHealth::NotReady),
    ] {
        assert_eq!(health(pod("Pending", &[], Some(reason))), expected, "{reason}");
    }
    assert_eq!(health(pod("Pending", &[], None)), PodHealth::NotReady);
}

#[test]
fn a_pod_belongs_to_the_runtime_of_its_label() {
    let found = view(pod("Running", &[], None)).unwrap();
    assert_eq!((&*found.pool.namespace, &*found.pool.runtime), ("n", "bash"));
    assert_eq!((&*found.pod.name, &*found.pod.uid), ("p", "u"));
    for field in ["labels", "namespace", "uid"] {
        let mut other = pod("Running", &[], None);
        other["metadata"].as_object_mut().unwrap().remove(field);
        assert_eq!(view(other), None, "without {field}");
    }
}

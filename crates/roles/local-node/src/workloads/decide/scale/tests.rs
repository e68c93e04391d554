//! What a ReplicaSet asks for, as a table.

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;

const NOW: i64 = 1_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn at(seconds_ago: i64) -> String {
    Timestamp::from_second(NOW - seconds_ago).unwrap().to_string()
}

fn set(replicas: i32, min_ready: i32) -> ReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "rs", "namespace": "ns", "uid": "set", "generation": 3},
        "spec": {
            "replicas": replicas, "minReadySeconds": min_ready, "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {"containers": [{"name": "runtime"}]},
            },
        },
    }))
    .unwrap()
}

/// A pod of the set; `state` is pending, unready, ready, deleting, gone (failed) or foreign.
fn pod_in(state: &str, name: &str, seconds_ago: i64) -> Pod {
    let mut pod = pod(&set(1, 0), name);
    pod.metadata.creation_timestamp =
        Some(super::super::seconds(Timestamp::from_second(NOW - seconds_ago).unwrap()));
    let ready = if state == "ready" { "True" } else { "False" };
    let status = match state {
        "pending" => json!({"phase": "Pending"}),
        "gone" => json!({"phase": "Failed", "reason": "PodProcessesGone", "containerStatuses": [{
            "name": "runtime", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "finishedAt": at(seconds_ago)}},
        }]}),
        _ => json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": at(seconds_ago)},
        ]}),
    };
    pod.status = serde_json::from_value(status).unwrap();
    if state != "pending" {
        pod.spec.as_mut().unwrap().node_name = Some("local".to_owned());
    }
    if state == "deleting" {
        pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
    }
    if state == "foreign" {
        pod.metadata.owner_references =
            Some(vec![OwnerReference { uid: "other".to_owned(), ..OwnerReference::default() }]);
    }
    pod
}

/// Pods as `state:name:age` words.
fn pods(text: &str) -> Vec<Pod> {
    text.split_whitespace()
        .map(|word| {
            let parts: Vec<&str> = word.split(':').collect();
            pod_in(parts[0], parts[1], parts[2].parse().unwrap())
        })
        .collect()
}

#[test]
fn pods_are_made_and_deleted_to_match() {
    for (what, replicas, seen, create, delete) in [
        ("none yet", 2, "", 2, ""),
        ("enough", 2, "ready:a:5 unready:b:5", 0, ""),
        ("one is going", 2, "ready:a:5 deleting:b:5", 1, ""),
        ("one failed", 2, "ready:a:5 gone:b:5", 1, ""),
        ("other owners' pods do not count", 1, "foreign:a:5", 1, ""),
        ("pending goes first", 1, "ready:a:5 pending:b:9", 0, "b"),
        ("then unready", 1, "ready:a:5 unready:b:9", 0, "b"),
        ("then the newest", 1, "ready:a:5 ready:b:9", 0, "a"),
        ("down to none", 0, "ready:a:5 ready:b:9", 0, "a b"),
        ("old failures are forgotten", 1, "ready:a:5 gone:b:301", 0, "b"),
        ("a burst is bounded", 1000, "", CREATE_LIMIT, ""),
    ] {
        let plan = scale(&set(replicas, 0), &pods(seen), now());
        assert_eq!((plan.create, plan.delete.join(" ")), (create, delete.to_owned()), "{what}");
    }
}

#[test]
fn a_set_that_is_deleted_does_nothing() {
    let mut set = set(2, 0);
    set.metadata.deletion_timestamp = Some(super::super::seconds(now()));
    let plan = scale(&set, &[], now());
    assert_eq!((plan.create, plan.delete.len()), (0, 0));
}

#[test]
fn pods_that_fail_again_and_again_wait() {
    let failed = |count: usize, ago: i64| -> Vec<Pod> {
        (0..count).map(|index| pod_in("gone", &format!("p{index}"), ago)).collect()
    };
    for (what, failed, create, recheck) in [
        ("a few are replaced at once", failed(5, 1), 1, 299),
        ("then it waits", failed(8, 1), 0, 3),
        ("the wait ends", failed(8, 4), 1, 296),
        ("failures of long ago do not count", failed(8, 60), 1, 240),
    ] {
        let plan = scale(&set(1, 0), &failed, now());
        assert_eq!(plan.create, create, "{what}");
        assert_eq!(plan.recheck, Some(Duration::from_secs(recheck)), "{what}");
    }
}

#[test]
fn failed_pods_are_kept_up_to_a_limit() {
    let failed: Vec<Pod> =
        (0..25).map(|index| pod_in("gone", &format!("p{index:02}"), index)).collect();
    let plan = scale(&set(0, 0), &failed, now());
    assert_eq!(plan.delete, ["p20", "p21", "p22", "p23", "p24"]);
}

#[test]
fn the_status_counts_ready_and_available() {
    let pods = pods("ready:a:3 ready:b:10 unready:c:10 gone:d:1 deleting:e:1");
    let plan = scale(&set(3, 5), &pods, now());
    let status = plan.status;
    assert_eq!(
        (status.replicas, status.ready_replicas, status.available_replicas),
        (3, Some(2), Some(1))
    );
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(plan.recheck, Some(Duration::from_secs(2)));
}

#[test]
fn a_pod_is_what_the_template_says_and_owned() {
    let pod = pod(&set(1, 0), "rs-x");
    assert_eq!(pod.metadata.labels.as_ref().unwrap()["a"], "b");
    assert_eq!(pod.metadata.annotations.as_ref().unwrap()["c"], "d");
    assert!(is_owned(&pod.metadata, "ReplicaSet", "set"));
    assert_eq!(pod.spec.unwrap().containers[0].name, "runtime");
}

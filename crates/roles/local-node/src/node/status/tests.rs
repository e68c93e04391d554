//! What the status of a pod says, as tables.

use super::*;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn view(name: &str, ready: bool) -> ContainerView {
    ContainerView {
        name: name.to_owned(),
        image: "i".to_owned(),
        id: Some(42),
        state: View::Running { since: at(1) },
        last: None,
        restarts: 0,
        ready,
    }
}

fn observed(phase: &'static str, ready: [bool; 2]) -> Observed {
    Observed {
        phase,
        why: (phase == "Failed").then(|| ("PodProcessesGone", "m".to_owned())),
        address: Some(Ipv4Addr::new(127, 20, 0, 1)),
        started: Some(at(1)),
        containers: vec![view("runtime", ready[0]), view("runtimed", ready[1])],
    }
}

fn is(status: &PodStatus, kind: &str) -> bool {
    let conditions = status.conditions.as_ref().unwrap();
    conditions.iter().find(|condition| condition.type_ == kind).unwrap().status == "True"
}

#[test]
fn a_pod_is_ready_when_all_its_containers_are() {
    for (phase, ready, want) in [
        ("Running", [true, true], true),
        ("Running", [true, false], false),
        ("Pending", [false, false], false),
        ("Failed", [true, true], false),
    ] {
        let status = status(&Pod::default(), &observed(phase, ready), at(5)).unwrap();
        assert_eq!(is(&status, "Ready"), want, "{phase} {ready:?}");
        assert_eq!(is(&status, "ContainersReady"), want, "{phase} {ready:?}");
        assert!(is(&status, "PodScheduled") && is(&status, "Initialized"));
        assert_eq!(status.pod_ip.as_deref(), Some("127.20.0.1"));
    }
}

#[test]
fn readiness_gates_hold_a_pod_back() {
    for (gate, want) in [(None, false), (Some("False"), false), (Some("True"), true)] {
        let conditions: Vec<_> =
            gate.iter().map(|status| json!({"type": "example.com/g", "status": status})).collect();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {},
            "spec": {"containers": [], "readinessGates": [{"conditionType": "example.com/g"}]},
            "status": {"conditions": conditions},
        }))
        .unwrap();
        let status = status(&pod, &observed("Running", [true, true]), at(5)).unwrap();
        assert_eq!(is(&status, "Ready"), want, "{gate:?}");
    }
}

#[test]
fn other_writers_conditions_stay_and_an_unchanged_status_is_not_written() {
    let foreign = json!({
        "type": "kruntimes.io/RuntimedReady", "status": "True", "reason": "Heartbeat",
        "lastProbeTime": "2026-01-01T00:00:00Z",
    });
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {}, "status": {"conditions": [foreign], "qosClass": "BestEffort"},
    }))
    .unwrap();
    let before = pod.status.clone().unwrap().conditions.unwrap()[0].clone();
    let first = status(&pod, &observed("Running", [true, true]), at(5)).unwrap();
    assert!(first.conditions.as_ref().unwrap().contains(&before));
    assert_eq!(first.qos_class.as_deref(), Some("BestEffort"));
    pod.status = Some(first);
    assert_eq!(status(&pod, &observed("Running", [true, true]), at(9)), None);
    let lost = status(&pod, &observed("Running", [true, false]), at(9)).unwrap();
    for condition in lost.conditions.unwrap() {
        let since = condition.last_transition_time.map(|time| time.0.as_second());
        let want = match condition.type_.as_str() {
            "Ready" | "ContainersReady" => Some(9),
            "PodScheduled" | "Initialized" => Some(5),
            _ => None,
        };
        assert_eq!(since, want, "{}", condition.type_);
    }
}

#[test]
fn the_end_of_a_container_is_told() {
    let mut observed = observed("Failed", [false, false]);
    let ended = Ended {
        code: 137,
        signal: Some(9),
        reason: "Error",
        message: None,
        started: at(1),
        finished: at(3),
    };
    observed.containers[0].state = View::Ended(ended);
    let status = status(&Pod::default(), &observed, at(5)).unwrap();
    assert_eq!(status.reason.as_deref(), Some("PodProcessesGone"));
    let containers = status.container_statuses.unwrap();
    let state = containers[0].state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((state.exit_code, state.signal), (137, Some(9)));
    assert_eq!(containers[1].container_id.as_deref(), Some("process://42"));
}

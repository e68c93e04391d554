//! All 49 pairs of phases, each tried as a status patch: the rules of the CRD refuse what is in no writer's row.
use serde_json::{Value, json};

use crate::client::{Client, RUNS, client_with_crds, run};

const PHASES: [&str; 7] =
    ["Pending", "Scheduled", "Running", "Succeeded", "Failed", "Timeout", "Cancelled"];
/// What each phase may become; a status that stays in its phase may change until the Run has ended.
const LEGAL: [(&str, &[&str]); 3] = [
    ("Pending", &["Pending", "Scheduled", "Failed", "Cancelled"]),
    (
        "Scheduled",
        &["Scheduled", "Running", "Pending", "Succeeded", "Failed", "Timeout", "Cancelled"],
    ),
    ("Running", &["Running", "Pending", "Succeeded", "Failed", "Timeout", "Cancelled"]),
];

/// What a writer sends to have a Run in this phase.
fn status(from: &str, to: &str) -> Value {
    let mut status = json!({"phase": to, "message": format!("from {from} to {to}")});
    if to == "Scheduled" && from == "Pending" {
        for (field, value) in
            [("assignedPod", json!("p")), ("assignedPodUID", json!("u")), ("attempt", json!(1))]
        {
            status[field] = value;
        }
    }
    if to == "Pending" {
        status["assignedPod"] = Value::Null;
    }
    status
}

async fn patch(api: &Client, name: &str, from: &str, to: &str) -> (u16, Value) {
    let patch = json!({"status": status(from, to)});
    api.patch(&format!("{RUNS}/{name}/status"), &patch).await
}

/// A Run that has come to this phase by legal steps.
async fn run_in(api: &Client, name: &str, phase: &str) {
    assert_eq!(api.post(RUNS, &run(name)).await.0, 201);
    let steps: &[&str] = match phase {
        "Pending" => &["Pending"],
        "Scheduled" => &["Pending", "Scheduled"],
        "Running" => &["Pending", "Scheduled", "Running"],
        last => &["Pending", "Scheduled", "Running", last],
    };
    for step in steps.windows(2) {
        let (code, body) = patch(api, name, step[0], step[1]).await;
        assert_eq!(code, 200, "{step:?}: {body}");
    }
}

#[tokio::test]
async fn each_of_the_49_pairs_is_accepted_or_refused_as_the_table_says() {
    let api = client_with_crds();
    let mut accepted = 0;
    for from in PHASES {
        let legal = LEGAL.iter().find(|(phase, _)| *phase == from).map_or(&[][..], |row| row.1);
        for to in PHASES {
            let name = format!("{from}-{to}").to_lowercase();
            run_in(&api, &name, from).await;
            let (code, body) = patch(&api, &name, from, to).await;
            let (_, stored) = api.get(&format!("{RUNS}/{name}")).await;
            let phase = stored["status"]["phase"].as_str().unwrap();
            if legal.contains(&to) {
                accepted += 1;
                assert_eq!((code, phase), (200, to), "{from} to {to}: {body}");
                continue;
            }
            assert_eq!((code, phase), (422, from), "{from} to {to}: {body}");
            let message = body["message"].as_str().unwrap();
            let rule = if legal.is_empty() && from == to {
                "the status of a Run that ended never changes"
            } else {
                "not a legal transition of status.phase"
            };
            assert!(message.contains(rule), "{from} to {to}: {message}");
        }
    }
    assert_eq!(accepted, 17);
}

/// A number that never started is given again: a late write about the assignment before must not pass for one about this.
#[tokio::test]
async fn a_write_about_an_earlier_assignment_of_the_same_number_is_refused() {
    let api = client_with_crds();
    assert_eq!(api.post(RUNS, &run("again")).await.0, 201);
    let path = format!("{RUNS}/again/status");
    let (first, second) = ("2026-01-01T00:00:01.000001Z", "2026-01-01T00:00:01.000002Z");
    let assign = |at: &str| {
        json!({"status": {"phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u",
            "attempt": 1, "reason": null, "timeline": {"scheduled": at}}})
    };
    let back = |at: &str| {
        json!({"status": {"phase": "Pending", "assignedPod": null, "assignedPodUID": "u",
            "attempt": 1, "reason": "NotStarted", "timeline": {"scheduled": at}}})
    };
    for accepted in [assign(first), back(first), assign(second)] {
        let (code, body) = api.patch(&path, &accepted).await;
        assert_eq!(code, 200, "{accepted}: {body}");
    }
    let (code, body) = api.patch(&path, &back(first)).await;
    assert_eq!(code, 422, "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(
        message.contains("status.timeline.scheduled changes only at an assignment"),
        "{message}"
    );
    assert_eq!(api.patch(&path, &back(second)).await.0, 200);
}

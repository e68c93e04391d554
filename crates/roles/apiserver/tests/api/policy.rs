//! What a pod's runtimed may do, and what not.
use kruntimes_apiserver::User;
use serde_json::{Value, json};

use crate::client::{Client, PODS, RUNS, pod, run, server};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

struct Setup {
    admin: Client,
    runtimed: Client,
}

/// A pod `p` with its runtimed; the Run `mine` is assigned to it, `other` to nobody.
async fn setup() -> Setup {
    let server = server();
    let admin = Client(server.service(User::admin("admin")));
    let (_, made) = admin.post(PODS, &pod("p")).await;
    let uid = made["metadata"]["uid"].as_str().unwrap();
    admin.post(PODS, &pod("q")).await;
    for name in ["mine", "other"] {
        assert_eq!(admin.post(RUNS, &run(name)).await.0, 201);
    }
    let assigned = json!({ "status": { "phase": "Scheduled", "attempt": 1, "assignedPod": "p",
        "assignedPodUID": uid } });
    let (code, body) = admin.patch(&format!("{RUNS}/mine/status"), &assigned).await;
    assert_eq!(code, 200, "{body}");
    let runtimed = Client(server.service(User::runtimed("default", "runtime-bash", "p", uid)));
    Setup { admin, runtimed }
}

fn lease(name: &str) -> Value {
    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name }, "spec": { "holderIdentity": "x" } })
}

#[tokio::test]
async fn it_reads_runs_and_its_own_pod() {
    let api = setup().await.runtimed;
    for (path, expected) in [
        (RUNS.to_owned(), 200),
        (format!("{RUNS}/other"), 200),
        (format!("{PODS}/p"), 200),
        (format!("{PODS}?fieldSelector=metadata.name%3Dp"), 200),
        (format!("{PODS}/q"), 403),
        (PODS.to_owned(), 403),
        (PODS.replace("pods", "secrets"), 403),
        (PODS.replace("pods", "secrets/db"), 403),
        (PODS.replace("pods", "secrets?watch=true"), 403),
        (PODS.replace("pods", "secrets?fieldSelector=metadata.name%3Dp"), 403),
        ("/api/v1/secrets".to_owned(), 403),
        (PODS.replace("pods", "configmaps/db"), 403),
        (RUNS.replace("default", "kube-system"), 403),
        ("/api/v1/namespaces".to_owned(), 403),
    ] {
        assert_eq!(api.get(&path).await.0, expected, "{path}");
    }
    let (_, status) = api.get(&format!("{PODS}/q")).await;
    assert_eq!(
        status["message"],
        "pods \"q\" is forbidden: User \"system:serviceaccount:default:runtime-bash\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn it_writes_the_status_of_its_own_runs_alone() {
    let Setup { admin, runtimed } = setup().await;
    let running = json!({ "status": { "phase": "Running" } });
    let other = format!("{RUNS}/other/status");
    let mine = format!("{RUNS}/mine/status");
    let said = json!({ "status": { "message": "not mine" } });
    let (code, body) = runtimed.patch(&other, &said).await;
    assert_eq!((code, &body["reason"]), (422, &json!("Invalid")), "{body}");
    assert_eq!(
        runtimed
            .patch(&format!("{RUNS}/mine"), &json!({ "metadata": { "labels": { "a": "b" } } }))
            .await
            .0,
        403
    );
    assert_eq!(runtimed.delete(&format!("{RUNS}/mine")).await.0, 403);
    let (code, body) = runtimed.patch(&mine, &running).await;
    assert_eq!(code, 200, "{body}");
    let back =
        json!({ "status": { "phase": "Pending", "reason": "NotStarted", "assignedPod": null } });
    let (code, body) = runtimed.patch(&mine, &back).await;
    assert_eq!(code, 200, "{body}");
    let again = json!({ "status": { "phase": "Scheduled", "assignedPod": "p" } });
    assert_eq!(runtimed.patch(&mine, &again).await.0, 422);
    let (_, now) = admin.get(&format!("{RUNS}/mine")).await;
    assert_eq!(now["status"]["phase"], "Pending");
}

#[tokio::test]
async fn it_holds_its_own_lease_and_reports_events() {
    let api = setup().await.runtimed;
    assert_eq!(api.post(LEASES, &lease("q")).await.0, 403);
    let (code, made) = api.post(LEASES, &lease("p")).await;
    assert_eq!(code, 201);
    assert_eq!(api.put(&format!("{LEASES}/p"), &made).await.0, 200);
    assert_eq!(api.get(&format!("{LEASES}/q")).await.0, 403);
    let annotated = json!({ "metadata": { "annotations": { "a": "b" } } });
    assert_eq!(api.patch(&format!("{PODS}/p/status"), &annotated).await.0, 200);
    assert_eq!(api.patch(&format!("{PODS}/q/status"), &annotated).await.0, 403);
    assert_eq!(api.patch(&format!("{PODS}/p"), &annotated).await.0, 403);
    let event = json!({ "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" },
        "involvedObject": { "kind": "Run", "name": "mine" }, "reason": "Started" });
    assert_eq!(api.post("/api/v1/namespaces/default/events", &event).await.0, 201);
}

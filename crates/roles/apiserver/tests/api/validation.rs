//! Bad input: refused with field, value and limit; its legal neighbour is accepted.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, client, configmap, run};

const MAX_OBJECT: usize = 1_572_864;

#[tokio::test]
async fn an_object_has_a_largest_size() {
    let api = client();
    let mut body = configmap("big");
    let (_, made) = api.json("POST", &format!("{CONFIGMAPS}?dryRun=All"), &[], &body).await;
    let room = MAX_OBJECT - made.to_string().len() + "b".len();
    body["data"]["a"] = json!("x".repeat(room + 1));
    let (code, status) = api.post(CONFIGMAPS, &body).await;
    assert_eq!(code, 413);
    assert_eq!(
        status["message"],
        format!(
            "the object is too large: {} bytes, the limit is {MAX_OBJECT} bytes",
            MAX_OBJECT + 1
        )
    );
    body["data"]["a"] = json!("x".repeat(room));
    assert_eq!(api.post(CONFIGMAPS, &body).await.0, 201);
    body["data"]["a"] = json!("x".repeat(3 * 1024 * 1024));
    assert_eq!(api.post(CONFIGMAPS, &body).await.0, 413);
}

#[tokio::test]
async fn malformed_metadata() {
    let api = client();
    for (field, value, expected) in [
        (
            "name",
            json!("A_b"),
            "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain",
        ),
        ("name", json!(""), "metadata.name: Required value: name or generateName is required"),
        ("labels", json!({ "a": "b c" }), "metadata.labels: Invalid value: \"b c\": a valid label"),
        ("labels", json!({ "a/b/c": "d" }), "metadata.labels: Invalid value: \"a/b/c\""),
        (
            "annotations",
            json!({ "a": "x".repeat(262_145) }),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
    ] {
        let mut body = configmap("ok");
        body["metadata"][field] = value;
        let (code, status) = api.post(CONFIGMAPS, &body).await;
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
        assert!(status["message"].as_str().unwrap().contains(expected), "{status}");
        assert!(!status["details"]["causes"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn bodies_that_are_no_objects() {
    let api = client();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "[]", "nul", "{\"kind\":\"ConfigMap\"}", &deep] {
        let response = api.send("POST", CONFIGMAPS, &[], body.to_owned()).await;
        assert_eq!(response.status(), 400, "{}", &body[..body.len().min(40)]);
    }
    let (code, status) = api.post(CONFIGMAPS, &run("x")).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: z\n";
    let response =
        api.send("POST", CONFIGMAPS, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(response.status(), 201);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let api = client();
    let (code, made) = api.post(&format!("{CONFIGMAPS}?dryRun=All"), &configmap("a")).await;
    assert_eq!((code, &made["metadata"]["name"]), (201, &json!("a")));
    assert_eq!(api.get(&format!("{CONFIGMAPS}/a")).await.0, 404);
    api.post(CONFIGMAPS, &configmap("a")).await;
    assert_eq!(api.delete(&format!("{CONFIGMAPS}/a?dryRun=All")).await.0, 200);
    assert_eq!(api.get(&format!("{CONFIGMAPS}/a")).await.0, 200);
    assert_eq!(api.json("DELETE", &format!("{CONFIGMAPS}/a"), &[], &Value::Null).await.0, 200);
}

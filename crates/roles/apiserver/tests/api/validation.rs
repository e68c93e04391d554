//! Bad input: refused with field, value and limit; its legal neighbour is accepted.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, RUNS, client, client_with_crds, configmap, run};

const MAX_OBJECT: usize = 1_572_864;

#[tokio::test]
async fn unknown_and_duplicate_fields() {
    let api = client_with_crds();
    let mut body = run("a");
    body["spec"]["x"] = json!(1);
    let (code, status) = api.post(&format!("{RUNS}?fieldValidation=Strict"), &body).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    assert_eq!(
        status["message"],
        "Run in version \"v1alpha1\" cannot be handled as a Run: strict decoding error: unknown field \"spec.x\""
    );
    let response = api.send("POST", RUNS, &[], body.to_string()).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["warning"], "299 - \"unknown field \\\"spec.x\\\"\"");
    assert_eq!(api.get(&format!("{RUNS}/a")).await.1["spec"].get("x"), None);
    let twice = run("b")
        .to_string()
        .replace("\"runtime\":\"bash\"", "\"runtime\":\"x\",\"runtime\":\"bash\"");
    let response = api.send("POST", &format!("{RUNS}?fieldValidation=Strict"), &[], twice).await;
    assert_eq!(response.status(), 400);
}

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
    let api = client_with_crds();
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

#[tokio::test]
async fn bad_runs_and_their_legal_neighbours() {
    let api = client_with_crds();
    let text = |n: usize| json!("x".repeat(n));
    for (n, (field, value, expected)) in [
        (
            "args",
            json!(vec!["a"; 257]),
            Some("spec.args: Too many: 257: must have at most 256 items"),
        ),
        ("args", json!(vec!["a"; 256]), None),
        (
            "source",
            json!({ "inline": text(262_145) }),
            Some("spec.source.inline: Too long: may not be more than 262144 bytes"),
        ),
        ("source", json!({ "inline": text(262_144) }), None),
        ("source", json!({}), None),
        ("entrypoint", json!("/etc/passwd"), Some("spec.entrypoint")),
        ("entrypoint", json!("a/../b"), Some("spec.entrypoint")),
        ("entrypoint", json!("a..b/c"), None),
        ("runtime", Value::Null, Some("spec.runtime: Required value")),
        ("timeoutSeconds", json!("1m"), Some("spec.timeoutSeconds: Invalid value: \"string\"")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = run(&format!("r{n}"));
        body["spec"][field] = value;
        if field == "source" && body["spec"]["source"] == json!({}) {
            body["spec"].as_object_mut().unwrap().remove("entrypoint");
        }
        let (code, status) = api.post(RUNS, &body).await;
        match expected {
            None => assert_eq!(code, 201, "{n}: {status}"),
            Some(expected) => {
                assert_eq!(code, 422, "{n}: {status}");
                let message = status["message"].as_str().unwrap();
                assert!(
                    message.starts_with(&format!("Run.kruntimes.io \"r{n}\" is invalid: ")),
                    "{message}"
                );
                assert!(message.contains(expected), "{message}");
            }
        }
    }
}

//! create, get, list, update, patch, status.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, PODS, RUNS, client, client_with_crds, configmap, pod, run};

#[tokio::test]
async fn a_new_object_gets_its_metadata() {
    let api = client_with_crds();
    let (code, made) = api.post(RUNS, &run("a")).await;
    assert_eq!(code, 201, "{made}");
    let metadata = &made["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["generation"], 1);
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert!(metadata["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert!(metadata["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(api.get(&format!("{RUNS}/a")).await, (200, made.clone()));
    let (code, again) = api.post(RUNS, &run("a")).await;
    assert_eq!((code, &again["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(again["message"], "runs.kruntimes.io \"a\" already exists");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let api = client_with_crds();
    for (path, message) in [
        (format!("{RUNS}/x"), "runs.kruntimes.io \"x\" not found"),
        (format!("{PODS}/x"), "pods \"x\" not found"),
        ("/apis/nope/v1/things".to_owned(), "the server could not find the requested resource"),
    ] {
        let (code, status) = api.get(&path).await;
        assert_eq!((code, status["message"].as_str().unwrap()), (404, message));
        assert_eq!(status["reason"], "NotFound");
    }
    let elsewhere = RUNS.replace("default", "nowhere");
    let (code, status) = api.post(&elsewhere, &run("x")).await;
    assert_eq!(
        (code, status["message"].as_str().unwrap()),
        (404, "namespaces \"nowhere\" not found")
    );
    assert_eq!(status["details"]["kind"], "namespaces");
}

#[tokio::test]
async fn generated_names_have_five_random_characters() {
    let api = client_with_crds();
    let mut body = run("");
    body["metadata"] = json!({ "generateName": "job-" });
    let (_, one) = api.post(RUNS, &body).await;
    let (_, two) = api.post(RUNS, &body).await;
    let name = |v: &Value| v["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name(&one).len(), "job-".len() + 5);
    assert!(name(&one).starts_with("job-"));
    assert_ne!(name(&one), name(&two));
}

#[tokio::test]
async fn updates_are_compare_and_set() {
    let api = client();
    let (_, made) = api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let mut first = made.clone();
    first["data"]["a"] = json!("c");
    assert_eq!(api.put(&path, &first).await.0, 200);
    let (code, status) = api.put(&path, &first).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    let (code, _) = api.patch(&path, &json!({ "data": { "x": "y" } })).await;
    assert_eq!(code, 200);
    let stale = json!({ "metadata": { "resourceVersion": made["metadata"]["resourceVersion"] }, "data": { "x": "z" } });
    assert_eq!(api.patch(&path, &stale).await.0, 409);
    let (_, now) = api.get(&path).await;
    assert_eq!(now["data"], json!({ "a": "c", "x": "y" }));
}

#[tokio::test]
async fn an_empty_change_writes_nothing() {
    let api = client();
    let (_, made) = api.post(CONFIGMAPS, &configmap("a")).await;
    let (_, same) = api.patch(&format!("{CONFIGMAPS}/a"), &json!({ "data": { "a": "b" } })).await;
    assert_eq!(made, same);
}

#[tokio::test]
async fn concurrent_patches_all_land() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let patches = (0..20).map(|n| {
        let (api, path) = (api.clone(), path.clone());
        async move { api.patch(&path, &json!({ "data": { format!("k{n}"): "v" } })).await.0 }
    });
    let codes = futures::future::join_all(patches).await;
    assert!(codes.iter().all(|code| *code == 200), "{codes:?}");
    assert_eq!(api.get(&path).await.1["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn status_and_main_are_separate() {
    let api = client();
    let (_, made) = api.post(PODS, &pod("p")).await;
    assert_eq!(made["status"]["phase"], "Pending");
    let path = format!("{PODS}/p");
    let both = json!({ "metadata": { "annotations": { "x": "y" } },
        "spec": { "nodeName": "n" }, "status": { "phase": "Running" } });
    let (_, after) = api.patch(&format!("{path}/status"), &both).await;
    assert_eq!(after["status"]["phase"], "Running");
    assert_eq!(after["metadata"]["annotations"], json!({ "x": "y" }));
    assert_eq!(after["spec"].get("nodeName"), None);
    assert_eq!(after["metadata"]["generation"], 1);
    let main = json!({ "spec": { "nodeName": "n" }, "status": { "phase": "Failed" } });
    let (_, after) = api.patch(&path, &main).await;
    assert_eq!(after["status"]["phase"], "Running");
    assert_eq!(after["spec"]["nodeName"], "n");
    assert_eq!(after["metadata"]["generation"], 2);
}

#[tokio::test]
async fn immutable_metadata_stays() {
    let api = client();
    let (_, made) = api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let forged = json!({ "metadata": { "creationTimestamp": "2001-01-01T00:00:00Z",
        "generation": 9, "deletionTimestamp": "2001-01-01T00:00:00Z", "labels": { "l": "m" } } });
    let (code, after) = api.patch(&path, &forged).await;
    assert_eq!(code, 200);
    assert_eq!(after["metadata"]["creationTimestamp"], made["metadata"]["creationTimestamp"]);
    assert_eq!(after["metadata"].get("deletionTimestamp"), None);
    assert_eq!(after["metadata"].get("generation"), None);
    let (code, status) = api.patch(&path, &json!({ "metadata": { "uid": "other" } })).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
}

#[tokio::test]
async fn lists_select_and_page() {
    let api = client_with_crds();
    for n in 0..5 {
        let mut body = run(&format!("r{n}"));
        body["metadata"]["labels"] = json!({ "parity": if n % 2 == 0 { "even" } else { "odd" } });
        body["spec"]["runtime"] = json!(if n < 3 { "bash" } else { "python" });
        assert_eq!(api.post(RUNS, &body).await.0, 201);
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        ("labelSelector=parity%3Deven", vec!["r0", "r2", "r4"]),
        ("labelSelector=parity%20notin%20(even)", vec!["r1", "r3"]),
        ("fieldSelector=spec.runtime%3Dpython", vec!["r3", "r4"]),
        ("fieldSelector=spec.runtime!=python,metadata.name!=r1", vec!["r0", "r2"]),
        ("fieldSelector=metadata.name%3Dr2", vec!["r2"]),
        ("fieldSelector=metadata.namespace==other", vec![]),
    ] {
        let (code, list) = api.get(&format!("{RUNS}?{query}")).await;
        assert_eq!(
            (code, names(&list)),
            (200, expected.into_iter().map(str::to_owned).collect()),
            "{query}"
        );
    }
    let (_, first) = api.get(&format!("{RUNS}?limit=2")).await;
    assert_eq!((names(&first).len(), &first["metadata"]["remainingItemCount"]), (2, &json!(3)));
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = api.get(&format!("{RUNS}?limit=5&continue={token}")).await;
    assert_eq!(names(&rest), ["r2", "r3", "r4"]);
    assert_eq!(rest["metadata"].get("continue"), None);
    let (code, status) = api.get(&format!("{RUNS}?fieldSelector=spec.args%3Dx")).await;
    assert_eq!((code, &status["message"]), (400, &json!("field label not supported: spec.args")));
    assert_eq!(
        api.get("/apis/kruntimes.io/v1alpha1/runs").await.1["items"].as_array().unwrap().len(),
        5
    );
}

#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let api = client();
    api.post(PODS, &pod("p")).await;
    let path = format!("{PODS}/p");
    for media in ["application/strategic-merge-patch+json", "application/apply-patch+yaml"] {
        let (code, status) = api.json("PATCH", &path, &[("content-type", media)], &json!([])).await;
        assert_eq!((code, &status["reason"]), (415, &json!("UnsupportedMediaType")));
        assert!(status["message"].as_str().unwrap().contains(media));
    }
    let (code, status) = api.post(&format!("{path}/exec"), &Value::Null).await;
    assert_eq!(code, 501);
    assert!(status["message"].as_str().unwrap().contains("pods/exec"));
    assert_eq!(api.post(&path, &pod("p")).await.0, 405);
}

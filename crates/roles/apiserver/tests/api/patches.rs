//! JSON patches, as `kubectl patch --type=json` sends them.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, Client, RUNS, client, client_with_crds, configmap, run};

const JSON_PATCH: [(&str, &str); 1] = [("content-type", "application/json-patch+json")];

async fn patch(api: &Client, path: &str, operations: &Value) -> (u16, Value) {
    api.json("PATCH", path, &JSON_PATCH, operations).await
}

#[tokio::test]
async fn operations_change_the_object_in_order() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let operations = json!([
        { "op": "test", "path": "/data/a", "value": "b" },
        { "op": "add", "path": "/data/c", "value": "d" },
        { "op": "move", "from": "/data/a", "path": "/data/e" },
        { "op": "add", "path": "/metadata/labels", "value": { "x/y": "z" } },
        { "op": "replace", "path": "/metadata/labels/x~1y", "value": "w" },
    ]);
    let (code, patched) = patch(&api, &path, &operations).await;
    assert_eq!(code, 200, "{patched}");
    assert_eq!(patched["data"], json!({ "c": "d", "e": "b" }));
    assert_eq!(patched["metadata"]["labels"], json!({ "x/y": "w" }));
    assert_eq!(api.get(&path).await.1, patched);
    let (code, same) = patch(&api, &path, &json!([])).await;
    assert_eq!((code, &same), (200, &patched));
}

#[tokio::test]
async fn a_resource_version_can_be_tested() {
    let api = client();
    let (_, made) = api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let version = &made["metadata"]["resourceVersion"];
    let guarded = |value: &str| {
        json!([{ "op": "test", "path": "/metadata/resourceVersion", "value": version },
            { "op": "add", "path": "/data/n", "value": value }])
    };
    assert_eq!(patch(&api, &path, &guarded("1")).await.0, 200);
    let (code, refused) = patch(&api, &path, &guarded("2")).await;
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")));
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("the server rejected our request due to an error in our request"));
    assert!(
        message.contains("operation 0, test \"/metadata/resourceVersion\": testing value failed")
    );
    let stale = json!([{ "op": "replace", "path": "/metadata/resourceVersion", "value": version }]);
    let (code, refused) = patch(&api, &path, &stale).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")));
    assert_eq!(api.get(&path).await.1["data"]["n"], "1");
}

#[tokio::test]
async fn nothing_of_a_patch_stays_when_one_operation_fails() {
    let api = client();
    let (_, made) = api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let operations = json!([{ "op": "add", "path": "/data/n", "value": "1" },
        { "op": "remove", "path": "/data/nothing" }]);
    let (code, refused) = patch(&api, &path, &operations).await;
    assert_eq!(code, 422);
    assert!(refused["message"].as_str().unwrap().ends_with("there is no \"nothing\""), "{refused}");
    assert_eq!(api.get(&path).await.1, made);
    assert_eq!(patch(&api, &format!("{CONFIGMAPS}/none"), &json!([])).await.0, 404);
}

#[tokio::test]
async fn a_patch_of_another_form_is_refused() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    for body in [json!({ "op": "add" }), json!([{ "op": "erase", "path": "/data" }])] {
        let (code, refused) = patch(&api, &path, &body).await;
        assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")), "{refused}");
    }
}

#[tokio::test]
async fn ten_thousand_operations_are_taken_and_one_more_is_not() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let operation = json!({ "op": "add", "path": "/data/x", "value": "y" });
    let (code, _) = patch(&api, &path, &Value::Array(vec![operation.clone(); 10_000])).await;
    assert_eq!(code, 200);
    let (code, refused) = patch(&api, &path, &Value::Array(vec![operation; 10_001])).await;
    assert_eq!((code, &refused["reason"]), (413, &json!("RequestEntityTooLarge")));
    assert_eq!(
        refused["message"],
        "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
}

#[tokio::test]
async fn rules_hold_for_patched_objects_too() {
    let api = client_with_crds();
    api.post(RUNS, &run("r")).await;
    let path = format!("{RUNS}/r");
    let immutable = json!([{ "op": "replace", "path": "/spec/runtime", "value": "python" }]);
    let (code, refused) = patch(&api, &path, &immutable).await;
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")), "{refused}");
    let cancel = json!([{ "op": "add", "path": "/spec/cancelRequested", "value": true }]);
    let (code, patched) = patch(&api, &path, &cancel).await;
    assert_eq!((code, &patched["spec"]["cancelRequested"]), (200, &json!(true)));
    let status = json!([{ "op": "add", "path": "/status/message", "value": "waits" }]);
    let (code, patched) = patch(&api, &format!("{path}/status"), &status).await;
    assert_eq!((code, &patched["status"]["message"]), (200, &json!("waits")), "{patched}");
    let unknown = json!([{ "op": "add", "path": "/spec/nosuch", "value": 1 }]);
    let (code, refused) = patch(&api, &format!("{path}?fieldValidation=Strict"), &unknown).await;
    assert_eq!(code, 422);
    assert!(refused["message"].as_str().unwrap().contains("unknown field \"spec.nosuch\""));
}

//! Deletion, finalizers, grace, garbage collection, namespaces.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, Client, PODS, client, configmap, pod};

async fn make_owned(api: &Client, name: &str, owners: &[(&Value, bool)]) -> Value {
    let mut body = configmap(name);
    body["metadata"]["ownerReferences"] = owners
        .iter()
        .map(|(owner, blocks)| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks })
        })
        .collect();
    api.post(CONFIGMAPS, &body).await.1
}

async fn code(api: &Client, name: &str) -> u16 {
    api.get(&format!("{CONFIGMAPS}/{name}")).await.0
}

#[tokio::test]
async fn a_deletion_answers_with_the_uid() {
    let api = client();
    let (_, made) = api.post(CONFIGMAPS, &configmap("a")).await;
    let path = format!("{CONFIGMAPS}/a");
    let wrong = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(api.json("DELETE", &path, &[], &wrong).await.0, 409);
    let (status, body) = api.delete(&path).await;
    assert_eq!((status, &body["status"]), (200, &json!("Success")));
    assert_eq!(body["details"]["uid"], made["metadata"]["uid"]);
    assert_eq!(api.delete(&path).await.0, 404);
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_is_gone() {
    let api = client();
    let mut body = configmap("a");
    body["metadata"]["finalizers"] = json!(["example.com/x"]);
    api.post(CONFIGMAPS, &body).await;
    let path = format!("{CONFIGMAPS}/a");
    let (status, marked) = api.delete(&path).await;
    assert_eq!(status, 200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let more = json!({ "metadata": { "finalizers": ["example.com/x", "example.com/y"] } });
    let (status, refused) = api.patch(&path, &more).await;
    assert_eq!(status, 422);
    assert!(refused["message"].as_str().unwrap().contains("no new finalizers can be added"));
    let (status, last) = api.patch(&path, &json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!((status, &last["metadata"]["uid"]), (200, &marked["metadata"]["uid"]));
    assert!(last["metadata"]["finalizers"].is_null(), "as it was changed: {last}");
    assert_eq!(code(&api, "a").await, 404);
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() {
    let api = client();
    let (_, one) = api.post(CONFIGMAPS, &configmap("one")).await;
    let (_, two) = api.post(CONFIGMAPS, &configmap("two")).await;
    let child = make_owned(&api, "child", &[(&one, false)]).await;
    make_owned(&api, "grandchild", &[(&child, false)]).await;
    make_owned(&api, "shared", &[(&one, false), (&two, false)]).await;
    api.delete(&format!("{CONFIGMAPS}/one")).await;
    assert_eq!(code(&api, "child").await, 404);
    assert_eq!(code(&api, "grandchild").await, 404);
    let (_, shared) = api.get(&format!("{CONFIGMAPS}/shared")).await;
    assert_eq!(shared["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    api.delete(&format!("{CONFIGMAPS}/two")).await;
    assert_eq!(code(&api, "shared").await, 404);
}

#[tokio::test]
async fn an_object_with_a_dead_owner_does_not_stay() {
    let api = client();
    let gone = json!({ "metadata": { "name": "gone", "uid": "no-such-uid" } });
    let made = make_owned(&api, "late", &[(&gone, false)]).await;
    assert_eq!(made["metadata"]["name"], "late");
    assert_eq!(code(&api, "late").await, 404);
}

#[tokio::test]
async fn orphans_stay_and_foreground_waits() {
    let api = client();
    let (_, owner) = api.post(CONFIGMAPS, &configmap("owner")).await;
    make_owned(&api, "child", &[(&owner, false)]).await;
    api.delete(&format!("{CONFIGMAPS}/owner?propagationPolicy=Orphan")).await;
    let (status, child) = api.get(&format!("{CONFIGMAPS}/child")).await;
    assert_eq!((status, child["metadata"].get("ownerReferences")), (200, None));

    let (_, owner) = api.post(CONFIGMAPS, &configmap("owner")).await;
    let mut body = make_owned(&api, "held", &[(&owner, true)]).await;
    body["metadata"]["finalizers"] = json!(["example.com/x"]);
    assert_eq!(api.put(&format!("{CONFIGMAPS}/held"), &body).await.0, 200);
    api.delete(&format!("{CONFIGMAPS}/owner?propagationPolicy=Foreground")).await;
    let (_, owner) = api.get(&format!("{CONFIGMAPS}/owner")).await;
    assert_eq!(owner["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    api.patch(&format!("{CONFIGMAPS}/held"), &json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!((code(&api, "held").await, code(&api, "owner").await), (404, 404));
}

#[tokio::test]
async fn a_pod_on_a_node_ends_in_two_steps() {
    let api = client();
    let mut body = pod("p");
    body["spec"]["nodeName"] = json!("local");
    body["spec"]["terminationGracePeriodSeconds"] = json!(7);
    api.post(PODS, &body).await;
    let path = format!("{PODS}/p");
    let (status, marked) = api.delete(&path).await;
    assert_eq!((status, &marked["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(7)));
    assert_eq!(api.get(&path).await.0, 200);
    let (status, _) = api.delete(&format!("{path}?gracePeriodSeconds=0")).await;
    assert_eq!((status, api.get(&path).await.0), (200, 404));
    api.post(PODS, &pod("unassigned")).await;
    api.delete(&format!("{PODS}/unassigned")).await;
    assert_eq!(api.get(&format!("{PODS}/unassigned")).await.0, 404);
}

#[tokio::test]
async fn a_namespace_takes_its_objects_along() {
    let api = client();
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ns" } });
    assert_eq!(api.post("/api/v1/namespaces", &body).await.0, 201);
    let inside = CONFIGMAPS.replace("default", "ns");
    let mut held = configmap("held");
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    api.post(&inside, &held).await;
    api.post(&inside, &configmap("free")).await;
    assert_eq!(api.delete("/api/v1/namespaces/ns").await.0, 200);
    let (_, namespace) = api.get("/api/v1/namespaces/ns").await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert_eq!(api.get(&format!("{inside}/free")).await.0, 404);
    let (status, refused) = api.post(&inside, &configmap("new")).await;
    assert_eq!((status, &refused["reason"]), (403, &json!("Forbidden")));
    api.patch(&format!("{inside}/held"), &json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!(api.get("/api/v1/namespaces/ns").await.0, 404);
    assert_eq!(api.delete("/api/v1/namespaces/default").await.0, 403);
}

#[tokio::test]
async fn deleting_a_collection_respects_the_selector() {
    let api = client();
    for name in ["a", "b"] {
        let mut body = configmap(name);
        body["metadata"]["labels"] = json!({ "name": name });
        api.post(CONFIGMAPS, &body).await;
    }
    let (status, list) = api.delete(&format!("{CONFIGMAPS}?labelSelector=name%3Da")).await;
    assert_eq!((status, list["items"].as_array().unwrap().len()), (200, 1));
    assert_eq!((code(&api, "a").await, code(&api, "b").await), (404, 200));
}

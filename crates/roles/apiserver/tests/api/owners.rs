//! Owner references: background, foreground and orphaning deletion, for built-in kinds and those of CRDs.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, Client, RUNS, client, client_with_crds, configmap, run};

fn reference(owner: &Value, blocks: bool) -> Value {
    json!({ "apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": blocks })
}

async fn owned(api: &Client, path: &str, mut body: Value, owners: &[Value]) -> Value {
    body["metadata"]["ownerReferences"] = json!(owners);
    let (code, made) = api.post(path, &body).await;
    assert_eq!(code, 201, "{made}");
    made
}

async fn make(api: &Client, name: &str) -> Value {
    api.post(CONFIGMAPS, &configmap(name)).await.1
}

async fn finalizers(api: &Client, name: &str, finalizers: Value) {
    let change = json!({ "metadata": { "finalizers": finalizers } });
    assert_eq!(api.patch(&format!("{CONFIGMAPS}/{name}"), &change).await.0, 200);
}

async fn there(api: &Client, name: &str) -> bool {
    api.get(&format!("{CONFIGMAPS}/{name}")).await.0 == 200
}

async fn owners(api: &Client, name: &str) -> usize {
    let (_, object) = api.get(&format!("{CONFIGMAPS}/{name}")).await;
    object["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn runs_go_with_a_configmap_and_configmaps_with_a_run() {
    let api = client_with_crds();
    let owner = make(&api, "owner").await;
    let run = owned(&api, RUNS, run("middle"), &[reference(&owner, false)]).await;
    owned(&api, CONFIGMAPS, configmap("leaf"), &[reference(&run, false)]).await;
    api.delete(&format!("{CONFIGMAPS}/owner")).await;
    assert_eq!(api.get(&format!("{RUNS}/middle")).await.0, 404);
    assert!(!there(&api, "leaf").await);
}

#[tokio::test]
async fn an_orphaning_deletion_marks_the_owner_first() {
    let api = client();
    let owner = make(&api, "owner").await;
    owned(&api, CONFIGMAPS, configmap("child"), &[reference(&owner, true)]).await;
    let mut watch = api.watch(&format!("{CONFIGMAPS}?watch=1&resourceVersion=0")).await;
    for _ in 0..2 {
        watch.next().await;
    }
    let (code, marked) = api.delete(&format!("{CONFIGMAPS}/owner?propagationPolicy=Orphan")).await;
    assert_eq!((code, &marked["metadata"]["finalizers"]), (200, &json!(["orphan"])));
    assert_eq!(watch.brief().await, ("MODIFIED".to_owned(), "owner".to_owned()));
    assert_eq!(watch.brief().await, ("MODIFIED".to_owned(), "child".to_owned()));
    assert_eq!(watch.brief().await, ("DELETED".to_owned(), "owner".to_owned()));
    assert_eq!((there(&api, "owner").await, owners(&api, "child").await), (false, 0));
}

#[tokio::test]
async fn the_finalizers_of_an_owner_say_how_it_goes_when_the_request_does_not() {
    let api = client();
    for (finalizer, query, child_stays) in [
        ("orphan", "", true),
        ("orphan", "?propagationPolicy=Background", false),
        ("foregroundDeletion", "", false),
        ("foregroundDeletion", "?propagationPolicy=Orphan", true),
    ] {
        let mut body = configmap("owner");
        body["metadata"]["finalizers"] = json!([finalizer]);
        let (_, owner) = api.post(CONFIGMAPS, &body).await;
        owned(&api, CONFIGMAPS, configmap("child"), &[reference(&owner, true)]).await;
        assert_eq!(api.delete(&format!("{CONFIGMAPS}/owner{query}")).await.0, 200);
        let found = (there(&api, "owner").await, there(&api, "child").await);
        assert_eq!(found, (false, child_stays), "{finalizer} {query}");
        api.delete(&format!("{CONFIGMAPS}/child")).await;
    }
}

#[tokio::test]
async fn only_blocking_dependents_hold_a_foreground_deletion_up() {
    let api = client();
    for blocks in [true, false] {
        let owner = make(&api, "owner").await;
        let mut body = configmap("child");
        body["metadata"]["finalizers"] = json!(["example.com/x"]);
        owned(&api, CONFIGMAPS, body, &[reference(&owner, blocks)]).await;
        api.delete(&format!("{CONFIGMAPS}/owner?propagationPolicy=Foreground")).await;
        let (_, child) = api.get(&format!("{CONFIGMAPS}/child")).await;
        assert!(child["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(there(&api, "owner").await, blocks);
        if blocks {
            let mut free = child.clone();
            free["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = json!(false);
            assert_eq!(api.put(&format!("{CONFIGMAPS}/child"), &free).await.0, 200);
            assert!(!there(&api, "owner").await, "the last reference no longer blocks");
        }
        finalizers(&api, "child", Value::Null).await;
        assert!(!there(&api, "child").await);
    }
}

#[tokio::test]
async fn a_foreground_deletion_spares_what_has_another_owner() {
    let api = client();
    let (one, two) = (make(&api, "one").await, make(&api, "two").await);
    let both = [reference(&one, true), reference(&two, true)];
    owned(&api, CONFIGMAPS, configmap("shared"), &both).await;
    api.delete(&format!("{CONFIGMAPS}/one?propagationPolicy=Foreground")).await;
    assert_eq!((there(&api, "one").await, owners(&api, "shared").await), (false, 1));
    api.delete(&format!("{CONFIGMAPS}/two?propagationPolicy=Foreground")).await;
    assert_eq!((there(&api, "two").await, there(&api, "shared").await), (false, false));
}

#[tokio::test]
async fn a_second_deletion_may_change_the_policy() {
    let api = client();
    let mut body = configmap("owner");
    body["metadata"]["finalizers"] = json!(["example.com/x"]);
    let (_, owner) = api.post(CONFIGMAPS, &body).await;
    owned(&api, CONFIGMAPS, configmap("child"), &[reference(&owner, true)]).await;
    api.delete(&format!("{CONFIGMAPS}/owner")).await;
    assert!(there(&api, "child").await, "the owner still stands");
    api.delete(&format!("{CONFIGMAPS}/owner?propagationPolicy=Foreground")).await;
    assert!(!there(&api, "child").await);
    let (_, left) = api.get(&format!("{CONFIGMAPS}/owner")).await;
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/x"]));
    finalizers(&api, "owner", Value::Null).await;
    assert!(!there(&api, "owner").await);
}

#[tokio::test]
async fn rings_of_owners_end() {
    let api = client();
    for policy in ["Background", "Foreground"] {
        let a = make(&api, "a").await;
        let b = owned(&api, CONFIGMAPS, configmap("b"), &[reference(&a, true)]).await;
        let close = json!({ "metadata": { "ownerReferences": [reference(&b, true)] } });
        assert_eq!(api.patch(&format!("{CONFIGMAPS}/a"), &close).await.0, 200);
        api.delete(&format!("{CONFIGMAPS}/a?propagationPolicy={policy}")).await;
        assert_eq!((there(&api, "a").await, there(&api, "b").await), (false, false), "{policy}");
        let own = make(&api, "self").await;
        let close = json!({ "metadata": { "ownerReferences": [reference(&own, true)] } });
        api.patch(&format!("{CONFIGMAPS}/self"), &close).await;
        api.delete(&format!("{CONFIGMAPS}/self?propagationPolicy={policy}")).await;
        assert!(!there(&api, "self").await, "{policy}");
    }
}

#[tokio::test]
async fn an_owner_is_known_by_kind_name_uid_and_place() {
    let api = client();
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "far" } });
    let (_, far) = api.post("/api/v1/namespaces", &namespace).await;
    let inside = CONFIGMAPS.replace("default", "far");
    let (_, elsewhere) = api.post(&inside, &configmap("elsewhere")).await;
    let owner = make(&api, "owner").await;
    let with = |field: &str, value: &str| {
        let mut reference = reference(&owner, true);
        reference[field] = json!(value);
        reference
    };
    for (why, reference, stays) in [
        ("right", reference(&owner, true), true),
        ("another UID", with("uid", "no-such-uid"), false),
        ("another name", with("name", "other"), false),
        ("another kind", with("kind", "Secret"), false),
        ("a kind that is not served", with("kind", "Node"), true),
        ("a version that is not served", with("apiVersion", "v2"), true),
        ("an owner in another namespace", reference(&elsewhere, true), false),
        ("an owner without namespace", reference(&far, true), true),
    ] {
        owned(&api, CONFIGMAPS, configmap("child"), &[reference]).await;
        assert_eq!(there(&api, "child").await, stays, "{why}");
        api.delete(&format!("{CONFIGMAPS}/child")).await;
    }
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "owned",
        "ownerReferences": [with("uid", "no-such-uid")] } });
    assert_eq!(api.post("/api/v1/namespaces", &body).await.0, 201);
    let (code, _) = api.get("/api/v1/namespaces/owned").await;
    assert_eq!(code, 200, "what lives in no namespace can't be owned from one");
}

#[tokio::test]
async fn events_are_never_collected() {
    let api = client();
    let owner = make(&api, "owner").await;
    let event = json!({ "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" },
        "involvedObject": {}, "reason": "r" });
    let path = "/api/v1/namespaces/default/events";
    owned(&api, path, event, &[reference(&owner, true)]).await;
    api.delete(&format!("{CONFIGMAPS}/owner")).await;
    assert_eq!(api.get(&format!("{path}/e")).await.0, 200);
}

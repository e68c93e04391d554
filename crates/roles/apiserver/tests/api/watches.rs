//! Watches: start, resume, selectors, the end of the window.
use kruntimes_apiserver::{ApiServer, Options, User};
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, Client, PODS, client, configmap, pod};

fn brief(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_starts_with_what_stands_and_goes_on() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let mut watch = api.watch(&format!("{CONFIGMAPS}?&watch=true&resourceVersion=0")).await;
    assert_eq!(watch.brief().await, brief("ADDED", "a"));
    api.patch(&format!("{CONFIGMAPS}/a"), &json!({ "data": { "x": "y" } })).await;
    assert_eq!(watch.brief().await, brief("MODIFIED", "a"));
    let (_, last) = api.get(&format!("{CONFIGMAPS}/a")).await;
    api.delete(&format!("{CONFIGMAPS}/a")).await;
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    let version =
        |v: &Value| v["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&gone["object"]) > version(&last));
}

#[tokio::test]
async fn a_watch_resumes_where_it_was() {
    let api = client();
    let (_, a) = api.post(CONFIGMAPS, &configmap("a")).await;
    api.post(CONFIGMAPS, &configmap("b")).await;
    api.delete(&format!("{CONFIGMAPS}/a")).await;
    let from = a["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api.watch(&format!("{CONFIGMAPS}?watch=1&resourceVersion={from}")).await;
    assert_eq!(watch.brief().await, brief("ADDED", "b"));
    assert_eq!(watch.brief().await, brief("DELETED", "a"));
}

#[tokio::test]
async fn beyond_the_window_a_watch_is_expired() {
    let options = Options { history_limit: 3, ..Options::default() };
    let api = Client(ApiServer::open(options).unwrap().service(User::admin("admin")));
    let (_, first) = api.post(CONFIGMAPS, &configmap("a")).await;
    for n in 0..5 {
        api.patch(&format!("{CONFIGMAPS}/a"), &json!({ "data": { "n": n.to_string() } })).await;
    }
    let from = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = api.watch(&format!("{CONFIGMAPS}?watch=1&resourceVersion={from}")).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!(
        (&event["object"]["code"], &event["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
    assert!(event["object"]["message"].as_str().unwrap().starts_with("too old resource version"));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection() {
    let api = client();
    let path = format!("{PODS}?watch=1&fieldSelector=spec.nodeName%3Dn1");
    let mut fields = api.watch(&path).await;
    let mut labels = api.watch(&format!("{PODS}?watch=1&labelSelector=app%3Dx")).await;
    api.post(PODS, &pod("p")).await;
    let target = format!("{PODS}/p");
    api.patch(
        &target,
        &json!({ "spec": { "nodeName": "n1" }, "metadata": { "labels": { "app": "x" } } }),
    )
    .await;
    assert_eq!(fields.brief().await, brief("ADDED", "p"));
    assert_eq!(labels.brief().await, brief("ADDED", "p"));
    api.patch(&target, &json!({ "metadata": { "labels": { "app": "y" } } })).await;
    assert_eq!(fields.brief().await, brief("MODIFIED", "p"));
    assert_eq!(labels.brief().await, brief("DELETED", "p"));
    api.patch(&target, &json!({ "spec": { "nodeName": "n2" } })).await;
    let left = fields.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["spec"]["nodeName"], "n1");
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let api = client();
    api.post(CONFIGMAPS, &configmap("a")).await;
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{CONFIGMAPS}?{query}")).await;
    assert_eq!(watch.brief().await, brief("ADDED", "a"));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let (code, _) = api.get(&format!("{CONFIGMAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(code, 422);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_timeout_with_a_bookmark() {
    let api = client();
    let mut watch =
        api.watch(&format!("{CONFIGMAPS}?watch=1&timeoutSeconds=2&allowWatchBookmarks=true")).await;
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn tables_come_as_lists_and_watches() {
    let api = client();
    api.post(PODS, &pod("p")).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let (_, table) = api.json("GET", PODS, &accept, &Value::Null).await;
    assert_eq!(table["kind"], "Table");
    let headings: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(headings[..3], ["Name", "Ready", "Status"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], ["p", "0/1", "Pending"]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

//! Collections: pages of one version, deletion of what a selector names, the end of namespaces.
use serde_json::{Value, json};

use crate::client::{CONFIGMAPS, Client, client, configmap};

async fn make(api: &Client, names: &[&str]) {
    for name in names {
        let mut body = configmap(name);
        body["metadata"]["labels"] = json!({ "name": name });
        assert_eq!(api.post(CONFIGMAPS, &body).await.0, 201);
    }
}

async fn list(api: &Client, query: &str) -> Value {
    let (code, list) = api.get(&format!("{CONFIGMAPS}?{query}")).await;
    assert_eq!(code, 200, "{query}: {list}");
    list
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value["metadata"][field].as_str().unwrap()
}

#[tokio::test]
async fn all_pages_show_the_version_of_the_first() {
    let api = client();
    make(&api, &["a", "b", "c", "d", "e"]).await;
    let first = list(&api, "limit=2").await;
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a", "b"], &json!(3))
    );
    let (_, c) = api.get(&format!("{CONFIGMAPS}/c")).await;
    api.patch(&format!("{CONFIGMAPS}/c"), &json!({ "data": { "new": "1" } })).await;
    api.delete(&format!("{CONFIGMAPS}/d")).await;
    make(&api, &["ab", "dd"]).await;
    let token = text(&first, "continue");
    let second = list(&api, &format!("limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["items"][0], c);
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    assert_eq!(text(&second, "resourceVersion"), text(&first, "resourceVersion"));
    let third = list(&api, &format!("limit=2&continue={}", text(&second, "continue"))).await;
    assert_eq!((names(&third), third["metadata"].get("continue")), (vec!["e"], None));
    let exactly =
        format!("resourceVersion={}&resourceVersionMatch=Exact", text(&first, "resourceVersion"));
    assert_eq!(names(&list(&api, &exactly).await), ["a", "b", "c", "d", "e"]);
    assert_eq!(names(&list(&api, "").await), ["a", "ab", "b", "c", "dd", "e"]);
}

#[tokio::test]
async fn the_count_of_the_rest_is_told_only_without_selectors() {
    let api = client();
    make(&api, &["a", "b", "c"]).await;
    let selected = list(&api, "limit=1&labelSelector=name").await;
    assert!(selected["metadata"]["continue"].is_string());
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
    for (query, expected) in [("limit=3", 3), ("limit=0", 3), ("limit=2", 2)] {
        let page = list(&api, query).await;
        assert_eq!(names(&page).len(), expected);
        assert_eq!(page["metadata"].get("continue").is_some(), expected < 3, "{query}");
    }
}

#[tokio::test]
async fn a_token_that_is_too_old_says_how_to_go_on() {
    let api = Client::with_history(10);
    make(&api, &["a", "b", "c"]).await;
    let first = list(&api, "limit=1").await;
    let path = format!("{CONFIGMAPS}/b");
    for n in 0..=10 {
        api.patch(&path, &json!({ "data": { "n": n.to_string() } })).await;
    }
    let old = format!("{CONFIGMAPS}?limit=1&continue={}", text(&first, "continue"));
    let (code, expired) = api.get(&old).await;
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")));
    assert!(
        expired["message"]
            .as_str()
            .unwrap()
            .starts_with("The provided continue parameter is too old")
    );
    let rest = list(&api, &format!("limit=1&continue={}", text(&expired, "continue"))).await;
    assert_eq!(names(&rest), ["b"]);
    assert_eq!(rest["items"][0]["data"]["n"], "10");
    let rest = list(&api, &format!("continue={}", text(&rest, "continue"))).await;
    assert_eq!(names(&rest), ["c"]);
    let exactly = format!(
        "{CONFIGMAPS}?resourceVersionMatch=Exact&resourceVersion={}",
        text(&first, "resourceVersion")
    );
    let (code, expired) = api.get(&exactly).await;
    assert_eq!(
        (code, &expired["message"]),
        (410, &json!("The resourceVersion for the provided list is too old."))
    );
}

#[tokio::test]
async fn wrong_list_options_are_refused() {
    let api = client();
    make(&api, &["a", "b"]).await;
    let first = list(&api, "limit=1").await;
    let token = text(&first, "continue");
    for (query, code, why) in [
        ("continue=nonsense".to_owned(), 400, "continue key is not valid"),
        (
            format!("continue={token}&resourceVersion=5"),
            400,
            "specifying resource version is not allowed when using continue",
        ),
        (
            "resourceVersionMatch=Exact".to_owned(),
            422,
            "is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0".to_owned(),
            422,
            "is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=Most&resourceVersion=1".to_owned(),
            422,
            "Unsupported value: \"Most\"",
        ),
        ("resourceVersion=99999".to_owned(), 504, "Too large resource version: 99999"),
        ("limit=x".to_owned(), 400, "\"x\" is no whole number"),
    ] {
        let (found, refused) = api.get(&format!("{CONFIGMAPS}?{query}")).await;
        assert_eq!(found, code, "{query}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(why), "{query}: {refused}");
    }
    let elsewhere = format!("/api/v1/namespaces/kube-system/configmaps?continue={token}");
    assert_eq!(api.get(&elsewhere).await.0, 400);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector_page_and_policy() {
    let api = client();
    make(&api, &["a", "b", "c", "d", "e"]).await;
    let delete = async |query: &str| api.delete(&format!("{CONFIGMAPS}?{query}")).await;
    let (code, dry) = delete("dryRun=All").await;
    assert_eq!((code, names(&dry).len(), names(&list(&api, "").await).len()), (200, 5, 5));
    let (code, deleted) = delete("labelSelector=name%20in%20(a,b)").await;
    assert_eq!(
        (code, &deleted["kind"], names(&deleted)),
        (200, &json!("ConfigMapList"), vec!["a", "b"])
    );
    let (_, deleted) = delete("fieldSelector=metadata.name%3Dc").await;
    assert_eq!(names(&deleted), ["c"]);
    let (_, owner) = api.get(&format!("{CONFIGMAPS}/d")).await;
    let mut child = configmap("z");
    child["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap",
        "name": "d", "uid": owner["metadata"]["uid"] }]);
    api.post(CONFIGMAPS, &child).await;
    let (_, deleted) = delete("limit=1&propagationPolicy=Orphan").await;
    assert_eq!((names(&deleted), deleted["metadata"]["continue"].is_string()), (vec!["d"], true));
    assert_eq!(names(&list(&api, "").await), ["e", "z"]);
    assert_eq!(delete("propagationPolicy=Whatever").await.0, 422);
    assert_eq!(names(&delete("").await.1), ["e", "z"]);
    assert!(names(&list(&api, "").await).is_empty());
    let (code, refused) = api.delete("/api/v1/namespaces").await;
    assert_eq!((code, &refused["reason"]), (405, &json!("MethodNotAllowed")));
}

#[tokio::test]
async fn a_thousand_objects_go_at_once() {
    let api = client();
    let creations = (0..1000).map(|n| {
        let api = api.clone();
        async move { api.post(CONFIGMAPS, &configmap(&format!("c{n}"))).await.0 }
    });
    assert!(futures::future::join_all(creations).await.iter().all(|code| *code == 201));
    let (code, deleted) = api.delete(CONFIGMAPS).await;
    assert_eq!((code, names(&deleted).len()), (200, 1000));
    assert!(names(&list(&api, "").await).is_empty());
}

#[tokio::test]
async fn a_namespace_ends_when_its_contents_have() {
    let api = client();
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "ns" } });
    api.post("/api/v1/namespaces", &namespace).await;
    let inside = CONFIGMAPS.replace("default", "ns");
    let mut held = configmap("held");
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    api.post(&inside, &held).await;
    api.post(&inside, &configmap("free")).await;
    let path = "/api/v1/namespaces/ns";
    let strip = json!([{ "op": "remove", "path": "/spec/finalizers" }]);
    let headers = [("content-type", "application/json-patch+json")];
    let (code, kept) = api.json("PATCH", path, &headers, &strip).await;
    assert_eq!((code, &kept["spec"]["finalizers"]), (200, &json!(["kubernetes"])));
    assert_eq!(api.delete(path).await.1["status"]["phase"], "Terminating");
    let (_, ending) = api.get(path).await;
    let conditions = ending["status"]["conditions"].as_array().unwrap();
    let message = |kind: &str| {
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
        assert_eq!(found["status"], "True");
        found["message"].as_str().unwrap()
    };
    assert_eq!(
        message("NamespaceContentRemaining"),
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(
        message("NamespaceFinalizersRemaining"),
        "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances"
    );
    for name in ["new", "held"] {
        let (code, refused) = api.post(&inside, &configmap(name)).await;
        assert_eq!(code, 403);
        assert!(refused["message"].as_str().unwrap().contains("because it is being terminated"));
        assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    }
    let free = json!({ "metadata": { "finalizers": null } });
    assert_eq!(api.patch(&format!("{inside}/held"), &free).await.0, 200);
    assert_eq!(api.get(path).await.0, 404);
    assert_eq!(api.post("/api/v1/namespaces", &namespace).await.0, 201);
    assert!(names(&api.get(&inside).await.1).is_empty());
}

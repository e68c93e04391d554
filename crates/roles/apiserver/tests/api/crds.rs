//! Foreign CRDs: served, pruned, selectable, gone with all their objects; refused by name where not served.
use serde_json::{Value, json};

use crate::client::client;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": {
                    "spec": { "type": "object", "required": ["size"], "properties": {
                        "size": { "type": "integer", "maximum": 9 },
                        "color": { "type": "string", "default": "red" },
                    } } } } },
                "additionalPrinterColumns": [{ "name": "Size", "type": "integer", "jsonPath": ".spec.size" }],
                "selectableFields": [{ "jsonPath": ".spec.color" }],
            }],
        },
    })
}

fn widget(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Widget", "metadata": { "name": name }, "spec": spec })
}

#[tokio::test]
async fn a_foreign_crd_is_served() {
    let api = client();
    assert_eq!(api.get(WIDGETS).await.0, 404);
    let (code, made) = api.post(CRDS, &crd()).await;
    assert_eq!(code, 201, "{made}");
    assert!(
        made["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Established")
    );
    let (code, small) = api.post(WIDGETS, &widget("small", &json!({ "size": 1, "x": 2 }))).await;
    assert_eq!((code, &small["spec"]), (201, &json!({ "size": 1, "color": "red" })));
    let (code, status) = api.post(WIDGETS, &widget("big", &json!({ "size": 10 }))).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "Widget.example.com \"big\" is invalid: spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9"
    );
    let (code, status) = api.post(WIDGETS, &widget("none", &json!({}))).await;
    assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &json!("spec.size")));
    let (_, list) = api.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await;
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("WidgetList"), 1));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, table) = api.json("GET", WIDGETS, &accept, &Value::Null).await;
    assert_eq!(table["rows"][0]["cells"], json!(["small", 1]));
    let (_, resources) = api.get("/apis/example.com/v1").await;
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
}

#[tokio::test]
async fn a_crd_changes_while_it_is_served() {
    let api = client();
    let (_, mut changed) = api.post(CRDS, &crd()).await;
    api.post(WIDGETS, &widget("a", &json!({ "size": 1 }))).await;
    changed["spec"]["versions"][0]["selectableFields"] = json!([{ "jsonPath": ".spec.size" }]);
    let path = format!("{CRDS}/widgets.example.com");
    assert_eq!(api.put(&path, &changed).await.0, 200);
    let (_, list) = api.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D1")).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.0, 400);
}

#[tokio::test]
async fn a_crd_goes_with_its_objects() {
    let api = client();
    api.post(CRDS, &crd()).await;
    let mut held = widget("held", &json!({ "size": 1 }));
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    api.post(WIDGETS, &held).await;
    api.post(WIDGETS, &widget("free", &json!({ "size": 1 }))).await;
    let path = format!("{CRDS}/widgets.example.com");
    assert_eq!(api.delete(&path).await.0, 200);
    assert_eq!(api.get(&format!("{WIDGETS}/free")).await.0, 404);
    assert_eq!(api.get(&path).await.0, 200);
    let (code, refused) = api.post(WIDGETS, &widget("new", &json!({ "size": 1 }))).await;
    assert_eq!((code, &refused["reason"]), (405, &json!("MethodNotAllowed")));
    assert_eq!(
        refused["message"],
        "create not allowed while custom resource definition is terminating"
    );
    api.patch(&format!("{WIDGETS}/held"), &json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!(api.get(&path).await.0, 404);
    assert_eq!(api.get(WIDGETS).await.0, 404);
}

#[tokio::test]
async fn what_a_crd_may_not_have_is_named() {
    let api = client();
    let mut rules = crd();
    rules["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{ "rule": "self.spec.size > 0" }]);
    let mut versions = crd();
    let mut second = versions["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    versions["spec"]["versions"].as_array_mut().unwrap().push(second);
    let mut misnamed = crd();
    misnamed["metadata"]["name"] = json!("things.example.com");
    for (body, expected) in [
        (rules, "spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations: Forbidden"),
        (versions, "spec.versions: Forbidden: more than one served version (v1, v2)"),
        (misnamed, "metadata.name: Invalid value: \"things.example.com\""),
    ] {
        let (code, status) = api.post(CRDS, &body).await;
        assert_eq!(code, 422, "{status}");
        assert!(status["message"].as_str().unwrap().contains(expected), "{status}");
    }
}

//! OpenAPI v3, as far as kubectl asks for it: which paths take `fieldValidation`, and the schemas of CRDs.
use serde_json::{Map, Value, json};

use crate::registry::Registry;
use crate::resource::Resource;

/// `/openapi/v3`: where each group version's document is.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions.keys() {
            let path = root(group, version);
            let url = format!("/openapi/v3/{path}");
            paths.insert(path, json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths })
}

fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// The document of one group version.
pub fn document(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let groups = registry.groups();
    let resources = groups.get(group)?.get(version)?;
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for res in resources {
        let scope = if res.namespaced { "/namespaces/{namespace}" } else { "" };
        let base = format!("/{}{scope}/{}", root(group, version), res.plural);
        paths.insert(format!("{base}/{{name}}"), one(res));
        if res.status {
            paths.insert(format!("{base}/{{name}}/status"), one(res));
        }
        paths.insert(base, many(res));
        schemas.insert(schema_name(res), schema(res));
    }
    Some(json!({ "openapi": "3.0.0", "info": { "title": "kruntimes", "version": "v1.34.0" },
        "paths": paths, "components": { "schemas": schemas } }))
}

fn kind(res: &Resource) -> Value {
    json!({ "group": res.group, "version": res.version, "kind": res.kind })
}

fn schema_name(res: &Resource) -> String {
    let group: Vec<&str> = res.group.split('.').rev().filter(|p| !p.is_empty()).collect();
    let group = if group.is_empty() { "core".to_owned() } else { group.join(".") };
    format!("{group}.{}.{}", res.version, res.kind)
}

fn schema(res: &Resource) -> Value {
    let mut schema = res.openapi.clone().unwrap_or_else(
        || json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
    );
    schema["x-kubernetes-group-version-kind"] = json!([kind(res)]);
    if res.custom {
        let text = json!({ "type": "string" });
        let properties = crate::json::object_mut(&mut schema, "properties");
        properties.insert("apiVersion".to_owned(), text.clone());
        properties.insert("kind".to_owned(), text);
        properties.insert(
            "metadata".to_owned(),
            json!({ "type": "object",
            "x-kubernetes-preserve-unknown-fields": true }),
        );
    }
    schema
}

fn operation(res: &Resource, action: &str, parameters: &[&str]) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|name| {
            json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } })
        })
        .collect();
    let reference = json!({ "$ref": format!("#/components/schemas/{}", schema_name(res)) });
    json!({ "operationId": format!("{action}{}", schema_name(res).replace('.', "")),
        "parameters": parameters,
        "responses": { "200": { "description": "OK",
            "content": { "application/json": { "schema": reference } } } },
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind(res) })
}

const WRITE: [&str; 3] = ["dryRun", "fieldManager", "fieldValidation"];

fn one(res: &Resource) -> Value {
    json!({ "get": operation(res, "get", &[]), "put": operation(res, "put", &WRITE),
        "patch": operation(res, "patch", &WRITE), "delete": operation(res, "delete", &["dryRun"]) })
}

fn many(res: &Resource) -> Value {
    json!({ "get": operation(res, "list", &["labelSelector", "fieldSelector", "watch"]),
        "post": operation(res, "post", &WRITE) })
}

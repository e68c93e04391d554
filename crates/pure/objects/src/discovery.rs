//! Discovery documents, plain and aggregated.
use serde_json::{Value, json};

use crate::registry::Registry;
use crate::resource::Resource;

/// `/api`.
pub fn core_versions() -> Value {
    json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
}

/// `/apis`.
pub fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| group_entry(name, versions.keys()))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`.
pub fn group(registry: &Registry, name: &str) -> Option<Value> {
    let groups = registry.groups();
    let versions = groups.get(name).filter(|_| !name.is_empty())?;
    let mut group = group_entry(name, versions.keys());
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

fn group_entry<'a>(name: &str, versions: impl Iterator<Item = &'a &'a str>) -> Value {
    let versions: Vec<Value> =
        versions.map(|v| json!({ "groupVersion": format!("{name}/{v}"), "version": v })).collect();
    json!({ "name": name, "preferredVersion": versions.first(), "versions": versions })
}

/// `/api/v1` or `/apis/GROUP/VERSION`.
pub fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let groups = registry.groups();
    let resources = groups.get(group)?.get(version)?;
    let group_version = resources.first()?.api_version();
    let resources: Vec<Value> = resources.iter().flat_map(|r| plain(r)).collect();
    Some(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": resources }))
}

fn plain(res: &Resource) -> Vec<Value> {
    let mut main = json!({ "name": res.plural, "singularName": res.singular,
        "namespaced": res.namespaced, "kind": res.kind, "verbs": res.verbs() });
    if !res.short_names.is_empty() {
        main["shortNames"] = json!(res.short_names);
    }
    if !res.categories.is_empty() {
        main["categories"] = json!(res.categories);
    }
    let subs = res.subresources().into_iter().map(|(sub, verbs)| {
        json!({ "name": format!("{}/{sub}", res.plural), "singularName": "",
            "namespaced": res.namespaced, "kind": res.kind, "verbs": verbs })
    });
    std::iter::once(main).chain(subs).collect()
}

/// The aggregated document for `/api` (`core`) or `/apis`, in `v2` or `v2beta1`.
pub fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let items: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(name, _)| name.is_empty() == core)
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources.iter().map(|r| full(r)).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            json!({ "metadata": { "name": name }, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "metadata": {}, "items": items,
        "apiVersion": format!("apidiscovery.k8s.io/{version}") })
}

fn full(res: &Resource) -> Value {
    let kind = json!({ "group": res.group, "version": res.version, "kind": res.kind });
    let subs: Vec<Value> = res
        .subresources()
        .into_iter()
        .map(|(sub, verbs)| json!({ "subresource": sub, "responseKind": kind, "verbs": verbs }))
        .collect();
    let mut entry = json!({ "resource": res.plural, "responseKind": kind,
        "scope": if res.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": res.singular, "verbs": res.verbs() });
    for (key, list) in [("shortNames", &res.short_names), ("categories", &res.categories)] {
        if !list.is_empty() {
            entry[key] = json!(list);
        }
    }
    if !subs.is_empty() {
        entry["subresources"] = json!(subs);
    }
    entry
}

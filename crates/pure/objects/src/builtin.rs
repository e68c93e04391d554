//! The built-in kinds: what they are called, what they default and what they refuse.
//!
//! They have no full schema here: metadata and obvious types are checked, the rest is kept as sent.
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::columns;
use crate::crd;
use crate::delete::{CRD_CLEANUP, seconds};
use crate::json;
use crate::meta;
use crate::resource::{Resource, SelectableField};
use crate::schema::{CauseReason, FieldError};

/// The id of CRDs themselves.
pub const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// group, version, plural, kind, short names, namespaced, status
type Row =
    (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], bool, bool);

const APPS: &str = "apps";
const RBAC: &str = "rbac.authorization.k8s.io";

const ROWS: [Row; 16] = [
    ("", "v1", "namespaces", "Namespace", &["ns"], false, true),
    ("", "v1", "pods", "Pod", &["po"], true, true),
    ("", "v1", "configmaps", "ConfigMap", &["cm"], true, false),
    ("", "v1", "secrets", "Secret", &[], true, false),
    ("", "v1", "serviceaccounts", "ServiceAccount", &["sa"], true, false),
    ("", "v1", "services", "Service", &["svc"], true, true),
    ("", "v1", "events", "Event", &["ev"], true, false),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], true, true),
    ("coordination.k8s.io", "v1", "leases", "Lease", &[], true, false),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", &[], true, false),
    (APPS, "v1", "deployments", "Deployment", &["deploy"], true, true),
    (APPS, "v1", "replicasets", "ReplicaSet", &["rs"], true, true),
    (RBAC, "v1", "roles", "Role", &[], true, false),
    (RBAC, "v1", "rolebindings", "RoleBinding", &[], true, false),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", &["netpol"], true, false),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        &["crd", "crds"],
        false,
        true,
    ),
];

/// All built-in resources.
pub fn resources() -> Vec<Resource> {
    ROWS.iter().map(resource).collect()
}

fn resource(row: &Row) -> Resource {
    let (group, version, plural, kind, shorts, namespaced, status) = *row;
    let id = Resource::make_id(group, plural);
    let categories = match &*id {
        "pods" | "services" | "deployments.apps" | "replicasets.apps" => vec!["all".to_owned()],
        _ => Vec::new(),
    };
    Resource {
        fields: selectable(&id),
        columns: columns::builtin(&id),
        id,
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        short_names: shorts.iter().map(|s| (*s).to_owned()).collect(),
        categories,
        namespaced,
        status,
        custom: false,
        schema: None,
        openapi: None,
    }
}

fn selectable(id: &str) -> Arc<[SelectableField]> {
    let labels: &[&str] = match id {
        "pods" => &[
            "spec.nodeName",
            "status.phase",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "replicasets.apps" => &["status.replicas"],
        "services" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    };
    let field = |label: &&str| match *label {
        "source" => SelectableField {
            label: "source".to_owned(),
            path: vec!["source".to_owned(), "component".to_owned()],
        },
        other => SelectableField::dotted(other),
    };
    labels.iter().map(field).collect()
}

/// Whether `metadata.generation` is kept.
pub fn has_generation(res: &Resource) -> bool {
    res.custom
        || [
            "pods",
            "deployments.apps",
            "replicasets.apps",
            "networkpolicies.networking.k8s.io",
            CRDS,
        ]
        .iter()
        .any(|id| res.is(id))
}

/// Fills in what kube-apiserver would on creation.
pub fn defaults(res: &Resource, object: &mut Value, now: Timestamp) {
    match &*res.id {
        "namespaces" => {
            let name = json::text(object, &["metadata", "name"]).to_owned();
            let labels = json::object_mut(&mut object["metadata"], "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
            json::object_mut(object, "spec").insert("finalizers".to_owned(), json!(["kubernetes"]));
            object["status"] = json!({ "phase": "Active" });
        }
        "pods" => object["status"] = json!({ "phase": "Pending" }),
        "services" => object["status"] = json!({ "loadBalancer": {} }),
        "persistentvolumeclaims" => object["status"] = json!({ "phase": "Pending" }),
        "deployments.apps" => object["status"] = json!({}),
        "replicasets.apps" => object["status"] = json!({ "replicas": 0 }),
        CRDS => {
            let finalizers = json::metadata_mut(object).entry("finalizers").or_insert(json!([]));
            if let Some(list) = finalizers.as_array_mut() {
                list.push(json!(CRD_CLEANUP));
            }
            object["status"] = crd::status(object, &seconds(now));
        }
        _ => {}
    }
    normalize(res, object);
}

/// Fills in defaults that every write gets.
pub fn normalize(res: &Resource, object: &mut Value) {
    match &*res.id {
        "pods" => pod_spec(json::object_mut(object, "spec")),
        "deployments.apps" => {
            let spec = json::object_mut(object, "spec");
            default(spec, "replicas", json!(1));
            default(spec, "revisionHistoryLimit", json!(10));
            default(spec, "progressDeadlineSeconds", json!(600));
            default(
                spec,
                "strategy",
                json!({ "type": "RollingUpdate",
                "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } }),
            );
            pod_template(object);
        }
        "replicasets.apps" => {
            default(json::object_mut(object, "spec"), "replicas", json!(1));
            pod_template(object);
        }
        "services" => {
            let spec = json::object_mut(object, "spec");
            default(spec, "type", json!("ClusterIP"));
            default(spec, "sessionAffinity", json!("None"));
        }
        "secrets" => {
            if object.get("type").is_none_or(|t| t.as_str() == Some("")) {
                object["type"] = json!("Opaque");
            }
            if let Some(Value::Object(texts)) = json::remove(object, "stringData") {
                let data = json::object_mut(object, "data");
                for (key, text) in texts {
                    data.insert(key, json!(base64(text.as_str().unwrap_or_default().as_bytes())));
                }
            }
        }
        _ => {}
    }
}

fn default(map: &mut Map<String, Value>, key: &str, value: Value) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value);
    }
}

fn pod_template(object: &mut Value) {
    if let Some(template) = object["spec"].get_mut("template") {
        pod_spec(json::object_mut(template, "spec"));
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "securityContext", json!({}));
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                default(container, "terminationMessagePath", json!("/dev/termination-log"));
                default(container, "terminationMessagePolicy", json!("File"));
                default(container, "imagePullPolicy", json!("IfNotPresent"));
                default(container, "resources", json!({}));
            }
        }
    }
}

/// Checks the obvious of a built-in kind.
pub fn validate(res: &Resource, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if res.custom {
        return errors;
    }
    for field in ["spec", "status", "data", "binaryData"] {
        if object.get(field).is_some_and(|v| !v.is_object() && !v.is_null()) {
            errors.push(meta::wrong_type(field, "object"));
        }
    }
    match &*res.id {
        "pods" => containers(object, &["spec"], &mut errors),
        "deployments.apps" | "replicasets.apps" => {
            workload(object, old, &mut errors);
            containers(object, &["spec", "template", "spec"], &mut errors);
        }
        "secrets" | "configmaps" => immutable_data(object, old, &mut errors),
        CRDS => {
            errors.extend(crd::foreign_rules(object));
            if let Err(refused) = crd::compile(object) {
                errors.extend(refused);
            }
        }
        _ => {}
    }
    errors
}

fn containers(object: &Value, path: &[&str], errors: &mut Vec<FieldError>) {
    let spec = json::at(object, path).unwrap_or(&Value::Null);
    let path = format!("{}.containers", path.join("."));
    let Some(list) = spec.get("containers").and_then(Value::as_array).filter(|l| !l.is_empty())
    else {
        errors.push(FieldError::new(path, CauseReason::Required, "Required value"));
        return;
    };
    for (at, container) in list.iter().enumerate() {
        for field in ["name", "image"] {
            if json::text(container, &[field]).is_empty() {
                let path = format!("{path}[{at}].{field}");
                errors.push(FieldError::new(path, CauseReason::Required, "Required value"));
            }
        }
    }
}

fn workload(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    const SELECTOR: [&str; 2] = ["spec", "selector"];
    const PATH: &str = "spec.selector";
    let Some(selector) = json::at(object, &SELECTOR) else {
        errors.push(FieldError::new(PATH, CauseReason::Required, "Required value"));
        return;
    };
    if old.is_some_and(|old| json::at(old, &SELECTOR) != Some(selector)) {
        let message = format!("Invalid value: {selector}: field is immutable");
        errors.push(FieldError::new(PATH, CauseReason::Invalid, message));
    }
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let labels = json::at(object, &["spec", "template", "metadata", "labels"]);
    let missing =
        wanted.into_iter().flatten().any(|(k, v)| labels.and_then(|l| l.get(k)) != Some(v));
    if missing {
        let value = labels.unwrap_or(&Value::Null);
        let message =
            format!("Invalid value: {value}: `selector` does not match template `labels`");
        errors.push(FieldError::new(
            "spec.template.metadata.labels",
            CauseReason::Invalid,
            message,
        ));
    }
    if json::at(object, &["spec", "replicas"]).is_some_and(|r| r.as_i64().is_none_or(|n| n < 0)) {
        let message = "Invalid value: must be greater than or equal to 0";
        errors.push(FieldError::new("spec.replicas", CauseReason::Invalid, message));
    }
}

fn immutable_data(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(old) = old.filter(|o| o.get("immutable") == Some(&Value::Bool(true))) else { return };
    for field in ["immutable", "data", "binaryData"] {
        if object.get(field) != old.get(field) {
            let message = "Forbidden: field is immutable when `immutable` is set";
            errors.push(FieldError::new(field, CauseReason::Forbidden, message));
        }
    }
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let index = (group >> (18 - 6 * at) & 63) as usize;
            out.push(if at <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}

//! `metadata`: what is well-formed, and what belongs to the server.
use serde_json::Value;

use crate::json;
use crate::names;
use crate::resource::Resource;
use crate::schema::{CauseReason, FieldError};

const MAX_ANNOTATIONS: usize = 262_144;

/// Checks `metadata` of a complete object.
pub fn validate(res: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    name(res, json::text(metadata, &["name"]), &mut errors);
    labels(metadata.get("labels"), "metadata.labels", &mut errors);
    annotations(metadata.get("annotations"), &mut errors);
    finalizers(metadata.get("finalizers"), &mut errors);
    owner_references(metadata.get("ownerReferences"), &mut errors);
    errors
}

fn invalid(path: &str, value: &str, why: &str) -> FieldError {
    FieldError::new(path, CauseReason::Invalid, format!("Invalid value: {value:?}: {why}"))
}

fn required(path: impl Into<String>, why: &str) -> FieldError {
    let message =
        if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
    FieldError::new(path, CauseReason::Required, message)
}

fn name(res: &Resource, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(required("metadata.name", "name or generateName is required"));
        return;
    }
    let why = if res.is("namespaces") || res.is("services") {
        names::label(name)
    } else if res.group == "rbac.authorization.k8s.io" {
        names::path_segment(name)
    } else {
        names::subdomain(name)
    };
    errors.extend(why.map(|why| invalid("metadata.name", name, &why)));
}

/// Checks a map of labels.
pub fn labels(labels: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(labels) = labels.filter(|l| !l.is_null()) else { return };
    let Some(map) = labels.as_object() else {
        errors.push(wrong_type(path, "map"));
        return;
    };
    for (key, value) in map {
        errors.extend(names::qualified_name(key).map(|why| invalid(path, key, &why)));
        match value.as_str() {
            None => errors.push(wrong_type(&format!("{path}[{key}]"), "string")),
            Some(text) => {
                errors.extend(names::label_value(text).map(|why| invalid(path, text, &why)));
            }
        }
    }
}

fn annotations(annotations: Option<&Value>, errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.annotations";
    let Some(annotations) = annotations.filter(|a| !a.is_null()) else { return };
    let Some(map) = annotations.as_object() else {
        errors.push(wrong_type(PATH, "map"));
        return;
    };
    let mut total = 0;
    for (key, value) in map {
        let why = names::qualified_name(&key.to_lowercase());
        errors.extend(why.map(|why| invalid(PATH, key, &why)));
        match value.as_str() {
            None => errors.push(wrong_type(&format!("{PATH}[{key}]"), "string")),
            Some(text) => total += key.len() + text.len(),
        }
    }
    if total > MAX_ANNOTATIONS {
        let message = format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes");
        errors.push(FieldError::new(PATH, CauseReason::TooLong, message));
    }
}

fn finalizers(finalizers: Option<&Value>, errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.finalizers";
    let Some(finalizers) = finalizers.filter(|f| !f.is_null()) else { return };
    let Some(list) = finalizers.as_array() else {
        errors.push(wrong_type(PATH, "array"));
        return;
    };
    for finalizer in list {
        let text = finalizer.as_str().unwrap_or_default();
        errors.extend(names::qualified_name(text).map(|why| invalid(PATH, text, &why)));
    }
}

fn owner_references(references: Option<&Value>, errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.ownerReferences";
    let Some(references) = references.filter(|r| !r.is_null()) else { return };
    let Some(list) = references.as_array() else {
        errors.push(wrong_type(PATH, "array"));
        return;
    };
    for (at, reference) in list.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if json::text(reference, &[field]).is_empty() {
                errors.push(required(format!("{PATH}[{at}].{field}"), ""));
            }
        }
    }
}

/// An error about a value of the wrong JSON type.
pub fn wrong_type(path: &str, expected: &str) -> FieldError {
    let message = format!("Invalid value: must be of type {expected}");
    FieldError::new(path, CauseReason::TypeInvalid, message)
}

/// Refuses finalizers that are new on an object that is being deleted.
pub fn no_new_finalizers(old: &Value, new: &Value) -> Option<FieldError> {
    json::at(old, &["metadata", "deletionTimestamp"])?;
    let list = |v| json::at(v, &["metadata", "finalizers"]).and_then(Value::as_array);
    let before = list(old);
    let added: Vec<String> = list(new)
        .into_iter()
        .flatten()
        .filter(|f| !before.is_some_and(|b| b.contains(f)))
        .map(Value::to_string)
        .collect();
    (!added.is_empty()).then(|| {
        let message = format!(
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        FieldError::new("metadata.finalizers", CauseReason::Forbidden, message)
    })
}

//! Embedded resources: they carry `apiVersion` and `kind`.
use super::error::{CauseReason, FieldError};
use super::gofmt::shown;
use super::node::Node;
use super::path::Path;
use serde_json::{Map, Value};

/// What embedded resources in a value lack.
pub(super) fn check(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, value, &mut Path::default(), &mut errors);
    errors
}

fn walk(node: &Node, value: &Value, path: &mut Path, errors: &mut Vec<FieldError>) {
    if !node.below.embedded {
        return;
    }
    match value {
        Value::Object(map) => {
            if node.embedded {
                identity(map, path, errors);
            }
            for (name, value) in map {
                let mark = path.mark();
                if let Some(child) = node.properties.get(name) {
                    path.field(name);
                    walk(child, value, path, errors);
                } else if let Some(child) = node.additional.schema() {
                    path.key(name);
                    walk(child, value, path, errors);
                }
                path.back(mark);
            }
        }
        Value::Array(items) => {
            let Some(child) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                let mark = path.mark();
                path.index(index);
                walk(child, item, path, errors);
                path.back(mark);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn identity(map: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let mark = path.mark();
        path.field(name);
        match map.get(name) {
            None => {
                errors.push(FieldError::new(path.as_str(), CauseReason::Required, "Required value"))
            }
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::new(
                    path.as_str(),
                    CauseReason::Required,
                    "Required value",
                ));
            }
            Some(Value::String(_)) => {}
            Some(other) => {
                let message = format!("Invalid value: {}: must be a string", shown(other));
                errors.push(FieldError::new(path.as_str(), CauseReason::Invalid, message));
            }
        }
        path.back(mark);
    }
}

//! Defaulting: nulls that may not be go away, absent fields get their defaults, inside new parents too.
use super::node::{Additional, Node};
use serde_json::Value;

/// Drops nulls of fields that are neither nullable nor defaulted, then fills in defaults.
pub(super) fn apply(object: &mut Value, node: &Node) {
    drop_nulls(object, node);
    fill(object, node);
}

fn refuses_null(value: &Value, node: &Node) -> bool {
    value.is_null() && !node.nullable
}

fn drop_nulls(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let Some(child) = node.field(name) else { return true };
            if refuses_null(value, child) && child.default.is_none() {
                return false;
            }
            drop_nulls(value, child);
            true
        }),
        Value::Array(items) => {
            let Some(child) = &node.items else { return };
            for item in items {
                drop_nulls(item, child);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fills in defaults.
pub(super) fn fill(value: &mut Value, node: &Node) {
    match value {
        Value::Object(map) => {
            for (name, child) in &node.properties {
                let Some(default) = &child.default else { continue };
                if map.get(name).is_none_or(|value| refuses_null(value, child)) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(child) = node.properties.get(name) {
                    fill(value, child);
                } else if let Additional::Schema(child) = &node.additional {
                    replace_null(value, child);
                    fill(value, child);
                }
            }
        }
        Value::Array(items) => {
            let Some(child) = &node.items else { return };
            for item in items {
                replace_null(item, child);
                fill(item, child);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn replace_null(value: &mut Value, node: &Node) {
    if refuses_null(value, node)
        && let Some(default) = &node.default
    {
        *value = default.clone();
    }
}

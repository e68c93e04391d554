//! Lists of kind set and map: no value and no key stands twice.
use super::error::{CauseReason, FieldError};
use super::gofmt::{json, shown};
use super::node::Node;
use super::path::Path;
use crate::cel::ListKind;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The duplicates in a value.
pub(super) fn check(node: &Node, value: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(node, value, &mut Path::default(), &mut errors);
    errors
}

fn walk(node: &Node, value: &Value, path: &mut Path, errors: &mut Vec<FieldError>) {
    if !node.below.lists {
        return;
    }
    match value {
        Value::Object(map) => fields(node, map, path, errors),
        Value::Array(items) => {
            match &node.list {
                ListKind::Atomic => {}
                ListKind::Set => duplicates(items, path, errors, |item| item.clone()),
                ListKind::Map(keys) => list_map(keys, items, path, errors),
            }
            let Some(child) = node.items.as_deref().filter(|child| child.below.lists) else {
                return;
            };
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

fn fields(node: &Node, map: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
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

fn list_map(keys: &[String], items: &[Value], path: &mut Path, errors: &mut Vec<FieldError>) {
    if let Some((index, item)) =
        items.iter().enumerate().find(|(_, item)| !item.is_object() && !item.is_null())
    {
        let mark = path.mark();
        path.index(index);
        let message = format!(
            "Invalid value: {}: must be an object for an array of list-type map",
            shown(item)
        );
        errors.push(FieldError::new(path.as_str(), CauseReason::Invalid, message));
        path.back(mark);
        return;
    }
    duplicates(items, path, errors, |item| {
        let held =
            keys.iter().filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone())));
        Value::Object(held.collect())
    });
}

/// Reports the second appearance of each identity.
fn duplicates(
    items: &[Value],
    path: &mut Path,
    errors: &mut Vec<FieldError>,
    identity: impl Fn(&Value) -> Value,
) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let identity = identity(item);
        let times = seen.entry(json(&identity)).or_default();
        *times += 1;
        if *times == 2 {
            let mark = path.mark();
            path.index(index);
            let message = format!("Duplicate value: {}", shown(&identity));
            errors.push(FieldError::new(path.as_str(), CauseReason::Duplicate, message));
            path.back(mark);
        }
    }
}

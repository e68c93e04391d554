//! A merge patch, as the API server takes the status in.

use serde_json::{Value, json};

/// RFC 7396.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], change);
        }
    }
}

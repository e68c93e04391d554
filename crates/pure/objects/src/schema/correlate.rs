//! What an update changes: items of lists found by their keys, and values that stayed as they were.
use super::node::Node;
use crate::cel::ListKind;
use serde_json::Value;

/// The items of an old list, found by the keys of a new item.
pub(super) struct Correlated<'v> {
    keys: &'v [String],
    old: &'v [Value],
}

impl<'v> Correlated<'v> {
    /// Only lists of kind map can be correlated.
    pub(super) fn new(kind: &'v ListKind, old: Option<&'v Value>) -> Self {
        let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        match kind {
            ListKind::Map(keys) => Self { keys, old },
            ListKind::Atomic | ListKind::Set => Self { keys: &[], old: &[] },
        }
    }

    /// The old item with the keys of this one.
    pub(super) fn of(&self, item: &Value) -> Option<&'v Value> {
        let scalar =
            |value: &Value| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_));
        if self.keys.is_empty() || !self.keys.iter().all(|key| item.get(key).is_some_and(scalar)) {
            return None;
        }
        self.old.iter().find(|old| self.keys.iter().all(|key| old.get(key) == item.get(key)))
    }
}

/// Whether a value is as it was, as upstream finds out: data without a schema (even a non-empty `metadata`) counts as
/// changed.
pub(super) fn unchanged(node: &Node, new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Array(items), Value::Array(before)) => {
            if items.len() != before.len() {
                return false;
            }
            let (ListKind::Map(_), Some(child)) = (&node.list, &node.items) else {
                return items == before;
            };
            let correlated = Correlated::new(&node.list, Some(old));
            items.iter().all(|item| {
                correlated.of(item).is_some_and(|before| unchanged(child, item, before))
            })
        }
        (Value::Object(map), Value::Object(before)) => {
            map.len() == before.len()
                && map.iter().all(|(name, value)| match (node.field(name), before.get(name)) {
                    (Some(child), Some(before)) => unchanged(child, value, before),
                    _ => false,
                })
        }
        _ => new == old,
    }
}

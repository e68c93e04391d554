//! Pruning: fields that the schema does not know are removed and named.
use super::node::{Additional, Node};
use super::path::Path;
use serde_json::Value;

/// How many unknown fields are named.
const MAX_NAMED: usize = 100;
/// How many bytes of an unknown field's path are shown.
const MAX_PATH: usize = 1024;
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes unknown fields of a root object; the paths of the first of them, sorted.
pub(super) fn prune(node: &Node, object: &mut Value) -> Vec<String> {
    let mut pruning = Pruning { removed: Vec::new(), path: Path::default() };
    pruning.node(Some(node), object, true);
    pruning.removed.sort();
    pruning.removed
}

struct Pruning {
    removed: Vec<String>,
    path: Path,
}

impl Pruning {
    fn node(&mut self, node: Option<&Node>, value: &mut Value, root: bool) {
        match value {
            Value::Object(map) => {
                let resource = root || node.is_some_and(|node| node.embedded);
                map.retain(|name, value| {
                    if resource && META.contains(&name.as_str()) {
                        return true;
                    }
                    let mark = self.path.mark();
                    self.path.field(name);
                    let kept = self.field(node, name, value);
                    if !kept && self.removed.len() < MAX_NAMED {
                        let path = self.path.as_str();
                        self.removed.push(path[..path.floor_char_boundary(MAX_PATH)].to_owned());
                    }
                    self.path.back(mark);
                    kept
                });
            }
            Value::Array(items) => {
                // Where unknown fields are preserved, items keep them too.
                let child = node.and_then(|node| node.items.as_deref());
                let preserved = node.is_some_and(|node| node.preserve) && child.is_none();
                if preserved {
                    return;
                }
                for (index, item) in items.iter_mut().enumerate() {
                    let mark = self.path.mark();
                    self.path.index(index);
                    self.node(child, item, false);
                    self.path.back(mark);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Whether the field stays; what it holds is pruned.
    fn field(&mut self, node: Option<&Node>, name: &str, value: &mut Value) -> bool {
        let Some(node) = node else { return false };
        if let Some(child) = node.properties.get(name) {
            self.node(Some(child), value, false);
            return true;
        }
        match &node.additional {
            Additional::Schema(child) => self.node(Some(child), value, false),
            Additional::Any => self.node(None, value, false),
            Additional::Absent => return node.preserve,
        }
        true
    }
}

//! What an expression reads, as far as it is known without evaluation.

use crate::error::Position;
use crate::tree::{Node, NodeKind};

/// A path into a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The context, and the names behind it: `needs`, `build`, `outputs`, `version`.
    pub path: Vec<String>,
    /// What is behind the path is found only by evaluation: `[matrix.os]`, `[0]` or `.*`.
    pub goes_on: bool,
    /// Where in the text.
    pub position: Position,
}

/// All of a tree, in the order of the source.
pub(crate) fn of_tree(root: &Node, source: &str, start: Position) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(node) = waiting.pop() {
        if let NodeKind::Reference { names, rest } = &node.kind {
            found.push((node.at, names.clone(), !rest.is_empty()));
        }
        waiting.extend(node.children());
    }
    found.sort_by_key(|(at, ..)| *at);
    let mut position = start;
    let mut passed = 0;
    let place = |(at, path, goes_on)| {
        position = position.after(source.get(passed..at).unwrap_or_default());
        passed = at;
        Reference { path, goes_on, position }
    };
    found.into_iter().map(place).collect()
}

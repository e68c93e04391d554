//! What rules see of a node: its type.
use super::format::Format;
use super::node::{Below, Kind, Node};
use crate::cel::{Decl, ListKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands at a node or below it.
pub(super) fn below(node: &Node) -> Below {
    let mut below =
        Below { rules: false, lists: node.list != ListKind::Atomic, embedded: node.embedded };
    for child in node.children() {
        below.lists |= child.below.lists;
        below.embedded |= child.below.embedded;
    }
    below
}

/// The type that rules see.
pub(super) fn declare(node: &Node, resource: bool) -> Decl {
    match node.kind {
        None => Decl::Opaque,
        Some(Kind::IntOrString) => Decl::Dyn,
        Some(Kind::Boolean) => Decl::Bool,
        Some(Kind::Integer) => Decl::Int,
        Some(Kind::Number) => Decl::Double,
        Some(Kind::String) => match &node.format {
            Some((_, Format::Byte)) => Decl::Bytes,
            Some((_, Format::Duration)) => Decl::Duration,
            Some((_, Format::Date)) => Decl::Date,
            Some((_, Format::DateTime)) => Decl::DateTime,
            _ => Decl::Str,
        },
        Some(Kind::Array) => match &node.items {
            Some(items) => Decl::List(Arc::clone(&items.decl), node.list.clone()),
            None => Decl::Opaque,
        },
        Some(Kind::Object) => match node.additional.schema() {
            Some(values) if !resource => Decl::Map(Arc::clone(&values.decl)),
            _ => Decl::Object(object_fields(node, resource)),
        },
    }
}

fn object_fields(node: &Node, resource: bool) -> BTreeMap<String, Arc<Decl>> {
    let mut fields: BTreeMap<_, _> = node
        .properties
        .iter()
        .map(|(name, child)| (name.clone(), Arc::clone(&child.decl)))
        .collect();
    if resource {
        let text = Arc::new(Decl::Str);
        let names = ["name", "generateName"].map(|name| (name.to_owned(), Arc::clone(&text)));
        fields.insert("metadata".to_owned(), Arc::new(Decl::Object(names.into())));
        fields.insert("kind".to_owned(), Arc::clone(&text));
        fields.insert("apiVersion".to_owned(), text);
    }
    fields
}

//! A compiled schema node.
use super::format::Format;
use super::rule::Rule;
use crate::cel::{Decl, ListKind};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One place of the schema, or one branch of `allOf`, `anyOf`, `oneOf`, `not`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Option<Kind>,
    /// The format as written, when upstream checks it.
    pub(super) format: Option<(String, Format)>,
    pub(super) nullable: bool,
    pub(super) default: Option<Value>,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Node>>,
    pub(super) preserve: bool,
    pub(super) embedded: bool,
    pub(super) list: ListKind,
    pub(super) checks: Checks,
    pub(super) rules: Vec<Rule>,
    pub(super) decl: Arc<Decl>,
    /// What stands at this place or below.
    pub(super) below: Below,
}

/// What a subtree contains, so that walks which look for it skip the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Below {
    pub(super) rules: bool,
    pub(super) lists: bool,
    pub(super) embedded: bool,
}

/// `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

/// `additionalProperties`.
#[derive(Debug, Default)]
pub(super) enum Additional {
    #[default]
    Absent,
    /// `true`: any field, but what it holds is pruned.
    Any,
    Schema(Box<Node>),
}

impl Additional {
    pub(super) fn schema(&self) -> Option<&Node> {
        match self {
            Self::Schema(node) => Some(node),
            Self::Absent | Self::Any => None,
        }
    }
}

/// Value validations.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) required: Vec<String>,
    pub(super) allowed: Vec<Value>,
    pub(super) pattern: Option<(String, Regex)>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
}

/// `minimum` or `maximum`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

impl Node {
    /// The children, whatever leads to them.
    pub(super) fn children(&self) -> impl Iterator<Item = &Self> {
        self.properties.values().chain(self.additional.schema()).chain(self.items.as_deref())
    }

    /// The node that a field of an object has.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional.schema())
    }
}

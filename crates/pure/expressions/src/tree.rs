//! An expression that is parsed. No tree is deeper than [`crate::limits::DEPTH`], so that recursion over one is safe.

use crate::functions::Function;
use serde_json::Value;

/// A part of an expression, and the byte of the source where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) depth: usize,
    pub(crate) kind: NodeKind,
}

/// What it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeKind {
    Literal(Value),
    /// A context and the names behind it that are known without evaluation, then what is not.
    Reference {
        names: Vec<String>,
        rest: Vec<Access>,
    },
    /// Parts of anything else.
    Part {
        of: Box<Node>,
        path: Vec<Access>,
    },
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare {
        operator: Comparison,
        left: Box<Node>,
        right: Box<Node>,
    },
    Call {
        function: Function,
        arguments: Vec<Node>,
    },
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Access {
    Name(String),
    Index(Node),
    /// `.*`
    Every,
}

/// Of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Node {
    /// Without its children.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.kind {
            NodeKind::Literal(_) => Vec::new(),
            NodeKind::Reference { rest: path, .. } => indexes(path),
            NodeKind::Part { of, path } => {
                let mut children = indexes(path);
                children.push(of);
                children
            }
            NodeKind::Not(inner) => vec![inner],
            NodeKind::All(nodes) | NodeKind::Any(nodes) => nodes.iter().collect(),
            NodeKind::Compare { left, right, .. } => vec![left, right],
            NodeKind::Call { arguments, .. } => arguments.iter().collect(),
        }
    }
}

fn indexes(path: &[Access]) -> Vec<&Node> {
    let mut nodes = Vec::new();
    for access in path {
        if let Access::Index(node) = access {
            nodes.push(node);
        }
    }
    nodes
}

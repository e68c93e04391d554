//! Declared types: what a schema tells the checker and the evaluator about JSON data.
use std::collections::BTreeMap;
use std::sync::Arc;

/// The type of a JSON value, as its schema declares it.
#[derive(Debug, PartialEq)]
pub enum Decl {
    /// Integer or string, known only when evaluated.
    Dyn,
    /// `boolean`.
    Bool,
    /// `integer`.
    Int,
    /// `number`.
    Double,
    /// `string`.
    Str,
    /// `string` with format `byte`.
    Bytes,
    /// `string` with format `duration`.
    Duration,
    /// `string` with format `date`.
    Date,
    /// `string` with format `date-time`.
    DateTime,
    /// `array`.
    List(Arc<Decl>, ListKind),
    /// `object` with `additionalProperties`.
    Map(Arc<Decl>),
    /// `object` with `properties`, by their real names.
    Object(BTreeMap<String, Arc<Decl>>),
    /// Data without a type: rules can neither name nor read it, only compare what holds it.
    Opaque,
}

/// How the items of a list are told apart, which decides equality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// By position.
    Atomic,
    /// By value, in any order.
    Set,
    /// By these keys, in any order.
    Map(Vec<String>),
}

/// Stands for values whose schema says nothing.
pub(super) static OPAQUE: Decl = Decl::Opaque;

impl Decl {
    /// Whether rules may read values of this type.
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Opaque => false,
            Self::List(items, _) => items.is_readable(),
            Self::Map(values) => values.is_readable(),
            Self::Dyn
            | Self::Bool
            | Self::Int
            | Self::Double
            | Self::Str
            | Self::Bytes
            | Self::Duration
            | Self::Date
            | Self::DateTime
            | Self::Object(_) => true,
        }
    }
}

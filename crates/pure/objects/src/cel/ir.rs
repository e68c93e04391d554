//! The checked form of an expression, as the evaluator walks it.
use super::decl::Decl;
use regex::Regex;
use std::sync::Arc;

#[derive(Debug)]
pub(super) enum Ir {
    Lit(Lit),
    /// `self`, `oldSelf` or the variable of a macro, by its slot.
    Var(usize),
    Select(Box<Select>),
    List(Vec<Ir>),
    Map(Vec<(Ir, Ir)>),
    And(Box<[Ir; 2]>),
    Or(Box<[Ir; 2]>),
    Cond(Box<[Ir; 3]>),
    Call(Func, Vec<Ir>),
    /// `matches` with a literal pattern.
    Matches(Box<Ir>, Regex),
    Loop(Box<Loop>),
}

#[derive(Debug)]
pub(super) enum Lit {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    Type(&'static str),
}

/// `operand.field`, `has(operand.field)` or `operand.?field`.
#[derive(Debug)]
pub(super) struct Select {
    pub(super) operand: Ir,
    /// The name in the expression, as errors show it.
    pub(super) ident: String,
    /// The real name of the property.
    pub(super) field: String,
    /// The declaration of the field, when the operand is a declared object.
    pub(super) decl: Option<Arc<Decl>>,
    pub(super) mode: SelectMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SelectMode {
    Value,
    Has,
    Optional,
}

/// A macro over the items of a list or the keys of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Ir,
    pub(super) slot: usize,
    /// The condition of a three-argument `map`.
    pub(super) filter: Option<Ir>,
    pub(super) body: Ir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// Operators and functions; a receiver is the first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Func {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Neg,
    Not,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    Index,
    Size,
    ToInt,
    ToUint,
    ToDouble,
    ToStr,
    ToBytes,
    ToBool,
    ToDuration,
    ToTimestamp,
    TypeOf,
    ToDyn,
    StartsWith,
    EndsWith,
    Contains,
    Matches,
    Find,
    CharAt,
    IndexOf,
    LastIndexOf,
    LowerAscii,
    UpperAscii,
    Replace,
    Split,
    Substring,
    Trim,
    Join,
    Sum,
    Min,
    Max,
    IsSorted,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
    HasValue,
    OptionalValue,
    OrValue,
}

//! `strategy.matrix`: the legs of a job, from lists of values and from expressions that give such lists.
//!
//! Legs are counted before they are built. An object of Kubernetes has no order, so the names of a matrix are taken in
//! alphabetical order, and the first varies slowest.

mod check;
mod expand;
mod name;

use crate::budget::Budget;
use crate::context::Context;
use crate::error::{ExpressionError, Kind};
use crate::limits;
use crate::number;
use crate::references::Reference;
use crate::template::{Expression, Template};
use serde_json::{Map, Value};

/// A matrix whose expressions are parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    root: Tree,
}

/// One combination of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Leg {
    /// What `matrix` is in its expressions.
    pub values: Map<String, Value>,
    /// Made of the values, and fit for a label and for a part of an object's name. No other leg of the matrix has it.
    pub name: String,
}

/// A matrix that has no legs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct MatrixError {
    /// From `matrix` on, as in `matrix.include[1].os`.
    pub path: String,
    /// What is wrong there.
    pub problem: MatrixProblem,
}

/// What is wrong with a matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixProblem {
    /// Of one of its texts.
    #[error("{0}")]
    Expression(ExpressionError),
    /// Of a value.
    #[error("{expected} is needed here, not {found}")]
    Kind { expected: &'static str, found: Kind },
    /// A key.
    #[error("a name has letters, digits, - and _, and begins with a letter or _")]
    Name,
    /// A list without values.
    #[error("the list is empty")]
    EmptyList,
    /// An entry of `include` or `exclude`.
    #[error("the entry has no values")]
    EmptyEntry,
    /// A matrix.
    #[error("there is nothing to combine: name a list of values, or include")]
    NoAxes,
    /// A matrix.
    #[error("there are {count} names, the limit is {}", limits::AXES)]
    TooManyAxes { count: usize },
    /// `include` or `exclude`.
    #[error("there are {count} entries, the limit is {limit}")]
    TooManyEntries { count: usize, limit: usize },
    /// Before `exclude` takes any away.
    #[error("the lists have {count} combinations, the limit is {limit}")]
    TooManyCombinations { count: usize, limit: usize },
    /// With those of `include`.
    #[error("there are more than {limit} legs")]
    TooManyLegs { limit: usize },
    /// `include` and `exclude`.
    #[error(
        "include and exclude would be compared with combinations {count} times, the limit is {}",
        limits::COMPARISONS
    )]
    TooManyComparisons { count: usize },
    /// `exclude`
    #[error("no leg has this name: {hint}")]
    UnknownAxis { hint: String },
    /// Any value.
    #[error("values are nested more than {} deep", limits::MATRIX_DEPTH)]
    TooDeep,
    /// The legs.
    #[error("the values of all legs have more than {} bytes together", limits::LEGS_BYTES)]
    TooLarge,
    /// Two legs.
    #[error("two legs are the same: {0}")]
    Repeated(String),
}

/// What the evaluation of a matrix may still take.
struct Room {
    bytes: usize,
    budget: Budget,
}

/// A value whose texts are parsed.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Plain(Value),
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Matrix {
    /// What stands under `strategy.matrix`: an object, or an expression for one. What is wrong without any values of a
    /// run is found here, and so is a matrix that has more legs than `limit` whatever its expressions are.
    pub fn parse(source: &Value, limit: usize) -> Result<Self, MatrixError> {
        let root = Tree::parse(source, "matrix", 0)?;
        check::check(source, check::Stage::Source, limit)?;
        Ok(Self { root })
    }

    /// What its expressions read.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        self.expressions().into_iter().flat_map(Expression::references).collect()
    }

    /// Its expressions, in order.
    #[must_use]
    pub fn expressions(&self) -> Vec<&Expression> {
        let mut expressions = Vec::new();
        let mut waiting = vec![&self.root];
        while let Some(tree) = waiting.pop() {
            match tree {
                Tree::Plain(_) => {}
                Tree::Text(template) => expressions.extend(template.expressions()),
                Tree::List(values) => waiting.extend(values.iter().rev()),
                Tree::Object(members) => waiting.extend(members.iter().rev().map(|(_, tree)| tree)),
            }
        }
        expressions
    }

    /// The legs, in order. There may be none, where an expression gives an empty list or all are excluded.
    pub fn expand(&self, context: &dyn Context, limit: usize) -> Result<Vec<Leg>, MatrixError> {
        let mut room = Room { bytes: limits::LEGS_BYTES, budget: Budget::new() };
        let matrix = self.root.evaluate(context, "matrix", &mut room)?;
        check::check(&matrix, check::Stage::Values, limit)?;
        expand::legs(&matrix, limit)
    }
}

impl Tree {
    fn parse(source: &Value, path: &str, depth: usize) -> Result<Self, MatrixError> {
        if depth > limits::MATRIX_DEPTH {
            return Err(error(path, MatrixProblem::TooDeep));
        }
        Ok(match source {
            Value::String(text) => match Template::parse(text) {
                Ok(template) if template.is_literal() => Self::Plain(source.clone()),
                Ok(template) => Self::Text(template),
                Err(wrong) => return Err(error(path, MatrixProblem::Expression(wrong))),
            },
            Value::Array(values) => {
                let parse =
                    |(place, value)| Self::parse(value, &format!("{path}[{place}]"), depth + 1);
                Self::List(values.iter().enumerate().map(parse).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let parse = |(name, value): (&String, &Value)| {
                    Ok((name.clone(), Self::parse(value, &format!("{path}.{name}"), depth + 1)?))
                };
                Self::Object(members.iter().map(parse).collect::<Result<_, MatrixError>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Plain(source.clone()),
        })
    }

    fn evaluate(
        &self,
        context: &dyn Context,
        path: &str,
        room: &mut Room,
    ) -> Result<Value, MatrixError> {
        match self {
            Self::Plain(value) => whole(value.clone(), path, room, 0),
            Self::Text(template) => {
                let value = template.evaluate_within(context, &mut room.budget);
                let value = value.map_err(|wrong| error(path, MatrixProblem::Expression(wrong)))?;
                whole(value, path, room, 0)
            }
            Self::List(values) => {
                let mut list = Vec::new();
                for (place, value) in values.iter().enumerate() {
                    list.push(value.evaluate(context, &format!("{path}[{place}]"), room)?);
                }
                Ok(Value::Array(list))
            }
            Self::Object(members) => {
                let mut object = Map::new();
                for (name, value) in members {
                    let value = value.evaluate(context, &format!("{path}.{name}"), room)?;
                    object.insert(name.clone(), value);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

/// The value with numbers that are equal where they are the same number, if there is room for it.
fn whole(value: Value, path: &str, room: &mut Room, depth: usize) -> Result<Value, MatrixError> {
    if depth > limits::MATRIX_DEPTH {
        return Err(error(path, MatrixProblem::TooDeep));
    }
    let bytes = name_bytes(&value);
    let left = room.bytes.checked_sub(bytes);
    room.bytes = left.ok_or_else(|| error(path, MatrixProblem::TooLarge))?;
    Ok(match value {
        Value::Number(number) => Value::Number(number::whole(&number)),
        Value::Array(values) => {
            let whole = |value| whole(value, path, room, depth + 1);
            Value::Array(values.into_iter().map(whole).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let whole = |(name, value)| Ok((name, whole(value, path, room, depth + 1)?));
            Value::Object(members.into_iter().map(whole).collect::<Result<_, MatrixError>>()?)
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    })
}

/// Of the value itself and the names in it, as JSON has them.
fn name_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Object(members) => members.keys().map(|name| name.len() + 4).sum::<usize>() + 3,
        Value::Array(_) => 3,
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// Of a value with all in it.
fn bytes(value: &Value) -> usize {
    let within = match value {
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(members) => members.values().map(bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    name_bytes(value) + within
}

fn error(path: impl Into<String>, problem: MatrixProblem) -> MatrixError {
    MatrixError { path: path.into(), problem }
}

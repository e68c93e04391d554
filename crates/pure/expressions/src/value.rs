//! What a value is as a condition, a number and a string, and how two are compared.

use crate::budget::Budget;
use crate::error::{Kind, Problem};
use crate::fold;
use crate::number;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// What it is.
pub(crate) fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::String,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
    }
}

/// As a condition: `null`, `false`, 0 and the empty string are false, and nothing else is.
#[must_use]
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// As a string; lists and objects have none.
pub(crate) fn text(value: &Value) -> Result<Cow<'_, str>, Problem> {
    match value {
        Value::Null => Ok(Cow::Borrowed("")),
        Value::Bool(true) => Ok(Cow::Borrowed("true")),
        Value::Bool(false) => Ok(Cow::Borrowed("false")),
        Value::Number(number) => Ok(Cow::Owned(number::text(number))),
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Array(_) | Value::Object(_) => Err(Problem::NoText(kind(value))),
    }
}

/// As a number; what is none is not a number.
pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(is_true) => f64::from(u8::from(*is_true)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) if text.trim().is_empty() => 0.0,
        Value::String(text) => {
            number::parse(text.trim()).and_then(|number| number.as_f64()).unwrap_or(f64::NAN)
        }
        Value::Array(_) | Value::Object(_) => f64::NAN,
    }
}

/// `==`: strings without regard to case, lists and objects by what they hold, different kinds as numbers.
pub(crate) fn is_equal(left: &Value, right: &Value, budget: &mut Budget) -> Result<bool, Problem> {
    match (left, right) {
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => {
            is_same(left, right, budget)
        }
        _ => Ok(order(left, right, budget)? == Some(Ordering::Equal)),
    }
}

/// `<` and `>`. What is not a number has no order, and neither have lists and objects.
pub(crate) fn order(
    left: &Value,
    right: &Value,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Problem> {
    budget.compare(left, right)?;
    Ok(match (left, right) {
        (Value::String(left), Value::String(right)) => Some(fold::compare(left, right)),
        _ => number(left).partial_cmp(&number(right)),
    })
}

/// Equal in kind and value, down to the last one.
fn is_same(left: &Value, right: &Value, budget: &mut Budget) -> Result<bool, Problem> {
    budget.compare(left, right)?;
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            let mut same = left.len() == right.len();
            for (left, right) in left.iter().zip(right) {
                same = same && is_same(left, right, budget)?;
            }
            Ok(same)
        }
        (Value::Object(left), Value::Object(right)) => {
            let mut same = left.len() == right.len();
            for ((name, left), (other, right)) in left.iter().zip(right) {
                same = same && name == other && is_same(left, right, budget)?;
            }
            Ok(same)
        }
        (Value::Number(left), Value::Number(right)) => Ok(left.as_f64() == right.as_f64()),
        _ => Ok(left == right),
    }
}

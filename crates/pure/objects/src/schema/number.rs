//! Numbers against their limits. Integers meet limits that are cut to integers, as upstream does.
use super::gofmt::go_float;
use super::node::{Bound, Checks};
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// The largest integer that upstream takes from a number with a fraction or an exponent.
const MAX_FLOAT_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The messages for a number that prints as `shown` and stands at `path`.
pub(super) fn refused(checks: &Checks, number: &Number, shown: &str, path: &str) -> Vec<String> {
    let whole = number.as_i64();
    let float = number.as_f64().unwrap_or(f64::NAN);
    let mut messages = Vec::new();
    let says = |what: &str, limit: f64| {
        format!(
            "Invalid value: {shown}: {path} in body should be {what} {}",
            limit_text(whole, limit)
        )
    };
    if let Some(factor) = checks.multiple_of {
        if whole.is_some() && factor < 1.0 {
            messages.push(format!(
                "Invalid value: 0: factor MultipleOf declared for {path} must be positive: 0"
            ));
        } else if !is_multiple(whole, float, factor) {
            messages.push(says("a multiple of", factor));
        }
    }
    if let Some(Bound { value: limit, exclusive }) = checks.minimum
        && compare(whole, float, limit)
            .is_some_and(|order| order.is_lt() || (exclusive && order.is_eq()))
    {
        messages
            .push(says(if exclusive { "greater than" } else { "greater than or equal to" }, limit));
    }
    if let Some(Bound { value: limit, exclusive }) = checks.maximum
        && compare(whole, float, limit)
            .is_some_and(|order| order.is_gt() || (exclusive && order.is_eq()))
    {
        messages.push(says(if exclusive { "less than" } else { "less than or equal to" }, limit));
    }
    messages
}

/// Whether the number is an integer, also when it is written as `1.0`.
pub(super) fn is_whole(number: &Number) -> bool {
    let float = |float: f64| float.fract() == 0.0 && float.abs() <= MAX_FLOAT_INTEGER;
    number.as_i64().is_some() || number.as_f64().is_some_and(float)
}

/// Whether a value is this choice of an enum; a number is first converted to the choice's kind.
pub(super) fn same(choice: &Value, value: &Value) -> bool {
    let (Value::Number(choice), Value::Number(value)) = (choice, value) else {
        return choice == value;
    };
    match (choice.as_i64(), value.as_i64()) {
        (Some(choice), None) => value.as_f64().is_some_and(|value| value.trunc() as i64 == choice),
        _ => choice == value || choice.as_f64() == value.as_f64(),
    }
}

fn compare(whole: Option<i64>, float: f64, limit: f64) -> Option<Ordering> {
    match whole {
        Some(whole) => Some(whole.cmp(&(limit as i64))),
        None => float.partial_cmp(&limit),
    }
}

fn is_multiple(whole: Option<i64>, float: f64, factor: f64) -> bool {
    match whole {
        Some(whole) => whole.checked_rem(factor as i64) == Some(0),
        None => {
            let quotient = float / factor;
            quotient.abs() <= MAX_FLOAT_INTEGER
                && (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
        }
    }
}

fn limit_text(whole: Option<i64>, limit: f64) -> String {
    if whole.is_some() { (limit as i64).to_string() } else { go_float(limit) }
}

//! What the functions do.

use crate::budget::Budget;
use crate::error::{Failure, Problem};
use crate::evaluate::{Evaluation, boolean};
use crate::fold;
use crate::functions::Function;
use crate::limits;
use crate::tree::Node;
use crate::value;
use serde_json::Value;
use std::borrow::Cow;

/// Whether a text has another somewhere.
#[derive(Debug, Clone, Copy)]
enum Somewhere {
    Within,
    AtStart,
    AtEnd,
}

pub(crate) fn call<'a>(
    evaluation: &mut Evaluation<'a, '_>,
    function: Function,
    arguments: &'a [Node],
    at: usize,
) -> Result<Cow<'a, Value>, Failure> {
    let mut values = Vec::new();
    for argument in arguments {
        values.push(evaluation.value(argument)?);
    }
    result(evaluation, function, &values).map_err(|problem| Failure { at, problem })
}

fn result<'a>(
    evaluation: &mut Evaluation<'a, '_>,
    function: Function,
    values: &[Cow<'a, Value>],
) -> Result<Cow<'a, Value>, Problem> {
    let null = Value::Null;
    let argument = |place: usize| values.get(place).map_or(&null, |value| &**value);
    let budget = &mut *evaluation.budget;
    Ok(match function {
        Function::Contains => boolean(contains(argument(0), argument(1), budget)?),
        Function::StartsWith => boolean(has(argument(0), argument(1), Somewhere::AtStart, budget)?),
        Function::EndsWith => boolean(has(argument(0), argument(1), Somewhere::AtEnd, budget)?),
        Function::Format => string(format(values, budget)?),
        Function::Join => string(join(argument(0), values.get(1).map(|value| &**value), budget)?),
        Function::ToJson => string(budget.json(argument(0))?),
        Function::FromJson => Cow::Owned(from_json(argument(0), budget)?),
        Function::HashFiles => {
            let mut patterns = Vec::new();
            for value in values {
                let pattern = value::text(value)?;
                budget.build(pattern.len())?;
                patterns.push(pattern.into_owned());
            }
            string(evaluation.context.hash_files(&patterns).map_err(Problem::Context)?)
        }
        Function::Status(status) => {
            boolean(evaluation.context.status(status).map_err(Problem::Context)?)
        }
    })
}

fn string<'a>(text: String) -> Cow<'a, Value> {
    Cow::Owned(Value::String(text))
}

/// A part of a string, or an element of a list.
fn contains(search: &Value, item: &Value, budget: &mut Budget) -> Result<bool, Problem> {
    let Value::Array(values) = search else {
        return has(search, item, Somewhere::Within, budget);
    };
    for value in values {
        if value::is_equal(value, item, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Without regard to case. A list or an object has no text, so nothing is in it.
fn has(
    search: &Value,
    item: &Value,
    place: Somewhere,
    budget: &mut Budget,
) -> Result<bool, Problem> {
    let (Ok(search), Ok(item)) = (value::text(search), value::text(item)) else {
        return Ok(false);
    };
    budget.build(search.len() + item.len())?;
    let (search, item) = (fold::folded(&search), fold::folded(&item));
    Ok(match place {
        Somewhere::Within => search.contains(&item),
        Somewhere::AtStart => search.starts_with(&item),
        Somewhere::AtEnd => search.ends_with(&item),
    })
}

fn format(values: &[Cow<'_, Value>], budget: &mut Budget) -> Result<String, Problem> {
    let Some((pattern, values)) = values.split_first() else { return Ok(String::new()) };
    let pattern = value::text(pattern)?;
    let mut built = String::new();
    let mut add = |text: &str| {
        budget.build(text.len())?;
        built.push_str(text);
        Ok(())
    };
    let mut rest: &str = &pattern;
    while let Some(at) = rest.find(['{', '}']) {
        add(&rest[..at])?;
        rest = &rest[at..];
        if let Some(brace) = ["{{", "}}"].iter().find(|brace| rest.starts_with(**brace)) {
            add(&brace[1..])?;
            rest = &rest[2..];
            continue;
        }
        let inner = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let place = inner.filter(|(place, _)| place.bytes().all(|byte| byte.is_ascii_digit()));
        let Some((place, behind)) = place.filter(|(place, _)| !place.is_empty()) else {
            let meant = "{ and } stand around the number of an argument; {{ and }} are the braces themselves";
            return Err(Problem::Format(meant.to_owned()));
        };
        let value = place.parse().ok().and_then(|place: usize| values.get(place));
        let Some(value) = value else {
            let count = values.len();
            let shown = crate::lexer::shortened(place);
            let message =
                format!("there is no argument {{{shown}}}: they are {{0}} to {{{}}}", count - 1);
            return Err(Problem::Format(message));
        };
        add(&value::text(value)?)?;
        rest = behind;
    }
    add(rest)?;
    Ok(built)
}

fn join(list: &Value, separator: Option<&Value>, budget: &mut Budget) -> Result<String, Problem> {
    let values = match list {
        Value::Array(values) => values.as_slice(),
        Value::Object(_) => return Err(Problem::Join(value::kind(list))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            std::slice::from_ref(list)
        }
    };
    let separator = separator.map_or(Ok(Cow::Borrowed(",")), value::text)?;
    let mut built = String::new();
    for (place, value) in values.iter().enumerate() {
        let text = value::text(value)?;
        let between = if place == 0 { "" } else { &*separator };
        budget.step()?;
        budget.build(between.len() + text.len())?;
        built.push_str(between);
        built.push_str(&text);
    }
    Ok(built)
}

fn from_json(value: &Value, budget: &mut Budget) -> Result<Value, Problem> {
    let text = value::text(value)?;
    let values = values_in(&text);
    budget.build(text.len() + values * size_of::<Value>())?;
    if values > limits::JSON_VALUES {
        let message = format!("the text has more than {} values", limits::JSON_VALUES);
        return Err(Problem::Json(message));
    }
    if text.trim().is_empty() {
        return Err(Problem::Json("the text is empty".to_owned()));
    }
    serde_json::from_str(&text).map_err(|error| Problem::Json(error.to_string()))
}

/// At most so many values are in a JSON text: what is not in a string begins one, or follows one.
fn values_in(text: &str) -> usize {
    let mut count = 1;
    let mut is_string = false;
    let mut is_escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' | b',' if !is_string => count += 1,
            _ => {}
        }
    }
    count
}

//! Functions on strings; positions and sizes count code points.
use super::eval::Machine;
use super::ir::Func;
use super::re2;
use super::value::{Eval, EvalError, Val};
use std::borrow::Cow;
use std::rc::Rc;

/// What one text that a rule builds may hold.
const MAX_TEXT: usize = 4 << 20;

/// Applies a string function.
pub(super) fn call<'a>(machine: &mut Machine<'a>, func: Func, args: &[Val<'a>]) -> Eval<'a> {
    if func == Func::Join {
        return join(machine, args);
    }
    let Some(Val::Str(text)) = args.first() else { return Err(EvalError::NoSuchOverload) };
    machine.charge_text(text.len())?;
    match (func, &args[1..]) {
        (Func::StartsWith, [Val::Str(part)]) => Ok(Val::Bool(text.starts_with(&**part))),
        (Func::EndsWith, [Val::Str(part)]) => Ok(Val::Bool(text.ends_with(&**part))),
        (Func::Contains, [Val::Str(part)]) => Ok(Val::Bool(text.contains(&**part))),
        (Func::Matches, [Val::Str(pattern)]) => {
            Ok(Val::Bool(regex(machine, pattern)?.is_match(text)))
        }
        (Func::Find, [Val::Str(pattern)]) => {
            let found = regex(machine, pattern)?.find(text).map(|found| found.as_str().to_owned());
            Ok(Val::str(found.unwrap_or_default()))
        }
        (Func::LowerAscii, []) => Ok(Val::str(text.to_ascii_lowercase())),
        (Func::UpperAscii, []) => Ok(Val::str(text.to_ascii_uppercase())),
        (Func::Trim, []) => Ok(Val::str(text.trim().to_owned())),
        (Func::CharAt, [Val::Int(index)]) => char_at(text, *index),
        (Func::Substring, [Val::Int(start)]) => substring(text, *start, None),
        (Func::Substring, [Val::Int(start), Val::Int(end)]) => substring(text, *start, Some(*end)),
        (Func::Split, [Val::Str(separator)]) => split(machine, text, separator, -1),
        (Func::Split, [Val::Str(separator), Val::Int(limit)]) => {
            split(machine, text, separator, *limit)
        }
        (Func::Replace, [Val::Str(from), Val::Str(to)]) => replace(machine, text, from, to, -1),
        (Func::Replace, [Val::Str(from), Val::Str(to), Val::Int(limit)]) => {
            replace(machine, text, from, to, *limit)
        }
        (Func::IndexOf, [Val::Str(part)]) => index_of(text, part, 0),
        (Func::IndexOf, [Val::Str(part), Val::Int(from)]) => index_of(text, part, *from),
        (Func::LastIndexOf, [Val::Str(part)]) => last_index_of(text, part, None),
        (Func::LastIndexOf, [Val::Str(part), Val::Int(from)]) => {
            last_index_of(text, part, Some(*from))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// A pattern known only now: compiling it costs.
fn regex(machine: &mut Machine<'_>, pattern: &str) -> Result<regex::Regex, EvalError> {
    machine.charge(1000 + pattern.len() * 10)?;
    re2::compile(pattern).map_err(|error| EvalError::text(format!("error parsing regexp: {error}")))
}

fn out_of_range<'a>(index: i64) -> Eval<'a> {
    Err(EvalError::text(format!("index out of range: {index}")))
}

/// The byte position of a code point, also of the end.
fn offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(index)
}

fn char_at<'a>(text: &str, index: i64) -> Eval<'a> {
    match offset(text, index) {
        Some(at) => Ok(Val::str(text[at..].chars().take(1).collect::<String>())),
        None => out_of_range(index),
    }
}

fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Eval<'a> {
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(EvalError::text(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let Some(from) = offset(text, start) else { return out_of_range(start) };
    let to = match end {
        Some(end) => match offset(text, end) {
            Some(to) => to,
            None => return out_of_range(end),
        },
        None => text.len(),
    };
    Ok(Val::str(text[from..to].to_owned()))
}

/// Splits at most into `limit` parts, all if negative; an empty separator splits between code points.
fn split<'a>(
    machine: &mut Machine<'a>,
    text: &Cow<'a, str>,
    separator: &str,
    limit: i64,
) -> Eval<'a> {
    let limit = if limit < 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    let parts: Vec<Val<'a>> = match (limit, text) {
        (0, _) => Vec::new(),
        (_, text) if separator.is_empty() => explode(text, limit),
        (_, Cow::Borrowed(text)) => text.splitn(limit, separator).map(Val::str).collect(),
        (_, Cow::Owned(text)) => {
            text.splitn(limit, separator).map(|part| Val::str(part.to_owned())).collect()
        }
    };
    machine.charge(parts.len())?;
    Ok(Val::List(Rc::new(parts)))
}

fn explode<'a>(text: &str, limit: usize) -> Vec<Val<'a>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = if parts.len() + 1 == limit { rest.len() } else { c.len_utf8() };
        parts.push(Val::str(rest[..end].to_owned()));
        rest = &rest[end..];
    }
    parts
}

fn replace<'a>(
    machine: &mut Machine<'a>,
    text: &str,
    from: &str,
    to: &str,
    limit: i64,
) -> Eval<'a> {
    let count = text.matches(from).count();
    let length = text.len().saturating_add(count.saturating_mul(to.len()));
    machine.charge_text(length)?;
    if length > MAX_TEXT {
        return Err(EvalError::Budget);
    }
    Ok(Val::str(if limit < 0 {
        text.replace(from, to)
    } else {
        text.replacen(from, to, usize::try_from(limit).unwrap_or(usize::MAX))
    }))
}

fn code_points(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

fn index_of<'a>(text: &str, part: &str, from: i64) -> Eval<'a> {
    if part.is_empty() {
        return Ok(Val::Int(from));
    }
    let Some(start) = offset(text, from) else { return out_of_range(from) };
    let found = text[start..].find(part).map(|at| code_points(&text[..start + at]));
    Ok(Val::Int(found.unwrap_or(-1)))
}

fn last_index_of<'a>(text: &str, part: &str, from: Option<i64>) -> Eval<'a> {
    let from = from.unwrap_or_else(|| code_points(text));
    if part.is_empty() {
        return Ok(Val::Int(from));
    }
    let Some(start) = offset(text, from) else { return out_of_range(from) };
    let end = start.saturating_add(part.len()).min(text.len());
    let mut found = text.get(..end).and_then(|head| head.rfind(part));
    if found.is_none() && text.get(..end).is_none() {
        found = text.rmatch_indices(part).map(|(at, _)| at).find(|at| *at <= start);
    }
    Ok(Val::Int(found.map_or(-1, |at| code_points(&text[..at]))))
}

fn join<'a>(machine: &mut Machine<'a>, args: &[Val<'a>]) -> Eval<'a> {
    let (list, separator) = match args {
        [list] => (list, ""),
        [list, Val::Str(separator)] => (list, &**separator),
        _ => return Err(EvalError::NoSuchOverload),
    };
    let mut joined = String::new();
    for (index, item) in list.elements().ok_or(EvalError::NoSuchOverload)?.into_iter().enumerate() {
        let Val::Str(item) = item? else { return Err(EvalError::NoSuchOverload) };
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item);
        machine.charge_text(item.len() + separator.len() + 10)?;
    }
    Ok(Val::str(joined))
}

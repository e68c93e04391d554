//! Equality and order of values. Lists of kind set and map ignore order; numbers compare across types.
use super::decl::{Decl, ListKind};
use super::eval::Machine;
use super::value::{EvalError, Val, item_decl, list_kind};
use serde_json::{Map, Value as Json};
use std::cmp::Ordering;
use std::collections::BTreeMap;

type Verdict = Result<bool, EvalError>;

/// Whether two values are equal; values of different types are not.
pub(super) fn equal<'a>(machine: &mut Machine<'a>, a: &Val<'a>, b: &Val<'a>) -> Verdict {
    machine.charge(1)?;
    match (a, b) {
        (Val::Null, Val::Null) => Ok(true),
        (Val::Bool(a), Val::Bool(b)) => Ok(a == b),
        (Val::Str(a), Val::Str(b)) => {
            machine.charge_text(a.len().min(b.len()))?;
            Ok(a == b)
        }
        (Val::Bytes(a), Val::Bytes(b)) => Ok(a == b),
        (Val::Duration(a), Val::Duration(b)) => Ok(a == b),
        (Val::Timestamp(a), Val::Timestamp(b)) => Ok(a == b),
        (Val::Type(a), Val::Type(b)) => Ok(a == b),
        (
            Val::Int(_) | Val::Uint(_) | Val::Double(_),
            Val::Int(_) | Val::Uint(_) | Val::Double(_),
        ) => Ok(numeric(a, b) == Some(Ordering::Equal)),
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(machine, a, b),
            (a, b) => Ok(a.is_none() && b.is_none()),
        },
        (Val::Opaque(a), Val::Opaque(b)) => json_equal(machine, a, b),
        (Val::JsonMap(a, decl), Val::JsonMap(b, _)) => objects(machine, a, b, decl),
        (Val::JsonList(a, decl), Val::JsonList(b, _)) => lists(machine, a, b, decl),
        (Val::List(_) | Val::JsonList(..), Val::List(_) | Val::JsonList(..)) => {
            mixed_lists(machine, a, b)
        }
        (Val::Map(_) | Val::JsonMap(..), Val::Map(_) | Val::JsonMap(..)) => {
            mixed_maps(machine, a, b)
        }
        _ => Ok(false),
    }
}

/// Order of numbers, texts, times and flags; none if these two have none.
pub(super) fn order(a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, EvalError> {
    match (a, b) {
        (Val::Bool(a), Val::Bool(b)) => Ok(a.cmp(b)),
        (Val::Str(a), Val::Str(b)) => Ok(a.as_bytes().cmp(b.as_bytes())),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(a.cmp(b)),
        (Val::Duration(a), Val::Duration(b)) => Ok(a.cmp(b)),
        (Val::Timestamp(a), Val::Timestamp(b)) => Ok(a.cmp(b)),
        (
            Val::Int(_) | Val::Uint(_) | Val::Double(_),
            Val::Int(_) | Val::Uint(_) | Val::Double(_),
        ) => numeric(a, b).ok_or_else(|| EvalError::text("NaN values cannot be ordered")),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn numeric(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    match (a, b) {
        (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
        (Val::Double(a), b) => whole(b).and_then(|b| float_with_whole(*a, b)),
        (a, Val::Double(b)) => {
            whole(a).and_then(|a| float_with_whole(*b, a)).map(Ordering::reverse)
        }
        (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

fn whole(value: &Val<'_>) -> Option<i128> {
    match value {
        Val::Int(number) => Some(i128::from(*number)),
        Val::Uint(number) => Some(i128::from(*number)),
        _ => None,
    }
}

fn float_with_whole(float: f64, whole: i128) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // The cast saturates, and every 64-bit integer lies inside i128.
    let floor = float.floor();
    Some((floor as i128).cmp(&whole).then(if float > floor {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

/// Exact equality of JSON; equal JSON is equal under every declaration.
fn json_equal(machine: &mut Machine<'_>, a: &Json, b: &Json) -> Verdict {
    machine.charge(1)?;
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !json_equal(machine, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::Object(a), Json::Object(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((a_key, a), (b_key, b)) in a.iter().zip(b) {
                if a_key != b_key || !json_equal(machine, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Json::String(a), Json::String(b)) => {
            machine.charge_text(a.len().min(b.len()))?;
            Ok(a == b)
        }
        (a, b) => Ok(a == b),
    }
}

fn objects<'a>(
    machine: &mut Machine<'a>,
    a: &'a Map<String, Json>,
    b: &'a Map<String, Json>,
    decl: &'a Decl,
) -> Verdict {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, json) in a {
        let (known, other) = (Val::property(a, decl, key), Val::property(b, decl, key));
        let same = match (known, other) {
            (Some(a), Some(b)) => equal(machine, &a?, &b?)?,
            (None, None) => match (decl, b.get(key)) {
                (Decl::Object(fields), Some(other))
                    if fields.get(key).is_none_or(|d| !d.is_readable()) =>
                {
                    json_equal(machine, json, other)?
                }
                _ => true,
            },
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lists<'a>(machine: &mut Machine<'a>, a: &'a [Json], b: &'a [Json], decl: &'a Decl) -> Verdict {
    if a.len() != b.len() {
        return Ok(false);
    }
    let items = item_decl(decl);
    match list_kind(decl) {
        ListKind::Atomic => {
            for (a, b) in a.iter().zip(b) {
                if !equal(machine, &Val::from_json(a, items)?, &Val::from_json(b, items)?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        ListKind::Set => {
            machine.charge(a.len())?;
            let known: BTreeMap<String, ()> = a.iter().map(|item| (item.to_string(), ())).collect();
            Ok(b.iter().all(|item| known.contains_key(&item.to_string())))
        }
        ListKind::Map(keys) => {
            machine.charge(a.len())?;
            let known: BTreeMap<String, &Json> =
                a.iter().map(|item| (key_of(item, keys), item)).collect();
            for item in b {
                let Some(old) = known.get(&key_of(item, keys)) else { return Ok(false) };
                if !equal(machine, &Val::from_json(old, items)?, &Val::from_json(item, items)?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// The keys of a list item as one comparable text.
fn key_of(item: &Json, keys: &[String]) -> String {
    let values: Vec<String> =
        keys.iter().map(|key| item.get(key).map(Json::to_string).unwrap_or_default()).collect();
    values.join("\u{0}")
}

/// Lists of which one is not data; the left one decides whether order counts.
fn mixed_lists<'a>(machine: &mut Machine<'a>, a: &Val<'a>, b: &Val<'a>) -> Verdict {
    let set = matches!(a, Val::JsonList(_, decl) if *list_kind(decl) == ListKind::Set);
    let (Some(a), Some(b)) = (a.elements(), b.elements()) else { return Ok(false) };
    if a.len() != b.len() {
        return Ok(false);
    }
    if set {
        let known = a.into_iter().collect::<Result<Vec<_>, _>>()?;
        for item in b {
            let item = item?;
            let mut found = false;
            for known in &known {
                found = found || equal(machine, known, &item)?;
            }
            if !found {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for (a, b) in a.into_iter().zip(b) {
        if !equal(machine, &a?, &b?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn mixed_maps<'a>(machine: &mut Machine<'a>, a: &Val<'a>, b: &Val<'a>) -> Verdict {
    let (Some(keys), Some(other)) = (a.elements(), b.len()) else { return Ok(false) };
    if keys.len() != other {
        return Ok(false);
    }
    for key in keys {
        let key = key?;
        let (Some(a), Some(b)) = (lookup(machine, a, &key)?, lookup(machine, b, &key)?) else {
            return Ok(false);
        };
        if !equal(machine, &a, &b)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The value that a map holds under a key.
pub(super) fn lookup<'a>(
    machine: &mut Machine<'a>,
    map: &Val<'a>,
    key: &Val<'a>,
) -> Result<Option<Val<'a>>, EvalError> {
    match (map, key) {
        (Val::JsonMap(map, decl), Val::Str(key)) => Val::property(map, decl, key).transpose(),
        (Val::Map(entries), key) => {
            for (known, value) in entries.iter() {
                if equal(machine, known, key)? {
                    return Ok(Some(value.clone()));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

//! Operators, conversions and list functions on values.
use super::equal::{equal, lookup, order};
use super::eval::Machine;
use super::ir::Func;
use super::text;
use super::time;
use super::value::{Eval, EvalError, Val};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;
use std::rc::Rc;

/// Applies an operator or function to its arguments.
pub(super) fn call<'a>(machine: &mut Machine<'a>, func: Func, args: &[Val<'a>]) -> Eval<'a> {
    match (func, args) {
        (Func::Not, [Val::Bool(flag)]) => Ok(Val::Bool(!flag)),
        (Func::Neg, [Val::Int(number)]) => {
            number.checked_neg().map(Val::Int).ok_or_else(int_overflow)
        }
        (Func::Neg, [Val::Double(number)]) => Ok(Val::Double(-number)),
        (Func::Eq, [a, b]) => equal(machine, a, b).map(Val::Bool),
        (Func::Ne, [a, b]) => equal(machine, a, b).map(|same| Val::Bool(!same)),
        (Func::Lt, [a, b]) => order(a, b).map(|order| Val::Bool(order == Ordering::Less)),
        (Func::Le, [a, b]) => order(a, b).map(|order| Val::Bool(order != Ordering::Greater)),
        (Func::Gt, [a, b]) => order(a, b).map(|order| Val::Bool(order == Ordering::Greater)),
        (Func::Ge, [a, b]) => order(a, b).map(|order| Val::Bool(order != Ordering::Less)),
        (Func::Add | Func::Sub | Func::Mul | Func::Div | Func::Rem, [a, b]) => {
            arithmetic(machine, func, a, b)
        }
        (Func::In, [needle, heap]) => contains(machine, needle, heap),
        (Func::Index, [list, index]) => at(machine, list, index),
        (Func::Size, [value]) => size(machine, value),
        (Func::TypeOf, [value]) => Ok(Val::Type(value.type_name())),
        (Func::ToDyn, [value]) => Ok(value.clone()),
        (Func::Sum, [list]) => sum(machine, list),
        (Func::Min, [list]) => extreme(machine, list, "min", Ordering::Less),
        (Func::Max, [list]) => extreme(machine, list, "max", Ordering::Greater),
        (Func::IsSorted, [list]) => sorted(machine, list),
        (Func::Hours, [Val::Duration(nanos)]) => Ok(Val::Int(nanos / 3_600_000_000_000)),
        (Func::Minutes, [Val::Duration(nanos)]) => Ok(Val::Int(nanos / 60_000_000_000)),
        (Func::Seconds, [Val::Duration(nanos)]) => Ok(Val::Int(nanos / 1_000_000_000)),
        (Func::Milliseconds, [Val::Duration(nanos)]) => Ok(Val::Int(nanos / 1_000_000)),
        (Func::HasValue, [Val::Optional(inner)]) => Ok(Val::Bool(inner.is_some())),
        (Func::OptionalValue, [Val::Optional(inner)]) => {
            inner.as_deref().cloned().ok_or_else(|| EvalError::text("optional.none() dereference"))
        }
        (Func::OrValue, [Val::Optional(inner), fallback]) => {
            Ok(inner.as_deref().unwrap_or(fallback).clone())
        }
        (
            Func::IndexOf | Func::LastIndexOf,
            [list @ (Val::List(_) | Val::JsonList(..)), wanted],
        ) => position(machine, list, wanted, func == Func::LastIndexOf),
        (
            Func::ToInt
            | Func::ToUint
            | Func::ToDouble
            | Func::ToStr
            | Func::ToBytes
            | Func::ToBool
            | Func::ToDuration
            | Func::ToTimestamp,
            [value],
        ) => convert(func, value),
        _ => text::call(machine, func, args),
    }
}

fn int_overflow() -> EvalError {
    EvalError::text("integer overflow")
}

fn uint_overflow() -> EvalError {
    EvalError::text("unsigned integer overflow")
}

fn arithmetic<'a>(machine: &mut Machine<'a>, func: Func, a: &Val<'a>, b: &Val<'a>) -> Eval<'a> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => int(func, *a, *b).map(Val::Int),
        (Val::Uint(a), Val::Uint(b)) => uint(func, *a, *b).map(Val::Uint),
        (Val::Double(a), Val::Double(b)) => double(func, *a, *b).map(Val::Double),
        (Val::Str(a), Val::Str(b)) if func == Func::Add => {
            machine.charge_text(a.len() + b.len())?;
            Ok(Val::str(format!("{a}{b}")))
        }
        (Val::Bytes(a), Val::Bytes(b)) if func == Func::Add => {
            machine.charge_text(a.len() + b.len())?;
            Ok(Val::Bytes([&a[..], &b[..]].concat().into()))
        }
        (Val::List(_) | Val::JsonList(..), Val::List(_) | Val::JsonList(..))
            if func == Func::Add =>
        {
            let (Some(a), Some(b)) = (a.elements(), b.elements()) else {
                return Err(EvalError::NoSuchOverload);
            };
            machine.charge(a.len() + b.len())?;
            Ok(Val::List(Rc::new(a.into_iter().chain(b).collect::<Result<Vec<_>, _>>()?)))
        }
        _ => times(func, a, b),
    }
}

fn times<'a>(func: Func, a: &Val<'a>, b: &Val<'a>) -> Eval<'a> {
    let duration_overflow = || EvalError::text("duration overflow");
    let timestamp = |result: Result<Timestamp, jiff::Error>| {
        result.map(Val::Timestamp).map_err(|_| EvalError::text("timestamp overflow"))
    };
    match (func, a, b) {
        (Func::Add, Val::Duration(a), Val::Duration(b)) => {
            a.checked_add(*b).map(Val::Duration).ok_or_else(duration_overflow)
        }
        (Func::Sub, Val::Duration(a), Val::Duration(b)) => {
            a.checked_sub(*b).map(Val::Duration).ok_or_else(duration_overflow)
        }
        (Func::Add, Val::Timestamp(at), Val::Duration(by))
        | (Func::Add, Val::Duration(by), Val::Timestamp(at)) => {
            timestamp(at.checked_add(SignedDuration::from_nanos(*by)))
        }
        (Func::Sub, Val::Timestamp(at), Val::Duration(by)) => {
            timestamp(at.checked_sub(SignedDuration::from_nanos(*by)))
        }
        (Func::Sub, Val::Timestamp(a), Val::Timestamp(b)) => {
            i64::try_from(a.duration_since(*b).as_nanos())
                .map(Val::Duration)
                .map_err(|_| duration_overflow())
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn int(func: Func, a: i64, b: i64) -> Result<i64, EvalError> {
    let result = match func {
        Func::Add => a.checked_add(b),
        Func::Sub => a.checked_sub(b),
        Func::Mul => a.checked_mul(b),
        Func::Div if b == 0 => return Err(EvalError::text("division by zero")),
        Func::Div => a.checked_div(b),
        Func::Rem if b == 0 => return Err(EvalError::text("modulus by zero")),
        _ => a.checked_rem(b),
    };
    result.ok_or_else(int_overflow)
}

fn uint(func: Func, a: u64, b: u64) -> Result<u64, EvalError> {
    let result = match func {
        Func::Add => a.checked_add(b),
        Func::Sub => a.checked_sub(b),
        Func::Mul => a.checked_mul(b),
        Func::Div if b == 0 => return Err(EvalError::text("division by zero")),
        Func::Div => a.checked_div(b),
        Func::Rem if b == 0 => return Err(EvalError::text("modulus by zero")),
        _ => a.checked_rem(b),
    };
    result.ok_or_else(uint_overflow)
}

fn double(func: Func, a: f64, b: f64) -> Result<f64, EvalError> {
    match func {
        Func::Add => Ok(a + b),
        Func::Sub => Ok(a - b),
        Func::Mul => Ok(a * b),
        Func::Div => Ok(a / b),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn contains<'a>(machine: &mut Machine<'a>, needle: &Val<'a>, heap: &Val<'a>) -> Eval<'a> {
    match heap {
        Val::Map(_) | Val::JsonMap(..) => Ok(Val::Bool(lookup(machine, heap, needle)?.is_some())),
        _ => {
            for item in heap.elements().ok_or(EvalError::NoSuchOverload)? {
                if equal(machine, &item?, needle)? {
                    return Ok(Val::Bool(true));
                }
            }
            Ok(Val::Bool(false))
        }
    }
}

fn at<'a>(machine: &mut Machine<'a>, list: &Val<'a>, index: &Val<'a>) -> Eval<'a> {
    if matches!(list, Val::Map(_) | Val::JsonMap(..)) {
        return lookup(machine, list, index)?
            .ok_or_else(|| EvalError::text(format!("no such key: {}", shown(index))));
    }
    let Val::Int(position) = index else { return Err(EvalError::NoSuchOverload) };
    let found = usize::try_from(*position).ok().and_then(|position| list.item(position));
    match (found, list.len()) {
        (Some(item), _) => item,
        (None, Some(_)) => Err(EvalError::text(format!("index out of bounds: {position}"))),
        (None, None) => Err(EvalError::NoSuchOverload),
    }
}

fn shown(key: &Val<'_>) -> String {
    match convert(Func::ToStr, key) {
        Ok(Val::Str(text)) => text.into_owned(),
        _ => key.type_name().to_owned(),
    }
}

fn size<'a>(machine: &mut Machine<'a>, value: &Val<'a>) -> Eval<'a> {
    let count = match value {
        Val::Str(text) => {
            machine.charge_text(text.len())?;
            text.chars().count()
        }
        Val::Bytes(bytes) => bytes.len(),
        other => other.len().ok_or(EvalError::NoSuchOverload)?,
    };
    Ok(Val::Int(i64::try_from(count).map_err(|_| int_overflow())?))
}

fn items<'a>(machine: &mut Machine<'a>, list: &Val<'a>) -> Result<Vec<Val<'a>>, EvalError> {
    let items = list.elements().ok_or(EvalError::NoSuchOverload)?;
    machine.charge(items.len())?;
    items.into_iter().collect()
}

fn sum<'a>(machine: &mut Machine<'a>, list: &Val<'a>) -> Eval<'a> {
    let mut total = None;
    for item in items(machine, list)? {
        total = Some(match total {
            Some(total) => arithmetic(machine, Func::Add, &total, &item)?,
            None => item,
        });
    }
    Ok(total.unwrap_or(Val::Int(0)))
}

fn extreme<'a>(
    machine: &mut Machine<'a>,
    list: &Val<'a>,
    name: &str,
    wanted: Ordering,
) -> Eval<'a> {
    let mut best: Option<Val<'a>> = None;
    for item in items(machine, list)? {
        let better = match &best {
            Some(best) => order(&item, best)? == wanted,
            None => true,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::text(format!("{name} called on empty list")))
}

fn sorted<'a>(machine: &mut Machine<'a>, list: &Val<'a>) -> Eval<'a> {
    let items = items(machine, list)?;
    for pair in items.windows(2) {
        if order(&pair[0], &pair[1])? == Ordering::Greater {
            return Ok(Val::Bool(false));
        }
    }
    Ok(Val::Bool(true))
}

fn position<'a>(
    machine: &mut Machine<'a>,
    list: &Val<'a>,
    wanted: &Val<'a>,
    last: bool,
) -> Eval<'a> {
    let mut found = -1;
    for (index, item) in (0i64..).zip(items(machine, list)?) {
        if equal(machine, &item, wanted)? {
            found = index;
            if !last {
                break;
            }
        }
    }
    Ok(Val::Int(found))
}

fn convert<'a>(func: Func, value: &Val<'a>) -> Eval<'a> {
    let target = match func {
        Func::ToInt => "int",
        Func::ToUint => "uint",
        Func::ToDouble => "double",
        Func::ToStr => "string",
        Func::ToBytes => "bytes",
        Func::ToBool => "bool",
        Func::ToDuration => "google.protobuf.Duration",
        _ => "google.protobuf.Timestamp",
    };
    let failed = || {
        EvalError::text(format!("type conversion error from '{}' to '{target}'", value.type_name()))
    };
    match func {
        Func::ToInt => to_int(value, failed),
        Func::ToUint => to_uint(value, failed),
        Func::ToDouble => match value {
            Val::Int(number) => Ok(Val::Double(*number as f64)),
            Val::Uint(number) => Ok(Val::Double(*number as f64)),
            Val::Double(number) => Ok(Val::Double(*number)),
            Val::Str(text) => text.parse().map(Val::Double).map_err(|_| failed()),
            _ => Err(failed()),
        },
        Func::ToStr => to_text(value).map(Val::str).ok_or_else(failed),
        Func::ToBytes => match value {
            Val::Bytes(_) => Ok(value.clone()),
            Val::Str(text) => Ok(Val::Bytes(text.as_bytes().into())),
            _ => Err(failed()),
        },
        Func::ToBool => match value {
            Val::Bool(_) => Ok(value.clone()),
            Val::Str(text) => match &**text {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Val::Bool(true)),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Val::Bool(false)),
                _ => Err(failed()),
            },
            _ => Err(failed()),
        },
        Func::ToDuration => match value {
            Val::Duration(_) => Ok(value.clone()),
            Val::Int(nanos) => Ok(Val::Duration(*nanos)),
            Val::Str(text) => time::parse_duration(text).map(Val::Duration).ok_or_else(failed),
            _ => Err(failed()),
        },
        _ => match value {
            Val::Timestamp(_) => Ok(value.clone()),
            Val::Int(seconds) => {
                Timestamp::from_second(*seconds).map(Val::Timestamp).map_err(|_| failed())
            }
            Val::Str(text) => time::parse_timestamp(text).map(Val::Timestamp).ok_or_else(failed),
            _ => Err(failed()),
        },
    }
}

fn to_int<'a>(value: &Val<'a>, failed: impl Fn() -> EvalError) -> Eval<'a> {
    match value {
        Val::Int(number) => Ok(Val::Int(*number)),
        Val::Uint(number) => i64::try_from(*number).map(Val::Int).map_err(|_| int_overflow()),
        Val::Double(number) if number.abs() < 9_223_372_036_854_775_808.0 => {
            Ok(Val::Int(number.trunc() as i64))
        }
        Val::Double(_) => Err(int_overflow()),
        Val::Duration(nanos) => Ok(Val::Int(*nanos)),
        Val::Timestamp(at) => Ok(Val::Int(at.as_second())),
        Val::Str(text) => text.parse().map(Val::Int).map_err(|_| failed()),
        _ => Err(failed()),
    }
}

fn to_uint<'a>(value: &Val<'a>, failed: impl Fn() -> EvalError) -> Eval<'a> {
    match value {
        Val::Uint(number) => Ok(Val::Uint(*number)),
        Val::Int(number) => u64::try_from(*number).map(Val::Uint).map_err(|_| uint_overflow()),
        Val::Double(number) if *number >= 0.0 && *number < 18_446_744_073_709_551_616.0 => {
            Ok(Val::Uint(number.trunc() as u64))
        }
        Val::Double(_) => Err(uint_overflow()),
        Val::Str(text) => text.parse().map(Val::Uint).map_err(|_| failed()),
        _ => Err(failed()),
    }
}

/// A value as `string()` prints it.
pub(super) fn to_text(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Str(text) => text.clone().into_owned(),
        Val::Bool(flag) => flag.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) => crate::schema::go_float(*number),
        Val::Duration(nanos) => time::format_duration(*nanos),
        Val::Timestamp(at) => at.to_string(),
        Val::Bytes(bytes) => std::str::from_utf8(bytes).ok()?.to_owned(),
        _ => return None,
    })
}

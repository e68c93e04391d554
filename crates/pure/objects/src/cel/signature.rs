//! Which operators and functions exist, and what they take: the checker's table.
use super::ir::Func;
use super::types::Ty;

/// Functions of Kubernetes that rules here cannot call: named when refused.
const NOT_SERVED: [&str; 21] = [
    "quantity",
    "isQuantity",
    "ip",
    "isIP",
    "cidr",
    "isCIDR",
    "url",
    "isURL",
    "semver",
    "isSemver",
    "format",
    "findAll",
    "optMap",
    "optFlatMap",
    "or",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfWeek",
    "quote",
    "reverse",
];

/// Why a call does not check.
pub(super) enum Refused {
    /// No such function.
    Undeclared,
    /// Kubernetes has it, this API server does not.
    NotServed,
    /// The arguments do not fit.
    Arguments,
}

pub(super) type Checked = Result<(Func, Ty), Refused>;

/// The operator written as `name`, e.g. `_+_`.
pub(super) fn operator(name: &str, args: &[Ty]) -> Option<Checked> {
    let func = match name {
        "_+_" => Func::Add,
        "_-_" => Func::Sub,
        "_*_" => Func::Mul,
        "_/_" => Func::Div,
        "_%_" => Func::Rem,
        "-_" => Func::Neg,
        "!_" => Func::Not,
        "_==_" => Func::Eq,
        "_!=_" => Func::Ne,
        "_<_" => Func::Lt,
        "_<=_" => Func::Le,
        "_>_" => Func::Gt,
        "_>=_" => Func::Ge,
        "@in" => Func::In,
        "_[_]" => Func::Index,
        _ => return None,
    };
    let result = match args {
        [a] => unary(func, a),
        [a, b] => binary(func, a, b),
        _ => None,
    };
    Some(result.map(|ty| (func, ty)).ok_or(Refused::Arguments))
}

fn unary(func: Func, a: &Ty) -> Option<Ty> {
    match (func, a) {
        (_, Ty::Dyn) | (Func::Not, Ty::Bool) | (Func::Neg, Ty::Int | Ty::Double) => Some(a.clone()),
        _ => None,
    }
}

fn binary(func: Func, a: &Ty, b: &Ty) -> Option<Ty> {
    let same = a.fits(b);
    match func {
        Func::Eq | Func::Ne => same.then_some(Ty::Bool),
        Func::Lt | Func::Le | Func::Gt | Func::Ge => {
            let ordered = |ty: &Ty| {
                ty.is_dyn()
                    || ty.is_number()
                    || matches!(ty, Ty::Bool | Ty::Str | Ty::Bytes | Ty::Duration | Ty::Timestamp)
            };
            let both = ordered(a) && ordered(b) && (same || (a.is_number() && b.is_number()));
            both.then_some(Ty::Bool)
        }
        Func::In => match b {
            Ty::List(item) => a.fits(item).then_some(Ty::Bool),
            Ty::Map(key, _) => a.fits(key).then_some(Ty::Bool),
            Ty::Dyn => Some(Ty::Bool),
            _ => None,
        },
        Func::Index => match a {
            Ty::List(item) => Ty::Int.fits(b).then(|| (**item).clone()),
            Ty::Map(key, value) => key.fits(b).then(|| (**value).clone()),
            Ty::Dyn => Some(Ty::Dyn),
            _ => None,
        },
        Func::Add => match (a, b) {
            (Ty::Timestamp, Ty::Duration) | (Ty::Duration, Ty::Timestamp) => Some(Ty::Timestamp),
            (Ty::Str | Ty::Bytes | Ty::Duration | Ty::List(_), _) if same => {
                Some(a.clone().join(b))
            }
            _ => arithmetic(a, b),
        },
        Func::Sub => match (a, b) {
            (Ty::Timestamp, Ty::Timestamp) | (Ty::Duration, Ty::Duration) => Some(Ty::Duration),
            (Ty::Timestamp, Ty::Duration) => Some(Ty::Timestamp),
            _ => arithmetic(a, b),
        },
        Func::Rem if matches!(a, Ty::Double) || matches!(b, Ty::Double) => None,
        _ => arithmetic(a, b),
    }
}

fn arithmetic(a: &Ty, b: &Ty) -> Option<Ty> {
    match (a, b) {
        (Ty::Dyn, Ty::Dyn) => Some(Ty::Dyn),
        (Ty::Dyn, known) | (known, Ty::Dyn) => (known.is_number()
            || matches!(known, Ty::Str | Ty::Bytes | Ty::List(_) | Ty::Duration | Ty::Timestamp))
        .then_some(Ty::Dyn),
        _ => (a.is_number() && a.fits(b)).then(|| a.clone()),
    }
}

/// A call of a function, `size(x)`, or of a method, `x.size()`, the receiver being the first argument.
pub(super) fn function(name: &str, method: bool, args: &[Ty]) -> Checked {
    let found = if method { member(name, args) } else { global(name, args) };
    match found {
        Some(result) => result.ok_or(Refused::Arguments),
        None if NOT_SERVED.contains(&name) => Err(Refused::NotServed),
        None => Err(Refused::Undeclared),
    }
}

type Entry = Option<(Func, Ty)>;

fn global(name: &str, args: &[Ty]) -> Option<Entry> {
    let (func, result) = match name {
        "size" => (Func::Size, Ty::Int),
        "int" => (Func::ToInt, Ty::Int),
        "uint" => (Func::ToUint, Ty::Uint),
        "double" => (Func::ToDouble, Ty::Double),
        "string" => (Func::ToStr, Ty::Str),
        "bytes" => (Func::ToBytes, Ty::Bytes),
        "bool" => (Func::ToBool, Ty::Bool),
        "duration" => (Func::ToDuration, Ty::Duration),
        "timestamp" => (Func::ToTimestamp, Ty::Timestamp),
        "type" => (Func::TypeOf, Ty::Type),
        "dyn" => (Func::ToDyn, Ty::Dyn),
        "matches" => return Some(all_strings(args, 2).then_some((Func::Matches, Ty::Bool))),
        _ => return None,
    };
    let [arg] = args else { return Some(None) };
    let fits = match func {
        Func::Size => sized(arg),
        Func::ToInt => arg.is_number() || matches!(arg, Ty::Str | Ty::Timestamp | Ty::Duration),
        Func::ToUint | Func::ToDouble => arg.is_number() || matches!(arg, Ty::Str),
        Func::ToStr => {
            arg.is_number()
                || matches!(arg, Ty::Str | Ty::Bool | Ty::Bytes | Ty::Timestamp | Ty::Duration)
        }
        Func::ToBytes => matches!(arg, Ty::Str | Ty::Bytes),
        Func::ToBool => matches!(arg, Ty::Str | Ty::Bool),
        Func::ToDuration => matches!(arg, Ty::Str | Ty::Duration | Ty::Int),
        Func::ToTimestamp => matches!(arg, Ty::Str | Ty::Timestamp | Ty::Int),
        _ => true,
    };
    Some((fits || arg.is_dyn()).then_some((func, result)))
}

fn sized(arg: &Ty) -> bool {
    matches!(arg, Ty::Str | Ty::Bytes | Ty::List(_) | Ty::Map(..))
}

fn all_strings(args: &[Ty], count: usize) -> bool {
    args.len() == count && args.iter().all(|arg| arg.fits(&Ty::Str))
}

fn member(name: &str, args: &[Ty]) -> Option<Entry> {
    let strings = |func, count, result| Some(all_strings(args, count).then_some((func, result)));
    match name {
        "size" => Some(
            matches!(args, [arg] if sized(arg) || arg.is_dyn()).then_some((Func::Size, Ty::Int)),
        ),
        "startsWith" => strings(Func::StartsWith, 2, Ty::Bool),
        "endsWith" => strings(Func::EndsWith, 2, Ty::Bool),
        "contains" => strings(Func::Contains, 2, Ty::Bool),
        "matches" => strings(Func::Matches, 2, Ty::Bool),
        "find" => strings(Func::Find, 2, Ty::Str),
        "lowerAscii" => strings(Func::LowerAscii, 1, Ty::Str),
        "upperAscii" => strings(Func::UpperAscii, 1, Ty::Str),
        "trim" => strings(Func::Trim, 1, Ty::Str),
        "charAt" | "substring" | "split" | "replace" | "indexOf" | "lastIndexOf" => {
            Some(text_member(name, args))
        }
        "join" => Some(match args {
            [list] | [list, Ty::Str | Ty::Dyn] if list.fits(&Ty::list(Ty::Str)) => {
                Some((Func::Join, Ty::Str))
            }
            _ => None,
        }),
        "sum" | "min" | "max" | "isSorted" => Some(list_member(name, args)),
        "getHours" => duration_member(Func::Hours, args),
        "getMinutes" => duration_member(Func::Minutes, args),
        "getSeconds" => duration_member(Func::Seconds, args),
        "getMilliseconds" => duration_member(Func::Milliseconds, args),
        "hasValue" | "value" | "orValue" => Some(optional_member(name, args)),
        _ => None,
    }
}

fn text_member(name: &str, args: &[Ty]) -> Entry {
    let shape = |wanted: &[Ty]| {
        args.len() == wanted.len() && args.iter().zip(wanted).all(|(arg, want)| arg.fits(want))
    };
    let text = || Ty::Str;
    match name {
        "charAt" => shape(&[text(), Ty::Int]).then_some((Func::CharAt, Ty::Str)),
        "substring" => (shape(&[text(), Ty::Int]) || shape(&[text(), Ty::Int, Ty::Int]))
            .then_some((Func::Substring, Ty::Str)),
        "split" => (shape(&[text(), text()]) || shape(&[text(), text(), Ty::Int]))
            .then(|| (Func::Split, Ty::list(Ty::Str))),
        "replace" => (shape(&[text(), text(), text()])
            || shape(&[text(), text(), text(), Ty::Int]))
        .then_some((Func::Replace, Ty::Str)),
        _ => {
            let func = if name == "indexOf" { Func::IndexOf } else { Func::LastIndexOf };
            let in_list = matches!(args, [Ty::List(item), wanted] if item.fits(wanted));
            (in_list || shape(&[text(), text()]) || shape(&[text(), text(), Ty::Int]))
                .then_some((func, Ty::Int))
        }
    }
}

fn list_member(name: &str, args: &[Ty]) -> Entry {
    let item = match args {
        [Ty::List(item)] => (**item).clone(),
        [Ty::Dyn] => Ty::Dyn,
        _ => return None,
    };
    let number = item.is_dyn() || item.is_number();
    let ordered =
        number || matches!(item, Ty::Bool | Ty::Str | Ty::Bytes | Ty::Duration | Ty::Timestamp);
    match name {
        "sum" => (number || matches!(item, Ty::Duration)).then_some((Func::Sum, item)),
        "min" => ordered.then_some((Func::Min, item)),
        "max" => ordered.then_some((Func::Max, item)),
        _ => ordered.then_some((Func::IsSorted, Ty::Bool)),
    }
}

fn duration_member(func: Func, args: &[Ty]) -> Option<Entry> {
    Some(match args {
        [Ty::Duration | Ty::Dyn] => Some((func, Ty::Int)),
        _ => None,
    })
}

fn optional_member(name: &str, args: &[Ty]) -> Entry {
    let inner = match args.first()? {
        Ty::Optional(inner) => (**inner).clone(),
        Ty::Dyn => Ty::Dyn,
        _ => return None,
    };
    match (name, args) {
        ("hasValue", [_]) => Some((Func::HasValue, Ty::Bool)),
        ("value", [_]) => Some((Func::OptionalValue, inner)),
        ("orValue", [_, fallback]) => {
            inner.fits(fallback).then(|| (Func::OrValue, inner.join(fallback)))
        }
        _ => None,
    }
}

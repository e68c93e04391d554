//! Values of an evaluation. JSON is borrowed and read through its declaration, never converted as a whole.
use super::decl::{Decl, ListKind, OPAQUE};
use super::time;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use std::rc::Rc;

/// A value; `'a` is the program, its declarations and the objects it reads.
#[derive(Clone, Debug)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(Cow<'a, str>),
    Bytes(Rc<[u8]>),
    Duration(i64),
    Timestamp(Timestamp),
    Type(&'static str),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<Vec<(Val<'a>, Val<'a>)>>),
    JsonList(&'a [Json], &'a Decl),
    JsonMap(&'a Map<String, Json>, &'a Decl),
    Opaque(&'a Json),
    Optional(Option<Rc<Val<'a>>>),
}

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum EvalError {
    /// Upstream's text, e.g. `no such key: x`.
    Text(Cow<'static, str>),
    /// No function or operator takes these arguments.
    NoSuchOverload,
    /// The evaluation cost too much.
    Budget,
}

impl EvalError {
    pub(super) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::NoSuchOverload => f.write_str("no such overload"),
            Self::Budget => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

pub(super) type Eval<'a> = Result<Val<'a>, EvalError>;

impl<'a> Val<'a> {
    /// A JSON value as its declaration reads it.
    pub(super) fn from_json(json: &'a Json, decl: &'a Decl) -> Eval<'a> {
        if json.is_null() {
            return Ok(Self::Null);
        }
        match (decl, json) {
            (Decl::Opaque, _) => Ok(Self::Opaque(json)),
            (Decl::Dyn | Decl::Str, Json::String(text)) => Ok(Self::Str(Cow::Borrowed(text))),
            (Decl::Dyn | Decl::Int, Json::Number(number)) => {
                number.as_i64().map(Self::Int).ok_or_else(|| mismatch(decl, json))
            }
            (Decl::Double, Json::Number(number)) => {
                Ok(Self::Double(number.as_f64().unwrap_or(f64::NAN)))
            }
            (Decl::Bool, Json::Bool(flag)) => Ok(Self::Bool(*flag)),
            (Decl::List(..), Json::Array(items)) => Ok(Self::JsonList(items, decl)),
            (Decl::Map(_) | Decl::Object(_), Json::Object(map)) => Ok(Self::JsonMap(map, decl)),
            (Decl::Bytes | Decl::Duration | Decl::Date | Decl::DateTime, Json::String(text)) => {
                formatted(text, decl)
            }
            _ => Err(mismatch(decl, json)),
        }
    }

    pub(super) fn str(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Str(text.into())
    }

    /// The name of its type, as `type()` prints it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Type(_) => "type",
            Self::List(_) | Self::JsonList(..) => "list",
            Self::Map(_) | Self::JsonMap(..) => "map",
            Self::Opaque(_) => "unknown",
            Self::Optional(_) => "optional_type",
        }
    }

    /// The number of items, if it has items.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::List(items) => Some(items.len()),
            Self::Map(entries) => Some(entries.len()),
            Self::JsonList(items, _) => Some(items.len()),
            Self::JsonMap(map, _) => Some(map.len()),
            _ => None,
        }
    }

    /// The item of a list.
    pub(super) fn item(&self, index: usize) -> Option<Eval<'a>> {
        match self {
            Self::List(items) => items.get(index).cloned().map(Ok),
            Self::JsonList(items, decl) => {
                items.get(index).map(|json| Self::from_json(json, item_decl(decl)))
            }
            _ => None,
        }
    }

    /// What a macro iterates: the items of a list, the keys of a map.
    pub(super) fn elements(&self) -> Option<Vec<Eval<'a>>> {
        Some(match self {
            Self::List(items) => items.iter().cloned().map(Ok).collect(),
            Self::JsonList(items, decl) => {
                items.iter().map(|json| Self::from_json(json, item_decl(decl))).collect()
            }
            Self::Map(entries) => entries.iter().map(|(key, _)| Ok(key.clone())).collect(),
            Self::JsonMap(map, _) => {
                map.keys().map(|key| Ok(Self::Str(Cow::Borrowed(key)))).collect()
            }
            _ => return None,
        })
    }

    /// The value of a JSON object's property; null and absent are the same for declared properties.
    pub(super) fn property(
        map: &'a Map<String, Json>,
        decl: &'a Decl,
        key: &str,
    ) -> Option<Eval<'a>> {
        let json = map.get(key)?;
        match decl {
            Decl::Object(_) if json.is_null() => None,
            Decl::Object(fields) => {
                fields.get(key).filter(|d| d.is_readable()).map(|d| Self::from_json(json, d))
            }
            Decl::Map(values) => Some(Self::from_json(json, values)),
            _ => Some(Self::from_json(json, &OPAQUE)),
        }
    }
}

pub(super) fn item_decl(list: &Decl) -> &Decl {
    match list {
        Decl::List(items, _) => items,
        _ => &OPAQUE,
    }
}

/// The keys that tell a list's items apart, and whether order counts.
pub(super) fn list_kind(decl: &Decl) -> &ListKind {
    match decl {
        Decl::List(_, kind) => kind,
        _ => &ListKind::Atomic,
    }
}

fn formatted<'a>(text: &str, decl: &Decl) -> Eval<'a> {
    let (value, what) = match decl {
        Decl::Duration => {
            let nanos = time::parse_duration(text).or_else(|| time::parse_spoken_duration(text));
            (nanos.map(Val::Duration), "duration")
        }
        Decl::Date => (time::parse_date(text).map(Val::Timestamp), "date formatted string"),
        Decl::DateTime => {
            (time::parse_timestamp(text).map(Val::Timestamp), "date-time formatted string")
        }
        _ => (
            super::base64::decode(text).map(|bytes| Val::Bytes(bytes.into())),
            "byte formatted string",
        ),
    };
    value.ok_or_else(|| EvalError::text(format!("Invalid {what} {text}")))
}

fn mismatch(decl: &Decl, json: &Json) -> EvalError {
    let got = match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    };
    EvalError::text(match decl {
        Decl::Dyn => {
            "invalid data, expected XIntOrString value to be either a string or integer".to_owned()
        }
        Decl::Bool => format!("invalid data, expected bool, got {got}"),
        Decl::Int => format!("invalid data, expected int, got {got}"),
        Decl::Double => format!("invalid data, expected float, got {got}"),
        Decl::List(..) => {
            "invalid data, expected an array for the provided schema with type=array".to_owned()
        }
        Decl::Map(_) | Decl::Object(_) => {
            "invalid data, expected a map for the provided schema with type=object".to_owned()
        }
        _ => format!("invalid data, expected string, got {got}"),
    })
}

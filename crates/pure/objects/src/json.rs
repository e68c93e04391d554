//! Small helpers on JSON values, and a parser that names duplicate fields and bounds what hostile text can cost.
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The value under a path of keys.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |v, key| v.get(key))
}

/// The string under a path of keys, or "".
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

/// The object under `key`, made when it is absent or something else.
pub fn object_mut<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let map = ensure_object(value);
    ensure_object(map.entry(key).or_insert(Value::Null))
}

fn ensure_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object just above")
}

/// `metadata` of an object, made when it is absent.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    object_mut(object, "metadata")
}

/// Removes a top-level field.
pub fn remove(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut().and_then(|map| map.remove(key))
}

/// Sets a top-level field, or removes it for `None`.
pub fn put(object: &mut Value, key: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            ensure_object(object).insert(key.to_owned(), value);
        }
        None => {
            remove(object, key);
        }
    }
}

/// How deep an object may be nested. Clients read lists and events, which add two levels, with parsers that stop at 127.
pub const MAX_DEPTH: usize = 100;
/// How many values one body may hold: an object with one field takes some 650 bytes of memory and 7 bytes of text.
pub const MAX_VALUES: usize = 200_000;
/// How many bytes of text one object may hold: as many as a body has. YAML aliases would multiply them.
pub const MAX_TEXT: usize = 3 * 1024 * 1024;
/// How many duplicate fields are named.
const MAX_DUPLICATES: usize = 100;
/// How many bytes of a duplicate's path are shown.
const MAX_PATH: usize = 1024;

/// Why text is no acceptable JSON.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is no JSON, or holds what no field may be called.
    #[error(transparent)]
    Syntax(serde_json::Error),
    /// It is nested too deep.
    #[error("it is nested more than {MAX_DEPTH} levels deep")]
    Depth,
    /// It holds too many values.
    #[error("it holds more than {MAX_VALUES} values")]
    Values,
    /// Its names and strings are too long in all.
    #[error("its names and strings are longer than {MAX_TEXT} bytes in all")]
    Text,
}

/// A value that was read within the limits above, from any format.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounded {
    /// The value.
    pub value: Value,
    /// Fields that stand twice, where the format lets them.
    pub duplicates: Vec<String>,
}

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut state = Parse::default();
        let value = state.root().deserialize(deserializer)?;
        Ok(Self { value, duplicates: state.duplicates })
    }
}

/// Parses JSON; of a key that stands twice the last value counts, and its path is named.
pub fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), ParseError> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let mut state = Parse::default();
    let parsed =
        state.root().deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    match (parsed, state.exceeded) {
        (Ok(value), _) => Ok((value, state.duplicates)),
        (Err(_), Some(limit)) => Err(limit),
        (Err(error), None) => Err(ParseError::Syntax(error)),
    }
}

/// Checks a value that was not read by `parse` against the same limits.
pub fn check_limits(value: &Value) -> Result<(), ParseError> {
    let mut values = 0;
    let mut rest = vec![(value, 0)];
    while let Some((value, depth)) = rest.pop() {
        values += 1;
        if values > MAX_VALUES {
            return Err(ParseError::Values);
        }
        match value {
            Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
                return Err(ParseError::Depth);
            }
            Value::Array(items) => rest.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(map) => rest.extend(map.values().map(|item| (item, depth + 1))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// Where the parser stands; written out only for a duplicate.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

/// What one parse counts and finds.
#[derive(Default)]
struct Parse {
    duplicates: Vec<String>,
    values: usize,
    text: usize,
    exceeded: Option<ParseError>,
}

impl Parse {
    fn root(&mut self) -> Node<'_> {
        Node { path: Path::Root, depth: 0, state: self }
    }

    fn read<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.text += text.len();
        if self.text > MAX_TEXT { self.exceed(ParseError::Text) } else { Ok(()) }
    }

    fn note(&mut self, path: Path<'_>) {
        if self.duplicates.len() == MAX_DUPLICATES {
            return;
        }
        let mut text = path.to_string();
        text.truncate(text.floor_char_boundary(MAX_PATH));
        if !self.duplicates.contains(&text) {
            self.duplicates.push(text);
        }
    }

    fn exceed<T, E: serde::de::Error>(&mut self, limit: ParseError) -> Result<T, E> {
        let error = E::custom(&limit);
        self.exceeded = Some(limit);
        Err(error)
    }
}

struct Node<'d> {
    path: Path<'d>,
    depth: usize,
    state: &'d mut Parse,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.values += 1;
        if self.state.values > MAX_VALUES {
            return self.state.exceed(ParseError::Values);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        self.state.read(v)?;
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, v: String) -> Result<Value, E> {
        self.state.read(&v)?;
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Self { path, depth, state } = self;
        if depth == MAX_DEPTH {
            return state.exceed(ParseError::Depth);
        }
        let mut items = Vec::new();
        loop {
            let path = Path::Index(&path, items.len());
            match seq.next_element_seed(Node { path, depth: depth + 1, state })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { path, depth, state } = self;
        if depth == MAX_DEPTH {
            return state.exceed(ParseError::Depth);
        }
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            state.read(&key)?;
            if key.contains('\0') {
                return Err(A::Error::custom("a field name contains NUL"));
            }
            let path = Path::Key(&path, &key);
            if map.contains_key(&key) {
                state.note(path);
            }
            let value = access.next_value_seed(Node { path, depth: depth + 1, state })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn duplicates_are_named_and_the_last_counts() {
        let (value, duplicates) =
            parse(br#"{"a":1,"b":[{"c":1,"c":2.5}],"a":null,"a":"x"}"#).unwrap();
        assert_eq!(value, json!({"a": "x", "b": [{"c": 2.5}]}));
        assert_eq!(duplicates, ["b[0].c", "a"]);
        assert!(parse(b"{} x").is_err());
        assert!(parse("[".repeat(200).as_bytes()).is_err());
    }

    /// Arrays in arrays, `depth` of them.
    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn depth_is_limited_on_both_sides() {
        let (deepest, _) = parse(nested(MAX_DEPTH).as_bytes()).unwrap();
        assert!(check_limits(&deepest).is_ok());
        let deeper = Value::Array(vec![deepest]);
        assert!(matches!(check_limits(&deeper), Err(ParseError::Depth)));
        for depth in [MAX_DEPTH + 1, 10_000] {
            let refused = parse(nested(depth).as_bytes()).unwrap_err();
            assert_eq!(refused.to_string(), "it is nested more than 100 levels deep");
        }
        let objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(parse(objects(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(parse(objects(MAX_DEPTH + 1).as_bytes()), Err(ParseError::Depth)));
    }

    #[test]
    fn the_count_of_values_is_limited_on_both_sides() {
        let list = |count: usize| format!("[{}]", vec!["0"; count].join(","));
        let (most, _) = parse(list(MAX_VALUES - 1).as_bytes()).unwrap();
        assert!(check_limits(&most).is_ok());
        assert!(matches!(parse(list(MAX_VALUES).as_bytes()), Err(ParseError::Values)));
        assert!(matches!(check_limits(&Value::Array(vec![most])), Err(ParseError::Values)));
    }

    #[test]
    fn text_is_limited_on_both_sides() {
        let text = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        assert!(parse(text(MAX_TEXT - 1).as_bytes()).is_ok());
        assert!(matches!(parse(text(MAX_TEXT).as_bytes()), Err(ParseError::Text)));
    }

    #[test]
    fn named_duplicates_are_few_and_short() {
        let key = "k".repeat(1_000_000);
        let twice: Vec<String> = (0..500).map(|n| format!("\"{n}\":0,\"{n}\":0")).collect();
        let text = format!("{{\"{key}\":{{{}}},\"b\":[{{\"c\":0,\"c\":0}}]}}", twice.join(","));
        let (_, duplicates) = parse(text.as_bytes()).unwrap();
        assert_eq!(duplicates, ["k".repeat(MAX_PATH), "b[0].c".to_owned()]);
        let text = format!("{{{}}}", twice.join(","));
        assert_eq!(parse(text.as_bytes()).unwrap().1.len(), MAX_DUPLICATES);
    }
}

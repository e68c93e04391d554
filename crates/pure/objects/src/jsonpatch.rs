//! JSON patch (RFC 6902), with kube-apiserver's limits and leniencies.
//!
//! As there, an index may count from the end ("-1"), and a `test` for null holds for a field that is absent. The cost of a
//! patch is bounded: by operations, by the bytes that `copy` makes, by the elements that values that move, by depth.
use serde_json::Value;

use crate::json;

/// The most operations of one patch, as kube-apiserver has it.
pub const MAX_OPERATIONS: usize = 10_000;
/// The most bytes that the copies of one patch add, as kube-apiserver has it.
pub const MAX_COPIED: usize = 3 * 1024 * 1024;
/// The most values that the operations of one patch push aside in lists or move elsewhere.
const MAX_MOVED: usize = 50_000_000;

/// Why a body is no patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It has another form.
    #[error("error decoding patch: {0}")]
    Form(String),
    /// It has too many operations.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
}

/// Which operation does not apply to the object, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation {index}, {kind} {path:?}: {why}")]
pub struct NotApplied {
    /// The operation's place in the patch, from 0.
    pub index: usize,
    /// `add`, `remove` …
    pub kind: &'static str,
    /// Its path.
    pub path: String,
    /// Why it does not apply.
    pub why: String,
}

/// A decoded patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch(Vec<Operation>);

#[derive(Debug, Clone, PartialEq)]
struct Operation {
    path: String,
    target: Vec<String>,
    action: Action,
}

#[derive(Debug, Clone, PartialEq)]
enum Action {
    Add(Value),
    Remove,
    Replace(Value),
    Move(Vec<String>),
    Copy(Vec<String>),
    Test(Value),
}

impl Action {
    fn kind(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Remove => "remove",
            Self::Replace(_) => "replace",
            Self::Move(_) => "move",
            Self::Copy(_) => "copy",
            Self::Test(_) => "test",
        }
    }
}

impl Patch {
    /// Decodes a list of operations.
    pub fn decode(patch: &Value) -> Result<Self, DecodeError> {
        let list = patch
            .as_array()
            .ok_or_else(|| DecodeError::Form("a JSON patch is a list of operations".to_owned()))?;
        if list.len() > MAX_OPERATIONS {
            return Err(DecodeError::TooMany(list.len()));
        }
        let decoded = list.iter().enumerate().map(|(index, operation)| {
            decode(operation).map_err(|why| DecodeError::Form(format!("operation {index}: {why}")))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    /// Applies all operations to `target`, which is spoilt when one does not apply.
    pub fn apply(&self, target: &mut Value) -> Result<(), NotApplied> {
        let mut cost = Cost::default();
        for (index, operation) in self.0.iter().enumerate() {
            operation.apply(target, &mut cost).map_err(|why| NotApplied {
                index,
                kind: operation.action.kind(),
                path: operation.path.clone(),
                why,
            })?;
        }
        Ok(())
    }
}

fn decode(operation: &Value) -> Result<Operation, String> {
    let text = |field: &str| match operation.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{field:?} is no string")),
        None => Err(format!("{field:?} is missing")),
    };
    if !operation.is_object() {
        return Err("it is no object".to_owned());
    }
    let value = || operation.get("value").cloned().ok_or("\"value\" is missing");
    let action = match text("op")?.as_str() {
        "add" => Action::Add(value()?),
        "remove" => Action::Remove,
        "replace" => Action::Replace(value()?),
        "move" => Action::Move(pointer(&text("from")?)?),
        "copy" => Action::Copy(pointer(&text("from")?)?),
        "test" => Action::Test(operation.get("value").cloned().unwrap_or(Value::Null)),
        other => {
            return Err(format!(
                "\"op\" is {other:?}; it must be add, remove, replace, move, copy or test"
            ));
        }
    };
    let path = text("path")?;
    Ok(Operation { target: pointer(&path)?, path, action })
}

/// The parts of a JSON pointer (RFC 6901).
fn pointer(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text
        .strip_prefix('/')
        .ok_or_else(|| format!("the path {text:?} does not begin with \"/\""))?;
    Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// What a patch has cost so far.
#[derive(Debug, Default)]
struct Cost {
    copied: usize,
    moved: usize,
}

impl Cost {
    fn copy(&mut self, value: &Value) -> Result<(), String> {
        self.copied += value.to_string().len();
        if self.copied > MAX_COPIED {
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit {MAX_COPIED}",
                self.copied
            ));
        }
        Ok(())
    }

    fn shift(&mut self, values: usize) -> Result<(), String> {
        self.moved += values;
        if self.moved > MAX_MOVED {
            return Err(format!(
                "the patch moves more than {MAX_MOVED} values in all; replace the list or object as a whole"
            ));
        }
        Ok(())
    }
}

impl Operation {
    fn apply(&self, root: &mut Value, cost: &mut Cost) -> Result<(), String> {
        match &self.action {
            Action::Add(value) => add(root, &self.target, value.clone(), cost),
            Action::Remove => remove(root, &self.target, cost).map(drop),
            Action::Replace(value) => {
                let place = find(root, &self.target)?;
                check_depth(&self.target, value, cost)?;
                *place = value.clone();
                Ok(())
            }
            Action::Move(from) if *from == self.target => find(root, from).map(drop),
            Action::Move(from) => {
                if self.target.starts_with(from) {
                    return Err("a value can't be moved into itself".to_owned());
                }
                let value = remove(root, from, cost)?;
                add(root, &self.target, value, cost)
            }
            Action::Copy(from) => {
                let value = find(root, from)?;
                cost.copy(value)?;
                let value = value.clone();
                add(root, &self.target, value, cost)
            }
            Action::Test(value) => self.test(root, value),
        }
    }

    fn test(&self, root: &mut Value, wanted: &Value) -> Result<(), String> {
        let found = match self.target.split_last() {
            None => &*root,
            Some((last, parents)) => match &*find(root, parents)? {
                Value::Object(map) => map.get(last).unwrap_or(&Value::Null),
                Value::Array(list) => &list[index(last, list.len())?],
                other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                    return Err(no_container(other));
                }
            },
        };
        if found == wanted {
            return Ok(());
        }
        Err(format!("testing value failed: it is {}, not {}", brief(found), brief(wanted)))
    }
}

/// A value for people, at most some 100 characters of it.
fn brief(value: &Value) -> String {
    const SHOWN: usize = 100;
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            let mut text = other.to_string();
            if text.len() > SHOWN {
                text.truncate(text.floor_char_boundary(SHOWN));
                text.push('…');
            }
            text
        }
    }
}

fn find<'v>(root: &'v mut Value, path: &[String]) -> Result<&'v mut Value, String> {
    let mut place = root;
    for part in path {
        place = match place {
            Value::Object(map) => map.get_mut(part).ok_or_else(|| missing(part))?,
            Value::Array(list) => {
                let at = index(part, list.len())?;
                &mut list[at]
            }
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                return Err(no_container(other));
            }
        };
    }
    Ok(place)
}

fn missing(part: &str) -> String {
    format!("there is no {:?}", part.chars().take(100).collect::<String>())
}

fn no_container(value: &Value) -> String {
    format!("the path leads through {}, which has no fields", brief(value))
}

/// The place that a part of a path names in a list of `len` elements; "-1" is the last.
fn index(part: &str, len: usize) -> Result<usize, String> {
    let number = part.strip_prefix('-').unwrap_or(part);
    let decimal = number == "0" || (!number.starts_with('0') && !number.is_empty());
    let digits = decimal && number.bytes().all(|b| b.is_ascii_digit());
    if !digits {
        return Err(format!(
            "{:?} is no index of a list",
            part.chars().take(100).collect::<String>()
        ));
    }
    let outside = || format!("invalid index referenced: {number}, the list has {len} elements");
    let number: usize = number.parse().map_err(|_| outside())?;
    let at = if part.starts_with('-') { len.checked_sub(number) } else { Some(number) };
    at.filter(|at| *at < len).ok_or_else(outside)
}

fn add(root: &mut Value, path: &[String], value: Value, cost: &mut Cost) -> Result<(), String> {
    check_depth(path, &value, cost)?;
    let Some((last, parents)) = path.split_last() else {
        *root = value;
        return Ok(());
    };
    match find(root, parents)? {
        Value::Object(map) => {
            if last.contains('\0') {
                return Err("a field name contains NUL".to_owned());
            }
            map.insert(last.clone(), value);
        }
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => {
            let at = index(last, list.len() + 1)?;
            cost.shift(list.len() - at)?;
            list.insert(at, value);
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            return Err(no_container(other));
        }
    }
    Ok(())
}

fn remove(root: &mut Value, path: &[String], cost: &mut Cost) -> Result<Value, String> {
    let Some((last, parents)) = path.split_last() else {
        return Err("the whole object can't be removed by a patch".to_owned());
    };
    match find(root, parents)? {
        Value::Object(map) => map.remove(last).ok_or_else(|| missing(last)),
        Value::Array(list) => {
            let at = index(last, list.len())?;
            cost.shift(list.len() - at)?;
            Ok(list.remove(at))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            Err(no_container(other))
        }
    }
}

/// Keeps the object readable: copies of copies would double its depth each time.
fn check_depth(path: &[String], value: &Value, cost: &mut Cost) -> Result<(), String> {
    let mut values = 0;
    let depth = path.len() + depth(value, &mut values);
    cost.shift(values)?;
    if depth > json::MAX_DEPTH {
        return Err(format!(
            "the object would be nested more than {} levels deep",
            json::MAX_DEPTH
        ));
    }
    Ok(())
}

/// How many containers stand in each other, at most the limit: each value was checked before. Counts the values.
fn depth(value: &Value, values: &mut usize) -> usize {
    *values += 1;
    match value {
        Value::Array(list) => 1 + list.iter().map(|v| depth(v, values)).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(|v| depth(v, values)).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests;

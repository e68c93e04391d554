//! What a matrix must be, as it is written and when its values are known.

use super::{MatrixError, MatrixProblem, error};
use crate::limits;
use crate::nearest;
use crate::value;
use serde_json::{Map, Value};

/// When it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A text with an expression may become anything.
    Source,
    /// A text is a text.
    Values,
}

impl Stage {
    fn is_open(self, value: &Value) -> bool {
        let is_expression = value.as_str().is_some_and(|text| text.contains("${{"));
        self == Self::Source && is_expression
    }
}

pub(super) fn check(matrix: &Value, stage: Stage, limit: usize) -> Result<(), MatrixError> {
    if stage.is_open(matrix) {
        return Ok(());
    }
    let members = object(matrix, "matrix")?;
    let axes: Vec<&str> = axes(members).map(|(name, _)| name.as_str()).collect();
    if axes.is_empty() && !members.contains_key("include") {
        return Err(error("matrix", MatrixProblem::NoAxes));
    }
    if axes.len() > limits::AXES {
        return Err(error("matrix", MatrixProblem::TooManyAxes { count: axes.len() }));
    }
    let mut count: usize = 1;
    for (name, values) in self::axes(members) {
        let path = format!("matrix.{name}");
        check_name(name, &path)?;
        if stage.is_open(values) {
            continue;
        }
        let values = list(values, &path)?;
        if values.is_empty() && stage == Stage::Source {
            return Err(error(path, MatrixProblem::EmptyList));
        }
        count = count.saturating_mul(values.len());
    }
    if count > limit {
        return Err(error("matrix", MatrixProblem::TooManyCombinations { count, limit }));
    }
    for key in ["include", "exclude"] {
        let Some(entries) = members.get(key).filter(|entries| !stage.is_open(entries)) else {
            continue;
        };
        check_entries(key, list(entries, &format!("matrix.{key}"))?, &axes, stage, limit)?;
    }
    Ok(())
}

/// The names whose values are combined.
pub(super) fn axes(members: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    members.iter().filter(|(name, _)| !["include", "exclude"].contains(&name.as_str()))
}

fn check_entries(
    key: &str,
    entries: &[Value],
    axes: &[&str],
    stage: Stage,
    limit: usize,
) -> Result<(), MatrixError> {
    if entries.len() > limit {
        let problem = MatrixProblem::TooManyEntries { count: entries.len(), limit };
        return Err(error(format!("matrix.{key}"), problem));
    }
    for (place, entry) in entries.iter().enumerate() {
        if stage.is_open(entry) {
            continue;
        }
        let path = format!("matrix.{key}[{place}]");
        let members = object(entry, &path)?;
        if members.is_empty() {
            return Err(error(path, MatrixProblem::EmptyEntry));
        }
        for name in members.keys() {
            let path = format!("{path}.{name}");
            check_name(name, &path)?;
            if key == "exclude" && !axes.contains(&name.as_str()) {
                let hint = if axes.is_empty() {
                    "only include is there".to_owned()
                } else {
                    nearest::hint(name, axes)
                };
                return Err(error(path, MatrixProblem::UnknownAxis { hint }));
            }
        }
    }
    Ok(())
}

fn check_name(name: &str, path: &str) -> Result<(), MatrixError> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    if begins && name.chars().all(is_of_name) {
        Ok(())
    } else {
        Err(error(path, MatrixProblem::Name))
    }
}

fn list<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], MatrixError> {
    let wrong =
        || error(path, MatrixProblem::Kind { expected: "a list", found: value::kind(value) });
    value.as_array().map(Vec::as_slice).ok_or_else(wrong)
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, MatrixError> {
    let wrong =
        || error(path, MatrixProblem::Kind { expected: "an object", found: value::kind(value) });
    value.as_object().ok_or_else(wrong)
}

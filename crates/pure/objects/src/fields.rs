//! Field selectors: `=`, `==` and `!=` on the fields that a resource lets be selected.
use std::collections::BTreeMap;

use crate::resource::Resource;
use crate::status::Failure;

/// A parsed field selector; empty selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Parses a selector and refuses fields that `res` does not offer.
    pub fn parse(source: &str, res: &Resource) -> Result<Self, Failure> {
        let mut terms = Vec::new();
        for part in split(source).into_iter().filter(|p| !p.is_empty()) {
            let (field, equal, value) = term(&part).ok_or_else(|| {
                Failure::bad_request(format!(
                    "invalid selector: '{source}'; can't understand '{part}'"
                ))
            })?;
            if !known(res, &field) {
                return Err(Failure::bad_request(unknown(res, &field)));
            }
            terms.push(Term { field, equal, value: unescape(&value) });
        }
        Ok(Self(terms))
    }

    /// Whether an object with this name, namespace and these fields is selected.
    pub fn matches(&self, namespace: &str, name: &str, fields: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| {
            let value = match term.field.as_str() {
                "metadata.name" => name,
                "metadata.namespace" => namespace,
                other => fields.get(other).map_or("", String::as_str),
            };
            (value == term.value) == term.equal
        })
    }

    /// One exact value that every selected object has, for an index.
    pub fn exact(&self) -> Option<(&str, &str)> {
        self.0
            .iter()
            .filter(|t| t.equal)
            .max_by_key(|t| {
                (t.field == "metadata.name", t.field != "metadata.namespace", !t.value.is_empty())
            })
            .map(|t| (t.field.as_str(), t.value.as_str()))
    }

    /// The exact name that is asked for, if any.
    pub fn exact_of(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|t| t.equal && t.field == field).map(|t| t.value.as_str())
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn known(res: &Resource, field: &str) -> bool {
    field == "metadata.name"
        || (field == "metadata.namespace" && res.namespaced)
        || res.fields.iter().any(|f| f.label == field)
}

fn unknown(res: &Resource, field: &str) -> String {
    if res.custom || !res.fields.is_empty() {
        format!("field label not supported: {field}")
    } else {
        format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )
    }
}

fn term(part: &str) -> Option<(String, bool, String)> {
    let at = part.find(['=', '!'])?;
    let (field, rest) = part.split_at(at);
    let (equal, value) = if let Some(v) = rest.strip_prefix("!=") {
        (false, v)
    } else if let Some(v) = rest.strip_prefix("==") {
        (true, v)
    } else {
        (true, rest.strip_prefix('=')?)
    };
    Some((field.trim().to_owned(), equal, value.to_owned()))
}

fn split(source: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in source.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn unescape(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

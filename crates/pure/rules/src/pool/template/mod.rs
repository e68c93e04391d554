//! The allowlist of a Runtime's pod template: each field is carried, carried if it holds what a pool can have, or refused.
//!
//! `table` says which. Invariants: a field that is not in the table is refused, so that a newer Kubernetes adds nothing to
//! the pods of a pool by itself; nothing passes that Pod Security `restricted` refuses, or that would let a Run have what
//! is runtimed's.

mod checks;
mod table;

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// Refusals that a message names; of more it says how many there are.
const SHOWN: usize = 5;
/// Characters of a refused value that a message shows.
const VALUE_CHARS: usize = 80;
const PLACE: &str = "spec.template";

/// What the checks know of the Runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) runtime: &'a str,
    pub(super) port: i32,
    /// Secrets that Runs may use: runtimed alone is to have them.
    pub(super) secrets: &'a BTreeSet<String>,
}

/// One field that a pool can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stands in the Runtime.
    pub path: String,
    /// What it holds, shortened.
    pub value: String,
    /// Why not, and what to do instead.
    pub remedy: &'static str,
}

/// All that a template has and a pool can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(pub Vec<Refusal>);

/// Whether a field is carried.
enum Shape {
    /// With everything below it.
    Carried,
    /// If it is one of these.
    Only(&'static [&'static str], &'static str),
    /// If it is false.
    False(&'static str),
    /// If it is true.
    True(&'static str),
    /// If it is empty.
    Empty(&'static str),
    /// Not at all.
    Never(&'static str),
    /// If the check says nothing against it.
    If(Check),
    /// If the check says nothing against it, and as the shape says.
    And(Check, &'static Shape),
    /// An object: each field as its shape says. The text is said of all other fields.
    Fields(&'static [(&'static str, Shape)], &'static str),
    /// A list.
    Each(&'static Shape),
    /// A list whose first item is another one than the rest.
    First(&'static Shape, &'static Shape),
}

type Check = fn(&Context<'_>, &Value) -> Result<(), &'static str>;

/// Looks at every field of a PodTemplateSpec, as JSON.
pub(super) fn check(template: &Value, context: &Context<'_>) -> Result<(), Refusals> {
    let mut walk = Walk { context, refusals: Vec::new() };
    walk.visit(&table::TEMPLATE, PLACE, template);
    if walk.refusals.is_empty() { Ok(()) } else { Err(Refusals(walk.refusals)) }
}

struct Walk<'a> {
    context: &'a Context<'a>,
    refusals: Vec<Refusal>,
}

impl Walk<'_> {
    fn visit(&mut self, shape: &Shape, path: &str, value: &Value) {
        if value.is_null() {
            return;
        }
        match shape {
            Shape::Carried => {}
            Shape::Only(allowed, remedy) => {
                let fits = value.as_str().is_some_and(|text| allowed.contains(&text));
                self.require(fits, path, value, remedy);
            }
            Shape::False(remedy) => self.require(*value == false, path, value, remedy),
            Shape::True(remedy) => self.require(*value == true, path, value, remedy),
            Shape::Empty(remedy) => self.require(is_empty(value), path, value, remedy),
            Shape::Never(remedy) => self.refuse(path, value, remedy),
            Shape::If(check) => drop(self.ask(*check, path, value)),
            Shape::And(check, shape) => {
                if self.ask(*check, path, value) {
                    self.visit(shape, path, value);
                }
            }
            Shape::Fields(fields, otherwise) => self.visit_fields(fields, otherwise, path, value),
            Shape::Each(item) => self.visit_items(item, item, path, value),
            Shape::First(first, others) => self.visit_items(first, others, path, value),
        }
    }

    fn visit_fields(
        &mut self,
        fields: &[(&str, Shape)],
        otherwise: &'static str,
        path: &str,
        value: &Value,
    ) {
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match fields.iter().find(|(known, _)| known == name) {
                Some((_, shape)) => self.visit(shape, &path, value),
                None if value.is_null() => {}
                None => self.refuse(&path, value, otherwise),
            }
        }
    }

    fn visit_items(&mut self, first: &Shape, others: &Shape, path: &str, value: &Value) {
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            let shape = if number == 0 { first } else { others };
            self.visit(shape, &format!("{path}[{number}]"), item);
        }
    }

    fn ask(&mut self, check: Check, path: &str, value: &Value) -> bool {
        let verdict = check(self.context, value);
        if let Err(remedy) = verdict {
            self.refuse(path, value, remedy);
        }
        verdict.is_ok()
    }

    fn require(&mut self, fits: bool, path: &str, value: &Value, remedy: &'static str) {
        if !fits {
            self.refuse(path, value, remedy);
        }
    }

    fn refuse(&mut self, path: &str, value: &Value, remedy: &'static str) {
        let mut shown: String = value.to_string();
        if let Some((end, _)) = shown.char_indices().nth(VALUE_CHARS) {
            shown.truncate(end);
            shown.push('…');
        }
        self.refusals.push(Refusal { path: path.to_owned(), value: shown, remedy });
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Refusal { path, value, remedy }) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(formatter, "{separator}{path}: {value} is refused: {remedy}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl std::error::Error for Refusals {}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod cases_of_containers;
#[cfg(test)]
mod tests;

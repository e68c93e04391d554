//! Types, limits, enums, patterns and formats, with upstream's texts and its order: type, branches, text, number, list,
//! enum, object.
use super::correlate::{Correlated, unchanged};
use super::error::{CauseReason, FieldError};
use super::gofmt::{json, quoted, shown};
use super::node::{Additional, Kind, Node};
use super::number;
use super::path::{self, Path};
use serde_json::{Map, Value};

/// Validates a value; errors stand below `prefix`. What equals its `old` value is not refused.
pub(super) fn check(
    node: &Node,
    value: &Value,
    old: Option<&Value>,
    prefix: &str,
) -> Vec<FieldError> {
    let mut walk = Walk { errors: Vec::new(), path: Path::default(), prefix };
    walk.node(node, value, old);
    walk.errors
}

/// How many errors are gathered: each is compared with those before it, and few are told.
const MAX_ERRORS: usize = 200;

struct Walk<'w> {
    errors: Vec<FieldError>,
    path: Path,
    prefix: &'w str,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, value: &Value, old: Option<&Value>) {
        let before = self.errors.len();
        self.kind(node, value);
        if !value.is_null() {
            self.branches(node, value, old);
        }
        match value {
            Value::String(text) => self.text(node, text),
            Value::Number(number) => self.number(node, number, value),
            Value::Array(items) => self.list(node, items, old),
            Value::Null | Value::Bool(_) | Value::Object(_) => {}
        }
        self.allowed(node, value);
        if let Value::Object(map) = value {
            self.object(node, map, old);
        }
        if self.errors.len() > before && old.is_some_and(|old| unchanged(node, value, old)) {
            self.errors.truncate(before);
        }
    }

    fn push(&mut self, reason: CauseReason, message: String) {
        let path = path::joined(self.prefix, self.path.as_str());
        let error = FieldError::new(path::shown(&path), reason, message);
        if self.errors.len() < MAX_ERRORS && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// `Invalid value: <value>: <path> in body <what>`.
    fn invalid(&mut self, value: &str, what: &str) {
        let message = format!("Invalid value: {value}: {} in body {what}", self.path.as_str());
        self.push(CauseReason::Invalid, message);
    }

    fn wrong_type(&mut self, wanted: &str, got: &str) {
        let got = quoted(got);
        let message = format!(
            "Invalid value: {got}: {} in body must be of type {wanted}: {got}",
            self.path.as_str()
        );
        self.push(CauseReason::TypeInvalid, message);
    }

    fn kind(&mut self, node: &Node, value: &Value) {
        let Some(kind) = node.kind else { return };
        if value.is_null() {
            if !node.nullable {
                self.wrong_type(kind.name(), "null");
            }
            return;
        }
        let textual = matches!(value, Value::String(_) | Value::Array(_));
        let fits = match (kind, value) {
            (Kind::Object, Value::Object(_))
            | (Kind::Array, Value::Array(_))
            | (Kind::String | Kind::IntOrString, Value::String(_))
            | (Kind::Number, Value::Number(_))
            | (Kind::Boolean, Value::Bool(_)) => true,
            (Kind::Integer | Kind::IntOrString, Value::Number(number)) => number::is_whole(number),
            _ => false,
        };
        match &node.format {
            Some((format, _)) if !textual && !fits => self.wrong_type(format, format_of(value)),
            // Upstream lets every text and list pass here; formats are checked apart.
            Some(_)
                if textual && !matches!(kind, Kind::Integer | Kind::Number | Kind::IntOrString) => {
            }
            _ if !fits => self.wrong_type(kind.name(), type_of(value)),
            _ => {}
        }
    }

    fn branches(&mut self, node: &Node, value: &Value, old: Option<&Value>) {
        let checks = &node.checks;
        if !checks.any_of.is_empty() {
            let failures = self.tries(&checks.any_of, value, old);
            if failures.iter().all(|errors| !errors.is_empty()) {
                self.composite("must validate at least one schema (anyOf)");
                self.errors.extend(failures.into_iter().next().unwrap_or_default());
            }
        }
        if !checks.one_of.is_empty() {
            let failures = self.tries(&checks.one_of, value, old);
            match failures.iter().filter(|errors| errors.is_empty()).count() {
                1 => {}
                0 => {
                    self.composite(
                        "must validate one and only one schema (oneOf). Found none valid",
                    );
                    self.errors.extend(failures.into_iter().next().unwrap_or_default());
                }
                several => {
                    let what = "must validate one and only one schema (oneOf)";
                    self.composite(&format!("{what}. Found {several} valid alternatives"));
                }
            }
        }
        if !checks.all_of.is_empty() {
            let failures = self.tries(&checks.all_of, value, old);
            let valid = failures.iter().filter(|errors| errors.is_empty()).count();
            let all = failures.len();
            self.errors.extend(failures.into_iter().flatten());
            if valid != all {
                let none = if valid == 0 { ". None validated" } else { "" };
                self.composite(&format!("must validate all the schemas (allOf){none}"));
            }
        }
        if let Some(not) = &checks.not
            && self.tries(std::slice::from_ref(not), value, old).iter().all(Vec::is_empty)
        {
            self.composite("must not validate the schema (not)");
        }
    }

    /// The errors of each branch.
    fn tries(
        &mut self,
        branches: &[Node],
        value: &Value,
        old: Option<&Value>,
    ) -> Vec<Vec<FieldError>> {
        let kept = std::mem::take(&mut self.errors);
        let mut failures = Vec::with_capacity(branches.len());
        for branch in branches {
            self.node(branch, value, old);
            failures.push(std::mem::take(&mut self.errors));
        }
        self.errors = kept;
        failures
    }

    /// An error about branches, which upstream reports at the root.
    fn composite(&mut self, what: &str) {
        let message = format!("Invalid value: \"\": {} {what}", quoted(self.path.as_str()));
        let error = FieldError::new(path::shown(self.prefix), CauseReason::Invalid, message);
        self.errors.push(error);
    }

    fn text(&mut self, node: &Node, text: &str) {
        self.text_limits(node, text);
        if let Some((name, format)) = &node.format
            && !format.accepts(text)
        {
            let shown = quoted(text);
            let path = self.path.as_str();
            let message =
                format!("Invalid value: {shown}: {path} in body must be of type {name}: {shown}");
            self.push(CauseReason::TypeInvalid, message);
        }
    }

    /// Only the first violated one is reported.
    fn text_limits(&mut self, node: &Node, text: &str) {
        let checks = &node.checks;
        let longer = |limit: u64| text.len() as u64 > limit && text.chars().count() as u64 > limit;
        if let Some(limit) = checks.max_length.filter(|limit| longer(*limit)) {
            let unit = if limit == 1 { "byte" } else { "bytes" };
            self.push(
                CauseReason::TooLong,
                format!("Too long: may not be more than {limit} {unit}"),
            );
            return;
        }
        let shorter = |limit: u64| (text.chars().count() as u64) < limit;
        if let Some(limit) = checks.min_length.filter(|limit| shorter(*limit)) {
            self.invalid(&quoted(text), &format!("should be at least {limit} chars long"));
            return;
        }
        if let Some((pattern, regex)) = &checks.pattern
            && !regex.is_match(text)
        {
            self.invalid(&quoted(text), &format!("should match '{pattern}'"));
        }
    }

    fn number(&mut self, node: &Node, number: &serde_json::Number, value: &Value) {
        let path = self.path.as_str();
        for message in number::refused(&node.checks, number, &shown(value), path) {
            self.push(CauseReason::Invalid, message);
        }
    }

    fn list(&mut self, node: &Node, items: &[Value], old: Option<&Value>) {
        if let Some(child) = &node.items {
            let old = Correlated::new(&node.list, old);
            for (index, item) in items.iter().enumerate() {
                let mark = self.path.mark();
                self.path.index(index);
                self.node(child, item, old.of(item));
                self.path.back(mark);
            }
        }
        let count = items.len() as u64;
        if let Some(limit) = node.checks.min_items.filter(|limit| count < *limit) {
            self.invalid(&count.to_string(), &format!("should have at least {limit} items"));
        }
        if let Some(limit) = node.checks.max_items.filter(|limit| count > *limit) {
            self.too_many(count, limit);
        }
    }

    fn too_many(&mut self, count: u64, limit: u64) {
        let unit = if limit == 1 { "item" } else { "items" };
        self.push(
            CauseReason::TooMany,
            format!("Too many: {count}: must have at most {limit} {unit}"),
        );
    }

    fn allowed(&mut self, node: &Node, value: &Value) {
        let allowed = &node.checks.allowed;
        if allowed.is_empty() || allowed.iter().any(|choice| number::same(choice, value)) {
            return;
        }
        let choices: Vec<String> =
            allowed.iter().map(|choice| quoted(&choice_text(choice))).collect();
        let message = format!(
            "Unsupported value: {}: supported values: {}",
            shown(value),
            choices.join(", ")
        );
        self.push(CauseReason::NotSupported, message);
    }

    fn object(&mut self, node: &Node, map: &Map<String, Value>, old: Option<&Value>) {
        let count = map.len() as u64;
        if let Some(limit) = node.checks.min_properties.filter(|limit| count < *limit) {
            self.invalid(&count.to_string(), &format!("should have at least {limit} properties"));
        }
        if let Some(limit) = node.checks.max_properties.filter(|limit| count > *limit) {
            self.too_many(count, limit);
        }
        let old = old.and_then(Value::as_object);
        if matches!(node.additional, Additional::Schema(_)) || !node.properties.is_empty() {
            for (name, value) in map {
                let Some(child) = node.field(name) else { continue };
                let mark = self.path.mark();
                self.path.field(name);
                self.node(child, value, old.and_then(|old| old.get(name)));
                self.path.back(mark);
            }
        }
        for name in node.checks.required.iter().filter(|name| !map.contains_key(*name)) {
            let mark = self.path.mark();
            self.path.field(name);
            self.push(CauseReason::Required, "Required value".to_owned());
            self.path.back(mark);
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_i64().is_some() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The format that upstream infers from a value.
fn format_of(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => "",
    }
}

fn choice_text(choice: &Value) -> String {
    match choice {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            json(choice)
        }
    }
}

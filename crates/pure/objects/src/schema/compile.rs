//! From `openAPIV3Schema` to compiled nodes; what is not structural or not served is refused with its path.
use super::declare::{below, declare};
use super::error::{CauseReason, FieldError};
use super::format::Format;
use super::node::{Additional, Below, Bound, Checks, Kind, Node};
use super::rule::Rule;
use crate::cel::{Decl, ListKind, re2};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How deep a schema may nest.
const MAX_DEPTH: usize = 64;
/// How many nodes a schema may have.
const MAX_NODES: usize = 100_000;
const UNSUPPORTED: [&str; 8] = [
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "id",
    "$schema",
    "x-kubernetes-unions",
];

/// Compiles the schema of a version's root object.
pub(super) fn compile(openapi: &Value) -> Result<Node, Vec<FieldError>> {
    let mut compiler = Compiler { errors: Vec::new(), depth: 0, nodes: 0 };
    let mut root = compiler.node(openapi, "openAPIV3Schema", Role::Root);
    if root.kind != Some(Kind::Object) && compiler.errors.is_empty() {
        let detail = "Invalid value: must be object at the root";
        compiler.refuse("openAPIV3Schema.type".to_owned(), CauseReason::Invalid, detail);
    }
    if compiler.errors.is_empty() {
        compiler.rules(openapi, &mut root, "openAPIV3Schema");
        compiler.defaults(&root, "openAPIV3Schema");
    }
    if compiler.errors.is_empty() { Ok(root) } else { Err(compiler.errors) }
}

/// Where a node stands: branches of `anyOf` and the like only validate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Root,
    Field,
    Item,
    Branch,
}

struct Compiler {
    errors: Vec<FieldError>,
    depth: usize,
    nodes: usize,
}

impl Compiler {
    fn refuse(&mut self, path: String, reason: CauseReason, message: impl Into<String>) {
        self.errors.push(FieldError::new(path, reason, message));
    }

    fn node(&mut self, raw: &Value, path: &str, role: Role) -> Node {
        self.nodes += 1;
        self.depth += 1;
        let empty = Map::new();
        let map = raw.as_object().unwrap_or_else(|| {
            self.refuse(
                path.to_owned(),
                CauseReason::TypeInvalid,
                "Invalid value: must be an object",
            );
            &empty
        });
        let map = if self.depth > MAX_DEPTH || self.nodes > MAX_NODES {
            self.refuse(
                path.to_owned(),
                CauseReason::TooMany,
                format!("Too many: schema exceeds {MAX_DEPTH} levels or {MAX_NODES} nodes"),
            );
            &empty
        } else {
            map
        };
        self.unsupported(map, path, role);
        let mut node = self.fields(map, path, role);
        node.decl = Arc::new(declare(&node, role == Role::Root || node.embedded));
        node.below = below(&node);
        self.depth -= 1;
        node
    }

    fn unsupported(&mut self, map: &Map<String, Value>, path: &str, role: Role) {
        for key in UNSUPPORTED.into_iter().filter(|key| map.contains_key(*key)) {
            self.refuse(
                format!("{path}.{key}"),
                CauseReason::Forbidden,
                format!("Forbidden: {key} is not supported"),
            );
        }
        if flag(map, "uniqueItems") {
            let detail = "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.refuse(format!("{path}.uniqueItems"), CauseReason::Forbidden, detail);
        }
        if map.get("additionalProperties") == Some(&Value::Bool(false)) {
            let detail = "Forbidden: additionalProperties cannot be set to false";
            self.refuse(format!("{path}.additionalProperties"), CauseReason::Forbidden, detail);
        }
        if map.contains_key("additionalProperties") && map.contains_key("properties") {
            let detail = "Forbidden: additionalProperties and properties are mutual exclusive";
            self.refuse(format!("{path}.additionalProperties"), CauseReason::Forbidden, detail);
        }
        if role != Role::Branch {
            return;
        }
        let structural = [
            "default",
            "nullable",
            "additionalProperties",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
            "x-kubernetes-validations",
        ];
        for key in structural.into_iter().filter(|key| map.contains_key(*key)) {
            self.refuse(
                format!("{path}.{key}"),
                CauseReason::Forbidden,
                "Forbidden: must be undefined to be structural",
            );
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, path: &str, role: Role) -> Node {
        let int_or_string = flag(map, "x-kubernetes-int-or-string");
        let preserve = flag(map, "x-kubernetes-preserve-unknown-fields");
        let kind = if int_or_string {
            Some(Kind::IntOrString)
        } else {
            self.kind(map, path, role, preserve)
        };
        let mut properties = BTreeMap::new();
        if let Some(raw) = map.get("properties").and_then(Value::as_object) {
            let child = if role == Role::Branch { Role::Branch } else { Role::Field };
            for (name, raw) in raw {
                let node = self.node(raw, &format!("{path}.properties[{name}]"), child);
                properties.insert(name.clone(), node);
            }
        }
        let items = map.get("items").map(|raw| {
            let child = if role == Role::Branch { Role::Branch } else { Role::Item };
            Box::new(self.node(raw, &format!("{path}.items"), child))
        });
        if kind == Some(Kind::Array) && items.is_none() && role != Role::Branch {
            self.refuse(
                format!("{path}.items"),
                CauseReason::Required,
                "Required value: must be specified",
            );
        }
        let additional = match map.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(raw @ Value::Object(_)) => Additional::Schema(Box::new(self.node(
                raw,
                &format!("{path}.additionalProperties"),
                Role::Field,
            ))),
            _ => Additional::Absent,
        };
        Node {
            kind,
            format: self.format(map, path),
            nullable: flag(map, "nullable"),
            default: map.get("default").filter(|default| !default.is_null()).cloned(),
            properties,
            additional,
            items,
            preserve,
            embedded: flag(map, "x-kubernetes-embedded-resource"),
            list: self.list_kind(map, path),
            checks: self.checks(map, path),
            rules: Vec::new(),
            decl: Arc::new(Decl::Opaque),
            below: Below::default(),
        }
    }

    fn kind(
        &mut self,
        map: &Map<String, Value>,
        path: &str,
        role: Role,
        preserve: bool,
    ) -> Option<Kind> {
        let name = map.get("type").and_then(Value::as_str).unwrap_or_default();
        let kind = match name {
            "object" => Kind::Object,
            "array" => Kind::Array,
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "" => {
                if role != Role::Branch && !(preserve && role != Role::Root) {
                    let place = match role {
                        Role::Root => "at the root",
                        Role::Item => "for specified array items",
                        Role::Field | Role::Branch => "for specified object fields",
                    };
                    let detail = format!("Required value: must not be empty {place}");
                    self.refuse(format!("{path}.type"), CauseReason::Required, detail);
                }
                return None;
            }
            other => {
                let shown = super::gofmt::quoted(other);
                let known = r#""array", "boolean", "integer", "number", "object", "string""#;
                let detail = format!("Unsupported value: {shown}: supported values: {known}");
                self.refuse(format!("{path}.type"), CauseReason::NotSupported, detail);
                return None;
            }
        };
        Some(kind)
    }

    fn format(&mut self, map: &Map<String, Value>, path: &str) -> Option<(String, Format)> {
        let name = map.get("format").and_then(Value::as_str)?;
        match Format::named(name) {
            Ok(format) => format.map(|format| (name.to_owned(), format)),
            Err(detail) => {
                self.refuse(
                    format!("{path}.format"),
                    CauseReason::Forbidden,
                    format!("Forbidden: {detail}"),
                );
                None
            }
        }
    }

    fn list_kind(&mut self, map: &Map<String, Value>, path: &str) -> ListKind {
        match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
            None | Some("atomic") => ListKind::Atomic,
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys: Vec<String> = texts(map, "x-kubernetes-list-map-keys");
                if keys.is_empty() {
                    let detail =
                        "Required value: must not be empty if x-kubernetes-list-type is map";
                    self.refuse(
                        format!("{path}.x-kubernetes-list-map-keys"),
                        CauseReason::Required,
                        detail,
                    );
                }
                ListKind::Map(keys)
            }
            Some(other) => {
                let shown = super::gofmt::quoted(other);
                let detail = format!(
                    r#"Unsupported value: {shown}: supported values: "atomic", "map", "set""#
                );
                self.refuse(
                    format!("{path}.x-kubernetes-list-type"),
                    CauseReason::NotSupported,
                    detail,
                );
                ListKind::Atomic
            }
        }
    }

    fn checks(&mut self, map: &Map<String, Value>, path: &str) -> Checks {
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        let bound = |key: &str, exclusive: &str| {
            let value = map.get(key).and_then(Value::as_f64)?;
            Some(Bound { value, exclusive: flag(map, exclusive) })
        };
        Checks {
            required: texts(map, "required"),
            allowed: map.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            pattern: self.pattern(map, path),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: map
                .get("multipleOf")
                .and_then(Value::as_f64)
                .filter(|factor| *factor > 0.0),
            all_of: self.branches(map, "allOf", path),
            any_of: self.branches(map, "anyOf", path),
            one_of: self.branches(map, "oneOf", path),
            not: map
                .get("not")
                .map(|raw| Box::new(self.node(raw, &format!("{path}.not"), Role::Branch))),
        }
    }

    fn pattern(&mut self, map: &Map<String, Value>, path: &str) -> Option<(String, regex::Regex)> {
        let pattern =
            map.get("pattern").and_then(Value::as_str).filter(|pattern| !pattern.is_empty())?;
        match re2::compile(pattern) {
            Ok(regex) => Some((pattern.to_owned(), regex)),
            Err(error) => {
                let shown = super::gofmt::quoted(pattern);
                let detail = format!(
                    "Invalid value: {shown}: must be a valid regular expression, but isn't: {error}"
                );
                self.refuse(format!("{path}.pattern"), CauseReason::Invalid, detail);
                None
            }
        }
    }

    fn branches(&mut self, map: &Map<String, Value>, key: &str, path: &str) -> Vec<Node> {
        let raw = map.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        (0..)
            .zip(raw)
            .map(|(index, raw): (usize, _)| {
                self.node(raw, &format!("{path}.{key}[{index}]"), Role::Branch)
            })
            .collect()
    }

    /// Compiles the rules of the structural nodes, which all have their types now.
    fn rules(&mut self, raw: &Value, node: &mut Node, path: &str) {
        let entries = raw.get("x-kubernetes-validations").and_then(Value::as_array);
        let mut rules = Vec::new();
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            match Rule::compile(entry, node, &format!("{path}.x-kubernetes-validations[{index}]")) {
                Ok(rule) => rules.push(rule),
                Err(errors) => self.errors.extend(errors),
            }
        }
        node.rules = rules;
        let mut any = !node.rules.is_empty();
        for (name, child) in &mut node.properties {
            self.rules(&raw["properties"][name], child, &format!("{path}.properties[{name}]"));
            any |= child.below.rules;
        }
        if let Some(items) = &mut node.items {
            self.rules(&raw["items"], items, &format!("{path}.items"));
            any |= items.below.rules;
        }
        if let Additional::Schema(child) = &mut node.additional {
            self.rules(
                &raw["additionalProperties"],
                child,
                &format!("{path}.additionalProperties"),
            );
            any |= child.below.rules;
        }
        node.below.rules = any;
    }

    /// Checks that every default fits its own schema.
    fn defaults(&mut self, node: &Node, path: &str) {
        if let Some(default) = &node.default {
            let mut default = default.clone();
            super::defaults::fill(&mut default, node);
            for error in super::structure::check(node, &default, None, &format!("{path}.default")) {
                self.errors.push(error);
            }
        }
        for (name, child) in &node.properties {
            self.defaults(child, &format!("{path}.properties[{name}]"));
        }
        if let Some(items) = &node.items {
            self.defaults(items, &format!("{path}.items"));
        }
        if let Some(child) = node.additional.schema() {
            self.defaults(child, &format!("{path}.additionalProperties"));
        }
    }
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn texts(map: &Map<String, Value>, key: &str) -> Vec<String> {
    let items = map.get(key).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

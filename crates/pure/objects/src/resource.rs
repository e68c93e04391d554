//! What one served resource is: names, scope, selectable fields, columns, schema.
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::jsonpath::JsonPath;
use crate::schema::Schema;

/// Computes one built-in column's cell from an object and the time now, in seconds.
pub type CellFn = fn(&Value, i64) -> Value;

/// Where a column's cell comes from.
#[derive(Clone)]
pub enum Cell {
    /// A path into the object.
    Path(JsonPath),
    /// A function of the object.
    Function(CellFn),
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({path:?})"),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

/// One column of a Table.
#[derive(Debug, Clone)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `date` …
    pub kind: String,
    /// The OpenAPI format, or "".
    pub format: String,
    /// What it shows.
    pub description: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i64,
    /// The value.
    pub cell: Cell,
}

/// A field that field selectors may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectableField {
    /// As the selector writes it, e.g. `status.phase`.
    pub label: String,
    /// The keys that lead to it.
    pub path: Vec<String>,
}

impl SelectableField {
    /// A field whose label is its dotted path.
    pub fn dotted(label: &str) -> Self {
        Self { label: label.to_owned(), path: label.split('.').map(str::to_owned).collect() }
    }

    /// The field's value as a selector compares it; absent is "".
    pub fn read(&self, object: &Value) -> String {
        let value = self.path.iter().try_fold(object, |v, key| v.get(key));
        match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(
                other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => other.to_string(),
        }
    }
}

/// One served resource.
#[derive(Debug)]
pub struct Resource {
    /// `plural.group`, or the plural for the core group: as error messages name it.
    pub id: Arc<str>,
    /// The API group; "" is core.
    pub group: String,
    /// The served version.
    pub version: String,
    /// The name in paths.
    pub plural: String,
    /// The singular name.
    pub singular: String,
    /// The kind.
    pub kind: String,
    /// The kind of a list.
    pub list_kind: String,
    /// Short names for kubectl.
    pub short_names: Vec<String>,
    /// Categories for kubectl, e.g. `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Whether there is a status subresource.
    pub status: bool,
    /// Whether it comes from a CRD.
    pub custom: bool,
    /// Fields for selectors, besides `metadata.name` and `metadata.namespace`.
    pub fields: Arc<[SelectableField]>,
    /// Columns after Name.
    pub columns: Vec<Column>,
    /// The compiled schema, for CRDs.
    pub schema: Option<Schema>,
    /// The schema as OpenAPI, for CRDs.
    pub openapi: Option<Value>,
}

impl Resource {
    /// `plural.group` or `plural`.
    pub fn make_id(group: &str, plural: &str) -> Arc<str> {
        if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() }
    }

    /// `group/version`, or the version alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether this is the core or built-in resource with this id.
    pub fn is(&self, id: &str) -> bool {
        &*self.id == id
    }

    /// The verbs that discovery lists for the main resource.
    pub fn verbs(&self) -> &'static [&'static str] {
        if self.is("namespaces") {
            return &["create", "delete", "get", "list", "patch", "update", "watch"];
        }
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    }

    /// The subresources that are served.
    pub fn subresources(&self) -> Vec<(&'static str, &'static [&'static str])> {
        let mut subs: Vec<(&'static str, &'static [&'static str])> = Vec::new();
        if self.is("pods") {
            subs.push(("log", &["get"]));
        }
        if self.status {
            subs.push(("status", &["get", "patch", "update"]));
        }
        subs
    }
}

//! One rule of a CRD, and its place in the schema.

use serde_json::{Value, json};

/// One entry of `x-kubernetes-validations`.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    rule: String,
    message: String,
    field_path: Option<String>,
    message_expression: Option<String>,
}

impl Rule {
    pub(super) fn new(rule: &str, message: &str) -> Self {
        // One line: a rule is shown to people in errors and in the CRD.
        let rule = rule.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { rule, message: message.to_owned(), field_path: None, message_expression: None }
    }

    /// Ends the message with the value: of a failed rule the API server itself only names the type.
    pub(super) fn with_value(mut self) -> Self {
        let quoted = self.message.replace('\'', "\\'");
        self.message_expression = Some(format!("'{quoted}: ' + self"));
        self
    }

    /// Points the error at a field below the rule's place.
    pub(super) fn field(mut self, path: &str) -> Self {
        let quoted = path.contains('-');
        self.field_path = Some(if quoted { format!("['{path}']") } else { format!(".{path}") });
        self
    }
}

/// The schema at a dotted path: `spec.env[]` is the items of `spec.env`, `spec.jobs{}` the values of `spec.jobs`.
pub(super) fn at<'a>(root: &'a mut Value, path: &str) -> &'a mut Value {
    let mut schema = root;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, inner) = if let Some(name) = part.strip_suffix("[]") {
            (name, Some("items"))
        } else if let Some(name) = part.strip_suffix("{}") {
            (name, Some("additionalProperties"))
        } else {
            (part, None)
        };
        schema = &mut schema["properties"][name];
        if let Some(inner) = inner {
            schema = &mut schema[inner];
        }
    }
    schema
}

/// Adds a rule at a path.
pub(super) fn add(root: &mut Value, path: &str, rule: Rule) {
    let mut entry = json!({"rule": rule.rule, "message": rule.message});
    if let Some(field_path) = rule.field_path {
        entry["fieldPath"] = json!(field_path);
    }
    if let Some(expression) = rule.message_expression {
        entry["messageExpression"] = json!(expression);
    }
    let schema = at(root, path);
    match schema.get_mut("x-kubernetes-validations").and_then(Value::as_array_mut) {
        Some(rules) => rules.push(entry),
        None => schema["x-kubernetes-validations"] = json!([entry]),
    }
}

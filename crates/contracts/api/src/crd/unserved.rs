//! Fields of the API that no part serves yet: in the schema, and refused by name at admission.
//!
//! Each issue that serves one removes it from its list; a test fails when a served field is still listed.

use super::rule::{Rule, add};
use serde_json::{Value, json};

/// Fields of Run: path below the root, and the CEL that finds the field absent.
pub(super) const RUN: &[(&str, &str)] = &[
    ("spec.env[].valueFrom.fileKeyRef", "!has(self.fileKeyRef)"),
    ("spec.env[].valueFrom.resourceFieldRef", "!has(self.resourceFieldRef)"),
];

/// Fields of Runtime.
pub(super) const RUNTIME: &[(&str, &str)] = &[("spec.workspace", "!has(self.workspace)")];

pub(super) fn add_run(root: &mut Value) {
    add_all(root, RUN);
}

pub(super) fn add_runtime(root: &mut Value) {
    add_all(root, RUNTIME);
}

fn add_all(root: &mut Value, fields: &[(&str, &str)]) {
    for (field, rule) in fields {
        let (parent, name) = field.rsplit_once('.').unwrap_or(("", field));
        let schema = super::rule::at(root, parent);
        if schema.pointer(&format!("/properties/{name}")).is_none() {
            // The shape comes with the part that serves the field.
            schema["properties"][name] = shape();
        }
        let shown = field.replace("[]", "");
        add(root, parent, Rule::new(rule, &format!("{shown} is not served yet")).field(name));
    }
}

/// Just enough of a shape for CEL to see the field: a rule can't name one without a type.
fn shape() -> Value {
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "description": "Not served yet.",
    })
}

//! The CRDs, generated from the types, the limits and the rules of this crate.
//!
//! `cargo xtask generate` writes them to `api/crds`; the local home installs them from here.

mod env;
mod input;
pub mod reference;
mod resources;
mod rule;
mod rules;
mod schema;
mod source;
mod unserved;
mod workflow;

use serde_json::{Value, json};

/// A CRD's name and the file that holds it under `api/crds`.
#[derive(Debug, Clone)]
pub struct Definition {
    /// File name, as the field's generators name it: `kruntimes.io_runs.yaml`.
    pub file: String,
    /// The CustomResourceDefinition.
    pub object: Value,
}

/// Every CRD, in the order of their kinds.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    vec![run(), runtime(), workflow()]
}

/// Every CRD as an object.
#[must_use]
pub fn all() -> Vec<Value> {
    definitions().into_iter().map(|definition| definition.object).collect()
}

fn run() -> Definition {
    let mut status = schema::of::<crate::RunStatus>();
    status["default"] = json!({"phase": "Pending"});
    let mut root = schema::root(
        "Run represents one execution: what to execute, and how it went.",
        &schema::of::<crate::RunSpec>(),
        &status,
    );
    rules::add_run(&mut root);
    source::add_run(&mut root);
    input::add_run(&mut root);
    resources::limit(&mut root, "spec.resources.requests");
    resources::bytes(&mut root, "spec.resources.limits.memory");
    resources::bytes(&mut root, "spec.resources.limits.disk");
    env::add_run(&mut root);
    unserved::add_run(&mut root);
    definition(
        &Names { kind: "Run", plural: "runs", short: "rn" },
        &root,
        &json!([
            column("Phase", ".status.phase", "string"),
            column("Assigned Pod", ".status.assignedPod", "string"),
            column("Runtime", ".spec.runtime", "string"),
            column("Age", ".metadata.creationTimestamp", "date"),
        ]),
        &json!([
            {"jsonPath": ".spec.runtime"},
            {"jsonPath": ".status.phase"},
            {"jsonPath": ".status.assignedPod"},
        ]),
    )
}

fn runtime() -> Definition {
    let mut root = schema::root(
        "Runtime defines a warm execution pool: pods that stand ready to execute Runs of the same namespace.",
        &schema::of::<crate::RuntimeSpec>(),
        &schema::of::<crate::RuntimeStatus>(),
    );
    rules::add_runtime(&mut root);
    rules::add_artifact_store(&mut root);
    resources::limit(&mut root, "spec.capacity.resources");
    env::add_runtime(&mut root);
    resources::bytes(&mut root, "spec.runLimits.memory");
    resources::bytes(&mut root, "spec.runLimits.disk");
    unserved::add_runtime(&mut root);
    definition(
        &Names { kind: "Runtime", plural: "runtimes", short: "rt" },
        &root,
        &json!([
            column("Image", ".spec.template.spec.containers[0].image", "string"),
            column("Replicas", ".spec.replicas", "integer"),
            column("Ready", ".status.readyReplicas", "integer"),
            column("Age", ".metadata.creationTimestamp", "date"),
        ]),
        &json!([]),
    )
}

fn workflow() -> Definition {
    let mut status = schema::of::<crate::WorkflowStatus>();
    status["default"] = json!({"phase": "Pending"});
    let mut root = schema::root(
        "Workflow orchestrates child Runs: jobs of steps, each step a Run.",
        &schema::of::<crate::WorkflowSpec>(),
        &status,
    );
    workflow::add(&mut root);
    definition(
        &Names { kind: "Workflow", plural: "workflows", short: "wf" },
        &root,
        &json!([
            column("Phase", ".status.phase", "string"),
            column("Age", ".metadata.creationTimestamp", "date"),
        ]),
        &json!([{"jsonPath": ".status.phase"}]),
    )
}

struct Names {
    kind: &'static str,
    plural: &'static str,
    short: &'static str,
}

fn column(name: &str, path: &str, kind: &str) -> Value {
    json!({"name": name, "jsonPath": path, "type": kind})
}

fn definition(names: &Names, root: &Value, columns: &Value, selectable: &Value) -> Definition {
    let mut version = json!({
        "name": crate::VERSION,
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": root},
    });
    if selectable.as_array().is_some_and(|fields| !fields.is_empty()) {
        version["selectableFields"] = selectable.clone();
    }
    Definition {
        file: format!("{}_{}.yaml", crate::GROUP, names.plural),
        object: json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", names.plural, crate::GROUP)},
            "spec": {
                "group": crate::GROUP,
                "names": {
                    "kind": names.kind,
                    "listKind": format!("{}List", names.kind),
                    "plural": names.plural,
                    "singular": names.kind.to_lowercase(),
                    "shortNames": [names.short],
                },
                "scope": "Namespaced",
                "versions": [version],
            },
        }),
    }
}

/// The text of a CRD as `api/crds` holds it: YAML whose scalars are JSON's, so that it reads the same everywhere.
#[must_use]
pub fn yaml(object: &Value) -> String {
    let mut text = String::from("# Generated by `cargo xtask generate`. Do not edit.\n");
    write_yaml(object, 0, &mut text);
    text
}

/// The text of a CRD as the chart holds it: Helm keeps it when the release goes, and finds nothing of its own to expand.
#[must_use]
pub fn template(object: &Value) -> String {
    let mut object = object.clone();
    object["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    yaml(&object).replace("{{", r#"{{ "{{" }}"#)
}

fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                text.push_str(&format!("{indent}{}:", scalar(key)));
                write_child(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut nested = String::new();
                if is_nested(item) {
                    write_yaml(item, depth + 1, &mut nested);
                    let first = nested.trim_start();
                    text.push_str(&format!("{indent}- {first}"));
                } else {
                    text.push_str(&format!("{indent}- {item}\n"));
                }
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => text.push_str(&format!("{indent}{value}\n")),
    }
}

fn write_child(value: &Value, depth: usize, text: &mut String) {
    if is_nested(value) {
        text.push('\n');
        write_yaml(value, depth + 1, text);
    } else {
        text.push_str(&format!(" {value}\n"));
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(object) => !object.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A key without quotes where YAML reads it as a string either way.
fn scalar(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&key);
    if plain { key.to_owned() } else { Value::from(key).to_string() }
}

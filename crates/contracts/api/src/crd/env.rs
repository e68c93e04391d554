//! `spec.env` of a Run and what a Runtime allows in it: text, fields of the Run, keys of Secrets and ConfigMaps.
//!
//! Names and keys are held to Kubernetes' own formats by the schema, for they become paths in a pod.

use super::rule::{Rule, add, at};
use crate::limits;
use serde_json::{Value, json};

/// A DNS subdomain: the name of a Secret or ConfigMap.
const NAME_PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A key of a Secret or ConfigMap (apimachinery `validation.IsConfigMapKey`).
const KEY_PATTERN: &str = "^[-._a-zA-Z0-9]+$";
/// A field of a Run that a variable may hold, escaped for a string of CEL.
const FIELD_PATH: &str = r"^metadata[.](name|namespace|uid|labels\\['([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'\\])$";

const VALUE_FROM: &str = "spec.env[].valueFrom";

pub(super) fn add_run(root: &mut Value) {
    describe(root);
    limit(root);
    let total = limits::TEXT_TOTAL_CHARS;
    let sum = format!(
        "self.map(e, e.name.size() + (has(e.value) ? e.value.size() : 0)).sum() <= {total}"
    );
    let message = format!("must have at most {total} characters of names and values in all");
    add(root, "spec.env", Rule::new(&sum, &message));
    add(
        root,
        "spec.env[]",
        Rule::new(
            "self.name.size() > 0 && !self.name.contains('=')",
            "an environment variable's name must not be empty nor contain '='",
        )
        .field("name"),
    );
    add(
        root,
        "spec.env[]",
        Rule::new(
            "!has(self.valueFrom) || !has(self.value) || self.value == ''",
            "value and valueFrom exclude each other: set one of them",
        )
        .field("valueFrom"),
    );
    add(
        root,
        VALUE_FROM,
        Rule::new(
            "[has(self.fieldRef), has(self.configMapKeyRef), has(self.secretKeyRef),
                has(self.fileKeyRef), has(self.resourceFieldRef)].filter(set, set).size() == 1",
            "must have exactly one of fieldRef, configMapKeyRef and secretKeyRef",
        ),
    );
    for reference in ["configMapKeyRef", "secretKeyRef"] {
        add(
            root,
            &format!("{VALUE_FROM}.{reference}.key"),
            Rule::new("self != '.' && !self.startsWith('..')", "must not be . nor begin with ..")
                .with_value(),
        );
    }
    add(
        root,
        &format!("{VALUE_FROM}.fieldRef.fieldPath"),
        Rule::new(
            &format!(r#"self.matches("{FIELD_PATH}")"#),
            "must be metadata.name, metadata.namespace, metadata.uid or metadata.labels['<key>'] of the Run",
        )
        .with_value(),
    );
    add(
        root,
        &format!("{VALUE_FROM}.fieldRef"),
        Rule::new("!has(self.apiVersion) || self.apiVersion == 'v1'", "must be v1 or absent")
            .field("apiVersion"),
    );
}

/// What Kubernetes says of these fields is about pods.
fn describe(root: &mut Value) {
    for (path, text) in [
        (
            "spec.env[]",
            "One environment variable: `value`, or `valueFrom` for what should not stand in the Run.",
        ),
        (
            "spec.env[].name",
            "Name of the variable, not empty and without `=`. Example: `LOG_LEVEL`.",
        ),
        // In a container Kubernetes expands `$(NAME)`; here a value is what it says.
        (
            "spec.env[].value",
            "Its value, passed as it is: `$(NAME)` and `$NAME` are not expanded. Default: empty.",
        ),
        (
            VALUE_FROM,
            "Where the value comes from; excludes `value`. It is read anew at the start of each attempt.",
        ),
        (
            "spec.env[].valueFrom.fieldRef",
            "A field of this Run. A label that it does not have gives an empty value.",
        ),
        (
            "spec.env[].valueFrom.fieldRef.fieldPath",
            "`metadata.name`, `metadata.namespace`, `metadata.uid` or `metadata.labels['<key>']`.",
        ),
        (
            "spec.env[].valueFrom.configMapKeyRef",
            "A key of a ConfigMap of the Run's namespace that `spec.allowedConfigMaps` of the Runtime names.",
        ),
        (
            "spec.env[].valueFrom.secretKeyRef",
            "A key of a Secret of the Run's namespace that `spec.allowedSecrets` of the Runtime names.",
        ),
        ("spec.env[].valueFrom.fileKeyRef", "Not served yet."),
        ("spec.env[].valueFrom.resourceFieldRef", "Not served yet."),
    ] {
        at(root, path)["description"] = json!(text);
    }
    for reference in ["configMapKeyRef", "secretKeyRef"] {
        for (field, text) in [
            ("name", "Its name."),
            ("key", "The key. Its value must be UTF-8 text without NUL characters."),
            (
                "optional",
                "Leaves the variable out where the object or the key does not exist; otherwise the attempt fails. A \
                 name that the Runtime does not allow fails either way.",
            ),
        ] {
            at(root, &format!("{VALUE_FROM}.{reference}.{field}"))["description"] = json!(text);
        }
    }
}

/// Limits: the API server estimates the cost of a rule from the longest value, and refuses a CRD with a rule that may
/// cost too much.
fn limit(root: &mut Value) {
    at(root, "spec.env[].name")["maxLength"] = json!(limits::ENV_NAME_CHARS);
    let path = at(root, "spec.env[].valueFrom.fieldRef.fieldPath");
    path["maxLength"] = json!(limits::FIELD_PATH_CHARS);
    for reference in ["configMapKeyRef", "secretKeyRef"] {
        for (field, pattern) in [("name", NAME_PATTERN), ("key", KEY_PATTERN)] {
            let schema = at(root, &format!("{VALUE_FROM}.{reference}.{field}"));
            schema["minLength"] = json!(1);
            schema["maxLength"] = json!(limits::OBJECT_NAME_CHARS);
            schema["pattern"] = json!(pattern);
        }
    }
}

pub(super) fn add_runtime(root: &mut Value) {
    for list in ["spec.allowedSecrets", "spec.allowedConfigMaps"] {
        let schema = at(root, list);
        schema["x-kubernetes-list-type"] = json!("set");
        schema["items"]["minLength"] = json!(1);
        schema["items"]["maxLength"] = json!(limits::OBJECT_NAME_CHARS);
        schema["items"]["pattern"] = json!(NAME_PATTERN);
    }
}

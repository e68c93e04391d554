//! Structural schemas from the types: references inlined, what Kubernetes does not take removed.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const CONDITION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Condition";
const POD_TEMPLATE: &str = "io.k8s.api.core.v1.PodTemplateSpec";

/// The quantity pattern of Kubernetes (apimachinery `resource.Quantity`, as controller-gen writes it).
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
const REASON_PATTERN: &str = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";

/// The structural schema of a type.
pub(super) fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    let definitions =
        schema.pointer_mut("/components/schemas").map(Value::take).unwrap_or_default();
    let mut resolved = resolve(schema, &definitions);
    if let Some(object) = resolved.as_object_mut() {
        object.remove("components");
        object.remove("$schema");
    }
    mark_list_maps(&mut resolved);
    resolved
}

/// The schema of a whole object; `spec` is required.
pub(super) fn root(description: &str, spec: &Value, status: &Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    })
}

fn resolve(schema: Value, definitions: &Value) -> Value {
    match schema {
        Value::Object(object) => resolve_object(object, definitions),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| resolve(item, definitions)).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema,
    }
}

fn resolve_object(mut object: Map<String, Value>, definitions: &Value) -> Value {
    if let Some(Value::Array(all)) = object.get_mut("allOf")
        && all.len() == 1
        && let Some(Value::Object(only)) = all.pop()
    {
        object.remove("allOf");
        object.extend(only);
    }
    drop_null(&mut object);
    object.remove("title");
    drop_unsigned_format(&mut object);
    if let Some(Value::String(reference)) = object.remove("$ref") {
        let name = reference.rsplit('/').next().unwrap_or_default();
        let mut target = named(name, definitions);
        if let Some(target) = target.as_object_mut() {
            target.extend(object);
        }
        return target;
    }
    if let Some(values) = string_constants(&object) {
        let description = object.remove("description");
        let mut plain = json!({"type": "string", "enum": values});
        if let Some(description) = description {
            plain["description"] = description;
        }
        if let Some(default) = object.remove("default") {
            plain["default"] = default;
        }
        return plain;
    }
    Value::Object(
        object.into_iter().map(|(key, value)| (key, resolve(value, definitions))).collect(),
    )
}

/// An optional field is absent, never null: a null that is kept could walk around a rule on the field.
fn drop_null(object: &mut Map<String, Value>) {
    object.remove("nullable");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let Some(only) = types.pop().filter(|_| types.is_empty()) {
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(mut variants)) = object.remove("anyOf") else { return };
    let all = variants.len();
    variants.retain(|variant| variant["type"] != "null" && variant["enum"] != json!([null]));
    match (variants.len() < all, variants.len()) {
        (true, 1) => {
            if let Some(Value::Object(only)) = variants.pop() {
                let outer = std::mem::replace(object, only);
                object.extend(outer);
            }
        }
        _ => {
            object.insert("anyOf".to_owned(), Value::Array(variants));
        }
    }
}

/// A type that has a schema of its own in Kubernetes, or the definition as it stands.
fn named(name: &str, definitions: &Value) -> Value {
    match name {
        QUANTITY => json!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "x-kubernetes-int-or-string": true,
        }),
        INT_OR_STRING => json!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": true,
        }),
        OBJECT_META => json!({
            "type": "object",
            "properties": {
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        }),
        CONDITION => limit_condition(resolve(definitions[name].clone(), definitions)),
        POD_TEMPLATE => {
            let mut template = resolve(definitions[name].clone(), definitions);
            drop_descriptions(&mut template["properties"]["spec"]);
            template
        }
        _ => resolve(definitions[name].clone(), definitions),
    }
}

/// The limits of `metav1.Condition` that its Go markers carry.
fn limit_condition(mut condition: Value) -> Value {
    let properties = &mut condition["properties"];
    properties["type"]["maxLength"] = json!(316);
    properties["status"]["enum"] = json!(["True", "False", "Unknown"]);
    properties["reason"]["minLength"] = json!(1);
    properties["reason"]["maxLength"] = json!(1024);
    properties["reason"]["pattern"] = json!(REASON_PATTERN);
    properties["message"]["maxLength"] = json!(32768);
    properties["observedGeneration"]["minimum"] = json!(0);
    condition
}

/// `format: uint32` and its like are not formats of OpenAPI; the minimum beside them says the same.
fn drop_unsigned_format(object: &mut Map<String, Value>) {
    if object.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint"))
    {
        object.remove("format");
    }
}

/// The constants of an enum whose variants are documented.
fn string_constants(object: &Map<String, Value>) -> Option<Vec<Value>> {
    let variants = object.get("oneOf")?.as_array()?;
    variants
        .iter()
        .map(|variant| variant.get("const").or_else(|| variant.pointer("/enum/0")).cloned())
        .collect()
}

/// Conditions are a list-map by type: two field managers may own different ones.
fn mark_list_maps(schema: &mut Value) {
    if let Some(conditions) = schema.pointer_mut("/properties/conditions") {
        conditions["x-kubernetes-list-type"] = json!("map");
        conditions["x-kubernetes-list-map-keys"] = json!(["type"]);
    }
}

/// A pod's fields are documented by Kubernetes; here their text would only fill etcd.
fn drop_descriptions(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("description").is_some_and(Value::is_string) {
                object.remove("description");
            }
            object.values_mut().for_each(drop_descriptions);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_descriptions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

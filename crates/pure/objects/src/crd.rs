//! CustomResourceDefinitions: from the object to a served resource.
use serde_json::{Value, json};

use crate::columns;
use crate::json;
use crate::jsonpath::JsonPath;
use crate::resource::{Cell, Column, Resource, SelectableField};
use crate::schema::{CauseReason, FieldError, Schema};

const OWN_GROUP: &str = "kruntimes.io";
const RULES: &str = "x-kubernetes-validations";

/// Compiles a CRD, or says what in it is wrong or not served.
pub fn compile(crd: &Value) -> Result<Resource, Vec<FieldError>> {
    let text = |path: &[&str]| json::text(crd, path).to_owned();
    let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
    let kind = text(&["spec", "names", "kind"]);
    let mut errors = required_names(crd);
    let id = Resource::make_id(&group, &plural);
    if errors.is_empty() && text(&["metadata", "name"]) != *id {
        let message = format!(
            "Invalid value: {:?}: must be spec.names.plural+\".\"+spec.group",
            text(&["metadata", "name"])
        );
        errors.push(FieldError::new("metadata.name", CauseReason::Invalid, message));
    }
    let Some((at, version)) = served_version(crd, &mut errors) else { return Err(errors) };
    let path = format!("spec.versions[{at}]");
    let openapi = json::at(version, &["schema", "openAPIV3Schema"]);
    let schema = match openapi.map(Schema::compile) {
        None => {
            let message = "Required value: schemas are required";
            errors.push(FieldError::new(
                format!("{path}.schema.openAPIV3Schema"),
                CauseReason::Required,
                message,
            ));
            None
        }
        Some(Ok(schema)) => Some(schema),
        Some(Err(refused)) => {
            errors.extend(refused.into_iter().map(|e| prefixed(&path, e)));
            None
        }
    };
    let columns = match version.get("additionalPrinterColumns").and_then(Value::as_array) {
        Some(list) if !list.is_empty() => printer_columns(list, &path, &mut errors),
        Some(_) | None => vec![columns::age()],
    };
    let fields = selectable_fields(version);
    if !errors.is_empty() {
        return Err(errors);
    }
    let or =
        |path: &[&str], other: String| Some(text(path)).filter(|t| !t.is_empty()).unwrap_or(other);
    Ok(Resource {
        id,
        version: json::text(version, &["name"]).to_owned(),
        singular: or(&["spec", "names", "singular"], kind.to_lowercase()),
        list_kind: or(&["spec", "names", "listKind"], format!("{kind}List")),
        short_names: strings(json::at(crd, &["spec", "names", "shortNames"])),
        categories: strings(json::at(crd, &["spec", "names", "categories"])),
        namespaced: text(&["spec", "scope"]) == "Namespaced",
        status: json::at(version, &["subresources", "status"]).is_some(),
        custom: true,
        fields: fields.into(),
        columns,
        schema,
        openapi: openapi.cloned(),
        group,
        plural,
        kind,
    })
}

/// The error of a schema, with its place in the CRD.
fn prefixed(path: &str, error: FieldError) -> FieldError {
    FieldError { path: format!("{path}.schema.{}", error.path), ..error }
}

/// Refuses the CEL rules of CRDs that are not ours: their cost is not bounded yet.
pub fn foreign_rules(crd: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if json::text(crd, &["spec", "group"]) == OWN_GROUP {
        return errors;
    }
    let versions = json::at(crd, &["spec", "versions"]).and_then(Value::as_array);
    for (at, version) in versions.into_iter().flatten().enumerate() {
        if let Some(schema) = json::at(version, &["schema", "openAPIV3Schema"]) {
            let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
            find_rules(schema, &path, &mut errors);
        }
    }
    errors
}

fn find_rules(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(map) = schema.as_object() {
        for (key, value) in map {
            let path = format!("{path}.{key}");
            if key == RULES {
                let message = format!("Forbidden: {RULES} are not served yet outside {OWN_GROUP}");
                errors.push(FieldError::new(path, CauseReason::Forbidden, message));
            } else {
                find_rules(value, &path, errors);
            }
        }
    }
    for (at, item) in schema.as_array().into_iter().flatten().enumerate() {
        find_rules(item, &format!("{path}[{at}]"), errors);
    }
}

fn required_names(crd: &Value) -> Vec<FieldError> {
    let required = [
        (["spec", "group", ""], "spec.group"),
        (["spec", "scope", ""], "spec.scope"),
        (["spec", "names", "plural"], "spec.names.plural"),
        (["spec", "names", "kind"], "spec.names.kind"),
    ];
    let mut errors = Vec::new();
    for (path, label) in required {
        let path: Vec<&str> = path.into_iter().filter(|p| !p.is_empty()).collect();
        if json::text(crd, &path).is_empty() {
            errors.push(FieldError::new(label, CauseReason::Required, "Required value"));
        }
    }
    errors
}

/// The one served version; several are refused by name, since nothing converts between them here.
fn served_version<'c>(crd: &'c Value, errors: &mut Vec<FieldError>) -> Option<(usize, &'c Value)> {
    let versions = json::at(crd, &["spec", "versions"]).and_then(Value::as_array);
    let served: Vec<_> = versions
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, v)| v.get("served") == Some(&Value::Bool(true)))
        .collect();
    match served.as_slice() {
        [(at, one)] if one.get("storage") == Some(&Value::Bool(true)) => Some((*at, *one)),
        [_] => {
            let message = "Invalid value: the served version must be the storage version here";
            errors.push(FieldError::new("spec.versions", CauseReason::Invalid, message));
            None
        }
        [] => {
            let message = "Required value: must have at least one served version";
            errors.push(FieldError::new("spec.versions", CauseReason::Required, message));
            None
        }
        many => {
            let message = format!(
                "Forbidden: more than one served version ({}) is not served yet",
                many.iter().map(|(_, v)| json::text(v, &["name"])).collect::<Vec<_>>().join(", ")
            );
            errors.push(FieldError::new("spec.versions", CauseReason::Forbidden, message));
            None
        }
    }
}

fn printer_columns(list: &[Value], path: &str, errors: &mut Vec<FieldError>) -> Vec<Column> {
    let mut columns = Vec::new();
    for (at, column) in list.iter().enumerate() {
        match JsonPath::parse(json::text(column, &["jsonPath"])) {
            Err(why) => errors.push(FieldError::new(
                format!("{path}.additionalPrinterColumns[{at}].jsonPath"),
                CauseReason::Invalid,
                format!("Invalid value: {why}"),
            )),
            Ok(cell) => columns.push(Column {
                name: json::text(column, &["name"]).to_owned(),
                kind: json::text(column, &["type"]).to_owned(),
                format: json::text(column, &["format"]).to_owned(),
                description: json::text(column, &["description"]).to_owned(),
                priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
                cell: Cell::Path(cell),
            }),
        }
    }
    columns
}

fn selectable_fields(version: &Value) -> Vec<SelectableField> {
    version
        .get("selectableFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|f| SelectableField::dotted(json::text(f, &["jsonPath"]).trim_start_matches('.')))
        .collect()
}

fn strings(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// The status of a CRD that is served.
pub fn status(crd: &Value, now: &str) -> Value {
    let names = json::at(crd, &["spec", "names"]).cloned().unwrap_or_else(|| json!({}));
    let stored: Vec<&str> = json::at(crd, &["spec", "versions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|v| v.get("storage") == Some(&Value::Bool(true)))
        .map(|v| json::text(v, &["name"]))
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({ "type": kind, "status": "True", "lastTransitionTime": now,
            "reason": reason, "message": message })
    };
    json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
    })
}

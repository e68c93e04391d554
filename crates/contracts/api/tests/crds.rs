//! The committed CRDs are the ones that the types generate.

use kruntimes_api::crd;
use serde_json::Value;
use std::path::Path;

#[test]
fn committed_crds_are_fresh() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../api/crds");
    let definitions = crd::definitions();
    assert_eq!(definitions.len(), 3);
    for definition in definitions {
        let path = directory.join(&definition.file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let generated = crd::yaml(&definition.object);
        assert!(
            committed == generated,
            "{} differs from the types: run `cargo xtask generate`",
            path.display()
        );
    }
}

#[test]
fn the_templates_of_the_chart_are_fresh() {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../charts/kruntimes/templates/crds");
    for definition in crd::definitions() {
        let path = directory.join(&definition.file);
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == crd::template(&definition.object),
            "{} differs from the types: run `cargo xtask generate`",
            path.display()
        );
    }
}

/// Text like `${{ steps.a.outputs.b }}` in a description is no template of Helm's.
#[test]
fn helm_expands_nothing_in_a_crd() {
    let object = serde_json::json!({"metadata": {"name": "a"}, "text": "${{ x }}"});
    let text = crd::template(&object);
    assert!(text.contains(r#"text: "${{ "{{" }} x }}""#), "{text}");
    assert!(text.contains(r#""helm.sh/resource-policy": "keep""#), "{text}");
    assert!(!crd::yaml(&object).contains("resource-policy"));
}

/// Every `type` is one name and nothing may be null: a null that is kept could walk around a rule.
fn check_types(schema: &Value, path: &str) -> usize {
    let mut found = 0;
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                if key == "type" && !path.ends_with("/properties") {
                    assert!(value.is_string() && value != "null", "{path}/type is {value}");
                    found += 1;
                }
                assert!(
                    path.ends_with("/properties")
                        || !["nullable", "$ref", "oneOf"].contains(&key.as_str()),
                    "{path}/{key}"
                );
                found += check_types(value, &format!("{path}/{key}"));
            }
        }
        Value::Array(items) => {
            found += items.iter().map(|item| check_types(item, path)).sum::<usize>();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

#[test]
fn schemas_are_structural() {
    for definition in crd::definitions() {
        let schema = &definition.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(check_types(schema, "") > 50, "{}", definition.file);
    }
}

#[test]
fn the_api_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/api.md");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == crd::reference::markdown(),
        "docs/api.md differs from the CRDs: run `cargo xtask generate`"
    );
}

/// Every field below `schema` says what it means, and every optional one of a spec what holds without it.
fn check_docs(schema: &Value, path: &str, findings: &mut Vec<String>) -> usize {
    let mut found = 0;
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // Kubernetes documents its own types.
        if ["template", "conditions", "env", "egress"].contains(&name.as_str())
            && field["description"].is_string()
        {
            continue;
        }
        let text = field["description"].as_str().unwrap_or_default();
        if !text.ends_with('.') {
            findings
                .push(format!("{path} has no description that ends with a full stop: {text:?}"));
        }
        let tells = field.get("default").is_some()
            || required.contains(&Value::from(name.as_str()))
            || ["Default: ", "Refused: ", "Not served yet."].iter().any(|part| text.contains(part));
        if path.starts_with("spec.") && !tells {
            findings
                .push(format!("{path} does not say its default: end its doc with `Default: …`"));
        }
        found += 1
            + check_docs(field, &path, findings)
            + check_docs(&field["items"], &format!("{path}[]"), findings);
    }
    found
}

#[test]
fn every_field_is_documented() {
    let mut findings = Vec::new();
    for definition in crd::definitions() {
        let schema =
            &definition.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        let mut found = 0;
        for part in ["spec", "status"] {
            found += check_docs(&schema[part], part, &mut findings);
        }
        assert!(found > 5, "{} has {found} fields", definition.file);
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

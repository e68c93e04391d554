//! The committed CRDs are the ones that the types generate.

use kruntimes_api::crd;
use std::path::Path;

#[test]
fn committed_crds_are_fresh() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../api/crds");
    let definitions = crd::definitions();
    assert_eq!(definitions.len(), 2);
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

/// Every `type` is one name and nothing may be null: a null that is kept could walk around a rule.
fn check_types(schema: &serde_json::Value, path: &str) -> usize {
    let mut found = 0;
    match schema {
        serde_json::Value::Object(object) => {
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
        serde_json::Value::Array(items) => {
            found += items.iter().map(|item| check_types(item, path)).sum::<usize>();
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
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

//! Schemas that are refused, by name.

use super::super::Schema;
use super::compiled;
use serde_json::{Value, json};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn schemas_that_are_refused() {
    let at = |property: Value| json!({"type": "object", "properties": {"x": property}});
    let x = "openAPIV3Schema.properties[x]";
    for (schema, path, text) in [
        (json!({}), "openAPIV3Schema.type".to_owned(), "must not be empty at the root"),
        (
            json!({"type": "string"}),
            "openAPIV3Schema.type".to_owned(),
            "must be object at the root",
        ),
        (at(json!({})), format!("{x}.type"), "must not be empty for specified object fields"),
        (at(json!({"type": "text"})), format!("{x}.type"), "supported values"),
        (at(json!({"type": "array"})), format!("{x}.items"), "must be specified"),
        (
            at(json!({"type": "string", "pattern": "("})),
            format!("{x}.pattern"),
            "must be a valid regular expression",
        ),
        (
            at(json!({"type": "string", "format": "email"})),
            format!("{x}.format"),
            "format \"email\" is not served",
        ),
        (
            at(json!({"$ref": "#/x", "type": "object"})),
            format!("{x}.$ref"),
            "$ref is not supported",
        ),
        (
            at(
                json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
            ),
            format!("{x}.additionalProperties"),
            "mutual exclusive",
        ),
        (
            at(
                json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
            ),
            format!("{x}.x-kubernetes-list-map-keys"),
            "must not be empty",
        ),
        (
            at(json!({"type": "string", "x-kubernetes-validations": [{"rule": "self.y == 1"}]})),
            format!("{x}.x-kubernetes-validations[0].rule"),
            "type 'string' does not support field selection",
        ),
        (
            at(
                json!({"type": "string", "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".y"}]}),
            ),
            format!("{x}.x-kubernetes-validations[0].fieldPath"),
            "does not refer to a valid field",
        ),
        (
            at(
                json!({"type": "string", "x-kubernetes-validations": [{"rule": "true", "messageExpression": "1"}]}),
            ),
            format!("{x}.x-kubernetes-validations[0].messageExpression"),
            "must evaluate to a string",
        ),
        (
            at(json!({"type": "string", "maxLength": 1, "default": "ab"})),
            format!("{x}.default"),
            "may not be more than 1 byte",
        ),
        (
            at(
                json!({"type": "string", "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}),
            ),
            format!("{x}.allOf[0].x-kubernetes-validations"),
            "must be undefined to be structural",
        ),
    ] {
        let errors = Schema::compile(&schema).expect_err(&path);
        assert_eq!(errors[0].path, path, "{errors:?}");
        assert!(errors[0].message.contains(text), "{errors:?}");
    }
}

#[test]
fn deep_schemas_and_odd_values_do_not_overflow() {
    let mut deep = json!({"type": "string"});
    for _ in 0..500 {
        deep = json!({"type": "object", "properties": {"x": deep}});
    }
    assert!(Schema::compile(&deep).is_err());
    for odd in [json!(null), json!(1), json!("x"), json!([])] {
        assert!(Schema::compile(&odd).is_err());
        let schema =
            compiled(&json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
        let mut value = odd.clone();
        schema.default(&mut value);
        assert!(schema.prune(&mut value).is_empty());
        assert!(!schema.validate(&value, Some(&json!({}))).is_empty());
    }
}

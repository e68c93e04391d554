//! Each schema keyword, on both sides of its limit.

use super::super::CauseReason;
use super::{refused, texts, with_spec};
use serde_json::{Value, json};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_keyword_on_both_sides() {
    let long = "é".repeat(4);
    for (property, good, bad, text) in [
        (
            json!({"type": "string", "maxLength": 3}),
            json!("ééé"),
            json!(long),
            "spec.x: Too long: may not be more than 3 bytes",
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("é"),
            json!("ab"),
            "spec.x: Too long: may not be more than 1 byte",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("éé"),
            json!("é"),
            "spec.x: Invalid value: \"é\": spec.x in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("aa"),
            json!("ab"),
            "spec.x: Invalid value: \"ab\": spec.x in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "enum": ["A", "B"]}),
            json!("A"),
            json!("C"),
            "spec.x: Unsupported value: \"C\": supported values: \"A\", \"B\"",
        ),
        (
            json!({"type": "integer", "enum": [1, 2]}),
            json!(1),
            json!(3),
            "spec.x: Unsupported value: 3: supported values: \"1\", \"2\"",
        ),
        (
            json!({"type": "integer", "maximum": 65535}),
            json!(65535),
            json!(70000),
            "spec.x: Invalid value: 70000: spec.x in body should be less than or equal to 65535",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(1),
            json!(0),
            "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 5, "exclusiveMaximum": true}),
            json!(4),
            json!(5),
            "spec.x: Invalid value: 5: spec.x in body should be less than 5",
        ),
        (
            json!({"type": "number", "minimum": 0.5, "exclusiveMinimum": true}),
            json!(0.6),
            json!(0.5),
            "spec.x: Invalid value: 0.5: spec.x in body should be greater than 0.5",
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(9),
            json!(10),
            "spec.x: Invalid value: 10: spec.x in body should be a multiple of 3",
        ),
        (
            json!({"type": "number", "multipleOf": 0.1}),
            json!(0.3),
            json!(0.35),
            "spec.x: Invalid value: 0.35: spec.x in body should be a multiple of 0.1",
        ),
        (
            json!({"type": "array", "maxItems": 2, "items": {"type": "integer"}}),
            json!([1, 2]),
            json!([1, 2, 3]),
            "spec.x: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "integer"}}),
            json!([1]),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": ""}),
            json!({"a": "", "b": ""}),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": ""}),
            json!({}),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
        (
            json!({"type": "object", "required": ["y"], "properties": {"y": {"type": "string"}}}),
            json!({"y": ""}),
            json!({}),
            "spec.x.y: Required value",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("2026-11-24T05:00:00Z"),
            json!("now"),
            "spec.x: Invalid value: \"now\": spec.x in body must be of type date-time: \"now\"",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string", "maxLength": 1}}),
            json!({"k.k": "a"}),
            json!({"k.k": "ab"}),
            "spec.x.k.k: Too long: may not be more than 1 byte",
        ),
        (
            json!({"type": "array", "items": {"type": "string", "maxLength": 1}}),
            json!(["a", "b"]),
            json!(["a", "bb"]),
            "spec.x[1]: Too long: may not be more than 1 byte",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b"]),
            json!(["a", "b", "a", "a"]),
            "spec.x[2]: Duplicate value: \"a\"",
        ),
    ] {
        assert_eq!(refused(&property, &good), Vec::<String>::new(), "{property} {good}");
        assert_eq!(refused(&property, &bad), [text], "{property}");
    }
}

#[test]
fn each_type_refuses_the_others() {
    for (kind, good) in [
        ("string", json!("s")),
        ("integer", json!(-3)),
        ("integer", json!(3.0)),
        ("integer", json!(9_007_199_254_740_991.0)),
        ("number", json!(3)),
        ("number", json!(3.5)),
        ("boolean", json!(false)),
    ] {
        assert_eq!(refused(&json!({"type": kind}), &good), Vec::<String>::new(), "{kind} {good}");
    }
    for (kind, bad, got) in [
        ("string", json!(1), "integer"),
        ("string", json!(1.5), "number"),
        ("integer", json!(1.5), "number"),
        ("integer", json!(9_007_199_254_740_992.0), "number"),
        ("integer", json!("1"), "string"),
        ("number", json!("1"), "string"),
        ("boolean", json!("true"), "string"),
        ("string", json!(null), "null"),
        ("string", json!({}), "object"),
        ("string", json!([]), "array"),
        ("string", json!(true), "boolean"),
    ] {
        let text = format!(
            "spec.x: Invalid value: \"{got}\": spec.x in body must be of type {kind}: \"{got}\""
        );
        assert_eq!(refused(&json!({"type": kind}), &bad), [text], "{kind} {bad}");
    }
    assert_eq!(
        refused(&json!({"type": "string", "nullable": true}), &json!(null)),
        Vec::<String>::new()
    );
    let text =
        "spec.x: Invalid value: \"int64\": spec.x in body must be of type date-time: \"int64\"";
    assert_eq!(refused(&json!({"type": "string", "format": "date-time"}), &json!(1)), [text]);
}

#[test]
fn int_or_string_and_branches() {
    let quantity = json!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
        "pattern": "^[0-9]+m?$"
    });
    assert_eq!(refused(&quantity, &json!(5)), Vec::<String>::new());
    assert_eq!(refused(&quantity, &json!("5m")), Vec::<String>::new());
    assert_eq!(
        refused(&quantity, &json!("5x")),
        ["spec.x: Invalid value: \"5x\": spec.x in body should match '^[0-9]+m?$'"]
    );
    assert_eq!(
        refused(&quantity, &json!(true)),
        [
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer: \"boolean\"",
        ]
    );
    let one_of = json!({
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}]
    });
    assert_eq!(refused(&one_of, &json!({"a": ""})), Vec::<String>::new());
    assert_eq!(
        refused(&one_of, &json!({})),
        [
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found none valid",
            "spec.x.a: Required value",
        ]
    );
    assert_eq!(
        refused(&one_of, &json!({"a": "", "b": ""})),
        [
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid \
             alternatives"
        ]
    );
    let not = json!({"type": "string", "not": {"enum": ["root"]}});
    assert_eq!(refused(&not, &json!("user")), Vec::<String>::new());
    assert_eq!(
        refused(&not, &json!("root")),
        ["<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)"]
    );
    let all_of = json!({"type": "string", "allOf": [{"maxLength": 3}, {"minLength": 2}]});
    assert_eq!(refused(&all_of, &json!("ab")), Vec::<String>::new());
    assert_eq!(
        refused(&all_of, &json!("abcd")),
        [
            "spec.x: Too long: may not be more than 3 bytes",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate all the schemas (allOf)",
        ]
    );
}

#[test]
fn list_maps_refuse_duplicates() {
    let list = |keys: &[&str]| {
        json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys,
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}
        })
    };
    for (keys, value, expected) in [
        (&["name"][..], json!([{"name": "A"}, {"name": "B"}]), vec![]),
        (
            &["name"],
            json!([{"name": "A"}, {"name": "A"}]),
            vec!["spec.x[1]: Duplicate value: {\"name\":\"A\"}"],
        ),
        (&["name"], json!([{}, {}]), vec!["spec.x[1]: Duplicate value: {}"]),
        (&["name", "port"], json!([{"name": "A", "port": 1}, {"name": "A", "port": 2}]), vec![]),
        (
            &["name", "port"],
            json!([{"name": "A", "port": 1}, {"port": 1, "name": "A"}]),
            vec!["spec.x[1]: Duplicate value: {\"name\":\"A\",\"port\":1}"],
        ),
    ] {
        assert_eq!(refused(&list(keys), &value), expected, "{value}");
    }
    let schema = with_spec(&json!({"x": list(&["name"])}));
    let twice = json!({"spec": {"x": [{"name": "A"}, {"name": "A"}]}});
    assert!(schema.validate(&twice, Some(&twice)).is_empty(), "old duplicates are tolerated");
}

#[test]
fn reasons_of_causes() {
    let schema = with_spec(&json!({
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "array", "maxItems": 1, "items": {"type": "string"}},
        "c": {"type": "string", "enum": ["x"]}, "d": {"type": "string"}, "e": {"type": "integer", "maximum": 1},
        "f": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "g": {"type": "object", "required": ["h"], "properties": {"h": {"type": "string"}}}
    }));
    let object = json!({"spec": {"a": "xx", "b": ["", ""], "c": "y", "d": 1, "e": 2, "f": ["", ""], "g": {}}});
    let reasons: Vec<&str> =
        schema.validate(&object, None).iter().map(|error| error.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "FieldValueTooLong",
            "FieldValueTooMany",
            "FieldValueNotSupported",
            "FieldValueTypeInvalid",
            "FieldValueInvalid",
            "FieldValueRequired",
            "FieldValueDuplicate"
        ]
    );
    assert_eq!(CauseReason::Forbidden.as_str(), "FieldValueForbidden");
}

#[test]
fn what_did_not_change_is_not_refused_again() {
    let schema = with_spec(&json!({
        "x": {"type": "string", "maxLength": 2}, "y": {"type": "string"},
        "l": {"type": "array", "items": {"type": "string", "maxLength": 2}}
    }));
    let old = json!({"spec": {"x": "long", "y": "a", "l": ["long"]}});
    let unrelated = json!({"spec": {"x": "long", "y": "b", "l": ["long"]}});
    assert_eq!(texts(&schema.validate(&unrelated, Some(&old))), Vec::<String>::new());
    let changed = json!({"spec": {"x": "other", "y": "a", "l": ["long", "a"]}});
    assert_eq!(
        texts(&schema.validate(&changed, Some(&old))),
        [
            "spec.l[0]: Too long: may not be more than 2 bytes",
            "spec.x: Too long: may not be more than 2 bytes"
        ]
    );
}

#[test]
fn embedded_resources_need_an_identity() {
    let schema = with_spec(&json!({
        "x": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}
    }));
    let errors = |value: Value| texts(&schema.validate(&json!({"spec": {"x": value}}), None));
    assert_eq!(errors(json!({"apiVersion": "v1", "kind": "Pod"})), Vec::<String>::new());
    assert_eq!(errors(json!({"apiVersion": "v1"})), ["spec.x.kind: Required value"]);
    assert_eq!(
        errors(json!({"apiVersion": 1, "kind": ""})),
        ["spec.x.apiVersion: Invalid value: 1: must be a string", "spec.x.kind: Required value"]
    );
}

//! Defaulting by tables.

use super::compiled;
use serde_json::{Value, json};

fn defaulted(mut object: Value) -> Value {
    let schema = compiled(&json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "retry": {
                        "type": "object", "default": {}, "properties": {"max": {"type": "integer", "default": 1}}
                    },
                    "inner": {"type": "object", "properties": {"flag": {"type": "boolean", "default": false}}},
                    "items": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}
                    },
                    "map": {
                        "type": "object",
                        "additionalProperties": {"type": "object", "properties": {"n": {"type": "integer", "default": 0}}}
                    },
                    "plain": {"type": "string"},
                    "maybe": {"type": "string", "nullable": true, "default": "d"},
                    "sure": {"type": "string", "default": "d"}
                }
            },
            "status": {
                "type": "object", "default": {"phase": "Pending"},
                "properties": {"phase": {"type": "string", "default": "Pending"}, "attempt": {"type": "integer", "default": 0}}
            }
        }
    }));
    schema.default(&mut object);
    object
}

#[test]
fn absent_fields_get_defaults() {
    for (object, expected) in [
        (json!({}), json!({"status": {"phase": "Pending", "attempt": 0}})),
        (
            json!({"spec": {}, "status": null}),
            json!({
                "spec": {"retry": {"max": 1}, "maybe": "d", "sure": "d"}, "status": {"phase": "Pending", "attempt": 0}
            }),
        ),
        (
            json!({"spec": {"retry": {"max": 3}, "inner": {}, "items": [{}, {"p": "UDP"}], "map": {"k": {}}}, "status": {}}),
            json!({
                "spec": {
                    "retry": {"max": 3}, "inner": {"flag": false}, "items": [{"p": "TCP"}, {"p": "UDP"}],
                    "map": {"k": {"n": 0}}, "maybe": "d", "sure": "d"
                },
                "status": {"phase": "Pending", "attempt": 0}
            }),
        ),
    ] {
        assert_eq!(defaulted(object.clone()), expected, "{object}");
    }
}

#[test]
fn nulls_become_defaults_or_go_away() {
    let object = json!({"spec": {"plain": null, "maybe": null, "sure": null, "retry": null, "inner": {"flag": null}}});
    assert_eq!(
        defaulted(object)["spec"],
        json!({"maybe": null, "sure": "d", "retry": {"max": 1}, "inner": {"flag": false}})
    );
}

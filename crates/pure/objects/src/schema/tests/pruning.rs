//! Pruning by tables.

use super::compiled;
use serde_json::json;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn unknown_fields_go_and_are_named_in_order() {
    let schema = compiled(&json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "env": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "any": {"type": "object", "additionalProperties": true},
                    "free": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"strict": {"type": "object", "properties": {"a": {"type": "string"}}}}
                    },
                    "raw": {"x-kubernetes-preserve-unknown-fields": true},
                    "pod": {
                        "type": "object", "x-kubernetes-embedded-resource": true,
                        "properties": {"spec": {"type": "object"}}
                    },
                    "metadata": {"type": "object"}
                }
            }
        }
    }));
    let mut object = json!({
        "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "odd": 1}, "zzz": 1,
        "spec": {
            "x": 1,
            "env": [{"name": "A", "y": 1}, {"name": "B"}, "text"],
            "labels": {"a": "b"},
            "any": {"k": {"gone": 1}, "n": 1},
            "free": {"u": {"v": 1}, "strict": {"a": "", "b": 1}},
            "raw": [{"q": [1]}],
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {}}, "spec": {"p": 1}, "status": {}},
            "metadata": {"name": "pruned: not the root's"}
        }
    });
    assert_eq!(
        schema.prune(&mut object),
        [
            "spec.any.k.gone",
            "spec.env[0].y",
            "spec.free.strict.b",
            "spec.metadata.name",
            "spec.pod.spec.p",
            "spec.pod.status",
            "spec.x",
            "zzz"
        ]
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "odd": 1},
            "spec": {
                "env": [{"name": "A"}, {"name": "B"}, "text"],
                "labels": {"a": "b"},
                "any": {"k": {}, "n": 1},
                "free": {"u": {"v": 1}, "strict": {"a": ""}},
                "raw": [{"q": [1]}],
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {}}, "spec": {}},
                "metadata": {}
            }
        })
    );
    assert!(schema.prune(&mut object).is_empty());
}

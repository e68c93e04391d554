//! CEL rules on objects.

use super::{compiled, texts};
use serde_json::{Value, json};

#[expect(clippy::needless_pass_by_value, reason = "calls read as tables")]
fn errors(schema: &Value, new: Value, old: Option<Value>) -> Vec<String> {
    texts(&compiled(schema).validate(&new, old.as_ref()))
}

fn ruled(property: Value, rules: Value) -> Value {
    let mut property = property;
    property["x-kubernetes-validations"] = rules;
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": property}}}})
}

#[test]
fn texts_of_failed_rules() {
    let list = || json!({"type": "object", "properties": {"args": {"type": "array", "items": {"type": "string"}}}});
    for (rule, expected) in [
        (json!({"rule": "false"}), "spec.x: Invalid value: \"object\": failed rule: false"),
        (json!({"rule": "false", "message": " no "}), "spec.x: Invalid value: \"object\": no"),
        (
            json!({"rule": "false", "message": "no", "fieldPath": ".args"}),
            "spec.x.args: Invalid value: \"object\": no",
        ),
        (
            json!({"rule": "false", "message": "no", "reason": "FieldValueForbidden"}),
            "spec.x: Forbidden: no",
        ),
        (
            json!({"rule": "false", "message": "no", "reason": "FieldValueRequired"}),
            "spec.x: Required value: no",
        ),
        (
            json!({"rule": "false", "message": "no", "reason": "FieldValueDuplicate"}),
            "spec.x: Duplicate value: \"object\"",
        ),
        (
            json!({"rule": "false", "message": "m", "messageExpression": "'got ' + string(self.args.size())"}),
            "spec.x: Invalid value: \"object\": got 1",
        ),
        (
            json!({"rule": "false", "message": "m", "messageExpression": "self.args[7]"}),
            "spec.x: Invalid value: \"object\": m",
        ),
        (
            json!({"rule": "duration(self.args[0]) > duration('0s')", "message": "m"}),
            "spec.x: Invalid value: \"object\": type conversion error from 'string' to 'google.protobuf.Duration' \
             evaluating rule: m",
        ),
        (
            json!({"rule": "self.args[7] == ''"}),
            "spec.x: Invalid value: \"object\": index out of bounds: 7 evaluating rule: self.args[7] == ''",
        ),
    ] {
        let found =
            errors(&ruled(list(), json!([rule])), json!({"spec": {"x": {"args": ["a"]}}}), None);
        assert_eq!(found, [expected], "{rule}");
    }
}

#[test]
fn rules_at_the_root_on_items_and_on_map_values() {
    let schema = json!({
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.metadata.name.startsWith('a')", "message": "name"},
            {"rule": "!has(self.spec.n) || self.spec.n > 0", "message": "n", "fieldPath": ".spec.n"}
        ],
        "properties": {"spec": {"type": "object", "properties": {
            "n": {"type": "integer"},
            "l": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'bad'"}]}},
            "m": {"type": "object", "additionalProperties": {
                "type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "positive"}]
            }}
        }}}
    });
    let object = json!({"metadata": {"name": "b"}, "spec": {"n": 0, "l": ["ok", "bad"], "m": {"a": 1, "b": 0}}});
    assert_eq!(
        errors(&schema, object, None),
        [
            "<nil>: Invalid value: \"object\": name",
            "spec.n: Invalid value: \"object\": n",
            "spec.l[1]: Invalid value: \"string\": failed rule: self != 'bad'",
            "spec.m[b]: Invalid value: \"integer\": positive",
        ]
    );
}

#[test]
fn rules_wait_for_a_sound_structure() {
    let schema = ruled(
        json!({"type": "string", "maxLength": 2, "pattern": "^[a-z]*$"}),
        json!([{"rule": "self == 'no'", "message": "m"}]),
    );
    assert_eq!(
        errors(&schema, json!({"spec": {"x": "long"}}), None),
        [
            "spec.x: Too long: may not be more than 2 bytes",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct \
             the existing errors to complete validation",
        ]
    );
    assert_eq!(
        errors(&schema, json!({"spec": {"x": "A"}}), None),
        [
            "spec.x: Invalid value: \"A\": spec.x in body should match '^[a-z]*$'",
            "spec.x: Invalid value: \"string\": m"
        ],
        "a wrong pattern misleads no rule"
    );
}

#[test]
fn transition_rules_need_a_past() {
    let rule = || json!([{"rule": "self >= oldSelf", "message": "falls"}]);
    let schema = ruled(json!({"type": "integer"}), rule());
    let spec = |x: Value| json!({"spec": {"x": x}});
    let falls = vec!["spec.x: Invalid value: \"integer\": falls".to_owned()];
    for (new, old, expected) in [
        (spec(json!(1)), None, vec![]),
        (spec(json!(1)), Some(json!({"spec": {}})), vec![]),
        (spec(json!(1)), Some(json!({})), vec![]),
        (spec(json!(1)), Some(spec(json!(null))), vec![]),
        (spec(json!(1)), Some(spec(json!(1))), vec![]),
        (spec(json!(1)), Some(spec(json!(2))), falls),
        (json!({"spec": {}}), Some(spec(json!(2))), vec![]),
    ] {
        assert_eq!(errors(&schema, new.clone(), old.clone()), expected, "{new} {old:?}");
    }
}

#[test]
fn items_are_correlated_by_key_only() {
    let item = json!({
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.v == oldSelf.v", "message": "changes"}],
        "properties": {"name": {"type": "string"}, "v": {"type": "integer"}}
    });
    let list = |kind: &str| {
        let mut list = json!({"type": "array", "items": item, "x-kubernetes-list-type": kind});
        if kind == "map" {
            list["x-kubernetes-list-map-keys"] = json!(["name"]);
        }
        json!({"type": "object", "properties": {"l": list}})
    };
    let (new, old) = (
        json!({"l": [{"name": "b", "v": 2}, {"name": "a", "v": 9}]}),
        json!({"l": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}),
    );
    assert_eq!(
        errors(&list("map"), new.clone(), Some(old.clone())),
        ["l[1]: Invalid value: \"object\": changes"]
    );
    assert_eq!(errors(&list("atomic"), new, Some(old)), Vec::<String>::new());
}

#[test]
fn null_then_a_value_walks_around_a_rule_on_the_field_but_not_on_its_parent() {
    let on_field = ruled(
        json!({"type": "string"}),
        json!([{"rule": "self == oldSelf", "message": "immutable"}]),
    );
    let on_parent = json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": {"x": {"type": "string"}},
        "x-kubernetes-validations": [{
            "rule": "has(self.x) == has(oldSelf.x) && (!has(self.x) || self.x == oldSelf.x)",
            "message": "immutable", "fieldPath": ".x"
        }]
    }}});
    let steps = [json!({"spec": {"x": "a"}}), json!({"spec": {}}), json!({"spec": {"x": "b"}})];
    for step in steps.windows(2) {
        assert_eq!(errors(&on_field, step[1].clone(), Some(step[0].clone())), Vec::<String>::new());
        let found = errors(&on_parent, step[1].clone(), Some(step[0].clone()));
        assert_eq!(found, ["spec.x: Invalid value: \"object\": immutable"]);
    }
}

#[test]
fn rules_that_became_stricter_stop_no_unrelated_update() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "x": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "positive"}]},
            "y": {"type": "integer"}
        }}
    }});
    let old = json!({"spec": {"x": 0, "y": 1}});
    let whole = json!({
        "type": "object", "x-kubernetes-validations": [{"rule": "false", "message": "never"}],
        "properties": {"metadata": {"type": "object"}}
    });
    let named = json!({"metadata": {"name": "r"}});
    assert_eq!(
        errors(&whole, named.clone(), Some(named)),
        ["<nil>: Invalid value: \"object\": never"],
        "metadata has no schema, so that the root never counts as unchanged"
    );
    assert_eq!(
        errors(&schema, json!({"spec": {"x": 0, "y": 2}}), Some(old.clone())),
        Vec::<String>::new()
    );
    assert_eq!(
        errors(&schema, json!({"spec": {"x": -1, "y": 1}}), Some(old)),
        ["spec.x: Invalid value: \"integer\": positive"]
    );
}

#[test]
fn optional_old_self_also_runs_without_a_past() {
    let schema = ruled(
        json!({"type": "integer"}),
        json!([{"rule": "oldSelf.hasValue() || self == 1", "message": "starts at 1", "optionalOldSelf": true}]),
    );
    assert_eq!(errors(&schema, json!({"spec": {"x": 1}}), None), Vec::<String>::new());
    assert_eq!(
        errors(&schema, json!({"spec": {"x": 2}}), None),
        ["spec.x: Invalid value: \"integer\": starts at 1"]
    );
    assert_eq!(
        errors(&schema, json!({"spec": {"x": 3}}), Some(json!({"spec": {"x": 2}}))),
        Vec::<String>::new()
    );
}

#[test]
fn costly_rules_end() {
    let rule = "self.all(a, self.all(b, self.all(c, a == b || a != b || c == 0)))";
    let schema = ruled(
        json!({"type": "array", "items": {"type": "integer"}}),
        json!([{"rule": rule}, {"rule": "false"}]),
    );
    let many: Vec<u32> = (0..400).collect();
    assert_eq!(
        errors(&schema, json!({"spec": {"x": many}}), None),
        [format!(
            "spec.x: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation \
             rules will be run due to call cost exceeds limit for rule: {rule}"
        )]
    );
}

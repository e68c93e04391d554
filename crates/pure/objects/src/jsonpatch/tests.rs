//! The examples of RFC 6902, kube-apiserver's leniencies, and each limit on both sides.
use serde_json::{Value, json};

use super::*;

fn apply(target: &Value, patch: &Value) -> Result<Value, String> {
    let patch = Patch::decode(patch).map_err(|e| e.to_string())?;
    let mut result = target.clone();
    patch.apply(&mut result).map_err(|e| e.to_string())?;
    Ok(result)
}

fn check(target: &Value, patch: &Value, expected: &Value) {
    assert_eq!(apply(target, patch).as_ref(), Ok(expected), "{target} with {patch}");
}

#[test]
fn operations_that_apply() {
    for (target, patch, expected) in [
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "/b", "value": 2}]),
            json!({"a": 1, "b": 2}),
        ),
        (
            json!({"a": [1, 3]}),
            json!([{"op": "add", "path": "/a/1", "value": 2}]),
            json!({"a": [1, 2, 3]}),
        ),
        (
            json!({"a": [1]}),
            json!([{"op": "add", "path": "/a/-", "value": 2}]),
            json!({"a": [1, 2]}),
        ),
        (
            json!({"a": [1]}),
            json!([{"op": "add", "path": "/a/1", "value": 2}]),
            json!({"a": [1, 2]}),
        ),
        (json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]})),
        (json!({"a": 1}), json!([{"op": "add", "path": "/a", "value": null}]), json!({"a": null})),
        (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/b"}]), json!({"a": 1})),
        (
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/a", "value": {"b": 2}}]),
            json!({"a": {"b": 2}}),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "replace", "path": "", "value": {"c": 3}}]),
            json!({"c": 3}),
        ),
        (
            json!({"a": {"x": 1}, "b": {}}),
            json!([{"op": "move", "from": "/a/x", "path": "/b/y"}]),
            json!({"a": {}, "b": {"y": 1}}),
        ),
        (
            json!({"a": [1, 2, 3]}),
            json!([{"op": "move", "from": "/a/0", "path": "/a/2"}]),
            json!({"a": [2, 3, 1]}),
        ),
        (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/a"}]), json!({"a": 1})),
        (
            json!({"a": {"x": 1}}),
            json!([{"op": "copy", "from": "/a", "path": "/a/b"}]),
            json!({"a": {"x": 1, "b": {"x": 1}}}),
        ),
    ] {
        check(&target, &patch, &expected);
    }
}

#[test]
fn pointers_are_decoded_and_tests_hold() {
    for (target, patch, expected) in [
        (
            json!({"a/b": 1, "m~n": 2, "~1": 3}),
            json!([{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}, {"op": "remove", "path": "/~01"}]),
            json!({"a/b": 1}),
        ),
        (json!({"": {"": 1}}), json!([{"op": "remove", "path": "//"}]), json!({"": {}})),
        (
            json!({"a": [1, {"b": 2}]}),
            json!([{"op": "test", "path": "/a", "value": [1, {"b": 2}]}]),
            json!({"a": [1, {"b": 2}]}),
        ),
        (json!({}), json!([{"op": "test", "path": "/absent", "value": null}]), json!({})),
        (json!({}), json!([{"op": "test", "path": "/absent"}]), json!({})),
        (json!({"a": 1}), json!([{"op": "test", "path": "", "value": {"a": 1}}]), json!({"a": 1})),
        (json!({"a": 1}), json!([]), json!({"a": 1})),
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "/b", "value": 2, "xyz": 3}]),
            json!({"a": 1, "b": 2}),
        ),
    ] {
        check(&target, &patch, &expected);
    }
}

#[test]
fn operations_that_do_not_apply_say_why() {
    for (target, operation, why) in [
        (json!({}), json!({"op": "add", "path": "/a/b", "value": 1}), "there is no \"a\""),
        (
            json!({}),
            json!({"op": "remove", "path": "/a"}),
            "operation 0, remove \"/a\": there is no \"a\"",
        ),
        (json!({}), json!({"op": "replace", "path": "/a", "value": 1}), "there is no \"a\""),
        (
            json!({"a": [1]}),
            json!({"op": "add", "path": "/a/2", "value": 1}),
            "invalid index referenced: 2",
        ),
        (json!({"a": [1]}), json!({"op": "remove", "path": "/a/1"}), "the list has 1 elements"),
        (json!({"a": [1]}), json!({"op": "remove", "path": "/a/-2"}), "invalid index"),
        (json!({"a": [1]}), json!({"op": "remove", "path": "/a/00"}), "no index"),
        (json!({"a": [1]}), json!({"op": "remove", "path": "/a/+0"}), "no index"),
        (json!({"a": [1]}), json!({"op": "replace", "path": "/a/-", "value": 1}), "no index"),
        (
            json!({"a": [1]}),
            json!({"op": "replace", "path": "/a/99999999999999999999", "value": 1}),
            "invalid index",
        ),
        (
            json!({"a": "x"}),
            json!({"op": "add", "path": "/a/b", "value": 1}),
            "leads through \"x\"",
        ),
        (
            json!({"a": 1}),
            json!({"op": "test", "path": "/a", "value": "1"}),
            "testing value failed: it is 1, not \"1\"",
        ),
        (json!({"a": 1}), json!({"op": "test", "path": "/a"}), "testing value failed"),
        (json!({"a": {}}), json!({"op": "move", "from": "/a", "path": "/a/b"}), "into itself"),
        (json!({"a": 1}), json!({"op": "move", "from": "/b", "path": "/a"}), "there is no \"b\""),
        (json!({"a": 1}), json!({"op": "copy", "from": "/b", "path": "/a"}), "there is no \"b\""),
        (json!({"a": 1}), json!({"op": "remove", "path": ""}), "whole object"),
    ] {
        let refused = apply(&target, &json!([operation])).unwrap_err();
        assert!(refused.contains(why), "{operation}: {refused}");
    }
}

#[test]
fn what_is_no_patch_is_refused_by_operation() {
    let good = json!({"op": "remove", "path": "/a"});
    for (patch, why) in [
        (json!({"op": "remove"}), "a JSON patch is a list"),
        (json!([good, 1]), "operation 1: it is no object"),
        (json!([{"path": "/a"}]), "operation 0: \"op\" is missing"),
        (json!([{"op": 1, "path": "/a"}]), "\"op\" is no string"),
        (json!([{"op": "delete", "path": "/a"}]), "\"delete\"; it must be add, remove, replace"),
        (json!([{"op": "remove"}]), "\"path\" is missing"),
        (json!([{"op": "add", "path": "/a"}]), "\"value\" is missing"),
        (json!([{"op": "copy", "path": "/a"}]), "\"from\" is missing"),
        (json!([{"op": "remove", "path": "a"}]), "does not begin with \"/\""),
    ] {
        let refused = Patch::decode(&patch).unwrap_err().to_string();
        assert!(
            refused.starts_with("error decoding patch: ") && refused.contains(why),
            "{refused}"
        );
    }
}

#[test]
fn operations_are_counted() {
    let test = json!({"op": "test", "path": "/a", "value": 1});
    let most = Value::Array(vec![test.clone(); MAX_OPERATIONS]);
    assert!(apply(&json!({"a": 1}), &most).is_ok());
    let refused = Patch::decode(&Value::Array(vec![test; MAX_OPERATIONS + 1])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
}

#[test]
fn copies_are_counted_in_bytes() {
    let text = "x".repeat(MAX_COPIED / 4 - 2);
    let copy = json!({"op": "copy", "from": "/a", "path": "/b"});
    let target = json!({ "a": text });
    assert!(apply(&target, &Value::Array(vec![copy.clone(); 4])).is_ok());
    let refused = apply(&target, &Value::Array(vec![copy; 5])).unwrap_err();
    assert!(refused.contains("exceeding the limit 3145728"), "{refused}");
}

#[test]
fn no_patch_makes_an_object_too_deep() {
    let double = json!({"op": "copy", "from": "", "path": "/a"});
    let refused = apply(&json!({"b": 1}), &Value::Array(vec![double; 200])).unwrap_err();
    assert!(refused.contains("more than 100 levels deep"), "{refused}");
    let nest = |depth: usize| {
        let mut value = json!(1);
        for _ in 0..depth {
            value = json!([value]);
        }
        json!([{"op": "add", "path": "/a", "value": value}])
    };
    assert!(apply(&json!({}), &nest(json::MAX_DEPTH - 1)).is_ok());
    assert!(apply(&json!({}), &nest(json::MAX_DEPTH)).is_err());
}

#[test]
fn moving_large_lists_again_and_again_is_refused() {
    let target = json!({ "a": vec![0; 10_001] });
    let shift = |count: usize| {
        let pair = [
            json!({"op": "remove", "path": "/a/0"}),
            json!({"op": "add", "path": "/a/0", "value": 0}),
        ];
        Value::Array(pair.into_iter().cycle().take(count).collect())
    };
    assert!(apply(&target, &shift(4_900)).is_ok());
    let refused = apply(&target, &shift(5_000)).unwrap_err();
    assert!(refused.contains("moves more than 50000000 values"), "{refused}");
}

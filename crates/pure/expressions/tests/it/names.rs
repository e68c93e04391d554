//! The names of a matrix's legs.

use crate::matrix::expand;
use kruntimes_expressions::limits::LEG_NAME_CHARS;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn names(source: &Value) -> Vec<String> {
    let legs = expand(source, &json!({})).unwrap_or_else(|error| panic!("{source}: {error}"));
    legs.into_iter().map(|leg| leg.name).collect()
}

#[test]
fn names_are_the_values_where_these_are_a_name() {
    let long = "x".repeat(LEG_NAME_CHARS);
    let of = |value: Value| names(&json!({"a": [value]})).remove(0);
    for (value, expected) in [
        (json!("ubuntu-latest"), "ubuntu-latest"),
        (json!("3.12"), "3.12"),
        (json!(18), "18"),
        (json!(true), "true"),
        (json!(1.5), "1.5"),
        (json!(long), long.as_str()),
    ] {
        assert_eq!(of(value.clone()), expected, "{value}");
    }
    for (value, expected) in [
        (json!("Linux"), "linux-"),
        (json!("a/b c"), "a-b-c-"),
        (json!("-1"), "1-"),
        (json!(-1), "1-"),
        (json!("a."), "a-"),
        (json!("a.-b"), "a.b-"),
        (json!("..a"), "a-"),
        (json!("é"), ""),
        (json!(""), ""),
        (json!(null), ""),
        (json!([1, 2]), ""),
        (json!({"x": 1}), ""),
        (json!("é".repeat(100)), ""),
        (json!("x".repeat(LEG_NAME_CHARS + 1)), &format!("{}-", &long[..LEG_NAME_CHARS - 11])),
        (
            json!(format!("{}.yyyyyyyyyyyyyyyyyyy", &long[..LEG_NAME_CHARS - 12])),
            &format!("{}-", &long[..LEG_NAME_CHARS - 12]),
        ),
    ] {
        let name = of(value.clone());
        let hash = name.strip_prefix(expected).unwrap_or_else(|| panic!("{value}: {name}"));
        assert_eq!(hash.len(), 10, "{value}: {name}");
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}: {name}");
    }
    let source = json!({"os": ["a", "b"], "v": [1, 2], "include": [{"os": "a", "color": "red"}, {"x": {"y": 1}, "os": "c"}]});
    let found = names(&source);
    assert_eq!(found[..4], ["red-a-1", "red-a-2", "b-1", "b-2"]);
    assert!(found[4].starts_with("c-"), "{found:?}");
    assert_eq!(names(&source), found);
}

#[test]
fn different_legs_have_different_names() {
    for source in [
        json!({"a": [1, "1", true, "true", "1.0"]}),
        json!({"a": ["x", "x-y"], "b": ["y-z", "z"]}),
        json!({"a": ["A", "a", "a ", " a", "a.", ".a", "-a", "a--"]}),
        json!({"a": [null, "", "é", "è", [], {}]}),
        json!({"a": ["x".repeat(63), "x".repeat(64), "x".repeat(65), "X".repeat(63)]}),
        json!({"a": ["a"], "include": [{"b": "a"}, {"c": "a"}, {"a": "b", "b": "a"}]}),
    ] {
        let found = names(&source);
        let different: BTreeSet<&String> = found.iter().collect();
        assert_eq!(different.len(), found.len(), "{found:?}");
        for name in found {
            let is_fine = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            assert!(
                name.bytes().all(is_fine) && (1..=LEG_NAME_CHARS).contains(&name.len()),
                "{name}"
            );
            let labels =
                name.split('.').all(|label| !label.is_empty() && label.trim_matches('-') == label);
            assert!(labels, "{name}");
        }
    }
    let taken = names(&json!({"a": ["A"]})).remove(0);
    let source = json!({"a": ["A", taken]});
    let found = names(&source);
    assert_eq!(found[0], taken);
    assert!(found[1].starts_with(&format!("{taken}-")), "{found:?}");
}

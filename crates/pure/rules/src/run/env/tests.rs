//! Environments by tables.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use super::*;
use kruntimes_api::Reason;
use serde_json::{Value, json};

/// What must be in no message.
const CANARY: &str = "canary-7f3a";

fn run(env: &Value) -> Run {
    serde_json::from_value(json!({
        "metadata": {"name": "r", "namespace": "ns", "uid": "u-1", "labels": {"team": "a"}},
        "spec": {"runtime": "bash", "env": env},
    }))
    .unwrap()
}

fn secret(variable: &str, name: &str, key: &str) -> Value {
    json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}})
}

fn optional(mut variable: Value) -> Value {
    variable["valueFrom"]["secretKeyRef"]["optional"] = json!(true);
    variable
}

fn reference(kind: SourceKind, name: &str, key: &str) -> Reference {
    Reference { kind, name: name.to_owned(), key: key.to_owned() }
}

/// A pod that has the Secret `db` with one key `k`, and a ConfigMap of the same name.
fn resolved(env: &Value, at_key: Found) -> Result<BTreeMap<String, String>, EnvFailure> {
    let run = run(env);
    let found = references(&run)?.into_iter().map(|wanted| {
        let found = match (wanted.kind, wanted.name.as_str(), wanted.key.as_str()) {
            (SourceKind::Secret, "db", "k") => at_key.clone(),
            (SourceKind::ConfigMap, "db", "k") => Found::Value(b"of the map".to_vec()),
            (_, "db", _) => Found::Missing,
            _ => Found::NotAllowed,
        };
        (wanted, found)
    });
    resolve(&run, &found.collect())
}

fn value(text: &str) -> Found {
    Found::Value(text.as_bytes().to_vec())
}

fn failure(env: &Value, at_key: Found) -> (Reason, String) {
    let failure = resolved(env, at_key).unwrap_err();
    (failure.reason(), failure.to_string())
}

#[test]
fn values_come_from_text_fields_and_keys() {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let map = json!({"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "db", "key": "k"}}});
    let env = json!([
        {"name": "TEXT", "value": "$(NAME) stays"}, {"name": "EMPTY"},
        field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("UID", "metadata.uid"),
        field("TEAM", "metadata.labels['team']"), field("NONE", "metadata.labels['none']"),
        secret("SECRET", "db", "k"), map,
    ]);
    let want = [
        ("TEXT", "$(NAME) stays"),
        ("EMPTY", ""),
        ("NAME", "r"),
        ("NAMESPACE", "ns"),
        ("UID", "u-1"),
        ("TEAM", "a"),
        ("NONE", ""),
        ("SECRET", "grüße\n"),
        ("MAP", "of the map"),
    ];
    let want: BTreeMap<String, String> =
        want.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(resolved(&env, value("grüße\n")).unwrap(), want);
    let needed: Vec<_> = references(&run(&env)).unwrap().into_iter().collect();
    assert_eq!(
        needed,
        [reference(SourceKind::Secret, "db", "k"), reference(SourceKind::ConfigMap, "db", "k")]
    );
}

#[test]
fn not_allowed_missing_and_optional_are_three_outcomes() {
    let not_allowed = "env P: Secret \"other\" is not allowed by Runtime \"bash\": add it to its spec.allowedSecrets, and wait for its new pods";
    let missing = "env P: Secret \"db\" does not exist in namespace \"ns\", or has no key \"none\": create it, or set optional: true";
    let found = || value(CANARY);
    assert_eq!(
        failure(&json!([secret("P", "other", "k")]), found()),
        (Reason::EnvNotAllowed, not_allowed.to_owned())
    );
    assert_eq!(
        failure(&json!([secret("P", "db", "none")]), found()),
        (Reason::EnvUnavailable, missing.to_owned())
    );
    let absent = resolved(&json!([optional(secret("P", "db", "none"))]), found()).unwrap();
    assert_eq!(absent, BTreeMap::new());
    // Optional is about what exists, not about what is allowed.
    let refused = failure(&json!([optional(secret("P", "other", "k"))]), found());
    assert_eq!(refused, (Reason::EnvNotAllowed, not_allowed.to_owned()));
}

#[test]
fn the_last_of_a_name_that_has_a_value_wins() {
    for (env, want) in [
        (json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), "2"),
        (json!([{"name": "A", "value": "1"}, secret("A", "db", "k")]), "key"),
        (json!([secret("A", "db", "k"), {"name": "A"}]), ""),
        (json!([{"name": "A", "value": "1"}, optional(secret("A", "db", "none"))]), "1"),
    ] {
        assert_eq!(resolved(&env, value("key")).unwrap()["A"], want, "{env}");
    }
}

#[test]
fn hostile_content_is_named_and_never_shown() {
    let env = json!([secret("PASSWORD", "db", "k")]);
    let bytes = |tail: &[u8]| Found::Value([CANARY.as_bytes(), tail].concat());
    for (found, part) in [
        (bytes(b"\xff"), "is not UTF-8 text"),
        (bytes(b"\xed\xa0\x80"), "is not UTF-8 text"),
        (bytes(b"\0"), "has a NUL character"),
        (Found::TooLong, "at most 131070 bytes"),
        (Found::Unreadable("no memory".to_owned()), "can't be read: no memory"),
    ] {
        let shown = format!("{found:?}");
        let (reason, message) = failure(&env, found);
        assert_eq!(reason, Reason::EnvUnavailable);
        assert!(message.starts_with("env PASSWORD: key \"k\" of Secret \"db\" "), "{message}");
        assert!(message.contains(part), "{message}");
        assert!(!message.contains("canary") && !shown.contains("canary"), "{message} {shown}");
    }
}

#[test]
fn a_variable_and_all_together_have_limits() {
    let env = json!([secret("A", "db", "k")]);
    let long = |length: usize| Found::Value(vec![b'x'; length]);
    assert_eq!(resolved(&env, long(131_069)).unwrap()["A"].len(), 131_069);
    let (_, message) = failure(&env, long(131_070));
    assert!(message.contains("at most 131070 bytes"), "{message}");
    // Characters count, not bytes: as the CRD counts what stands in the spec.
    let many = |count: usize| {
        let mut all = vec![secret("B", "db", "k"), secret("C", "db", "k"), secret("D", "db", "k")];
        all.push(json!({"name": "E", "value": "x".repeat(count)}));
        json!(all)
    };
    let umlauts = value(&"ü".repeat(40_000));
    let left = 131_072 - 4 - 3 * 40_000;
    assert_eq!(resolved(&many(left), umlauts.clone()).unwrap().len(), 4);
    let (reason, message) = failure(&many(left + 1), umlauts);
    assert_eq!(reason, Reason::EnvUnavailable);
    assert!(message.starts_with("spec.env has more than 131072 characters"), "{message}");
}

#[test]
fn what_an_older_crd_let_through_is_refused() {
    let of = |source: Value| json!([{"name": "A".repeat(65), "valueFrom": source}]);
    let key = |name: &str, key: &str| json!({"secretKeyRef": {"name": name, "key": key}});
    for source in [
        json!({}),
        json!({"secretKeyRef": {"name": "db", "key": "k"}, "fieldRef": {"fieldPath": "metadata.name"}}),
        json!({"resourceFieldRef": {"resource": "limits.cpu"}}),
        json!({"fieldRef": {"fieldPath": "spec.runtime"}}),
        json!({"fieldRef": {"fieldPath": "metadata.labels['team"}}),
        key("", "k"),
        key("..", "k"),
        key("a/b", "k"),
        key(&"n".repeat(254), "k"),
        key("db", ""),
        key("db", "."),
        key("db", "..data"),
        key("db", "a/../k"),
        key("db", "k\0"),
        key("db", &"k".repeat(254)),
    ] {
        let (reason, message) = failure(&of(source.clone()), value(CANARY));
        assert_eq!(reason, Reason::EnvUnavailable, "{source}");
        let start = format!("env {}...: valueFrom must be exactly one", "A".repeat(64));
        assert!(message.starts_with(&start), "{message}");
    }
}

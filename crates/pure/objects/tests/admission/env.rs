//! `spec.env` of a Run, and what a Runtime allows in it.

use super::{check_refused, errors, run, runtime, schema};
use serde_json::{Value, json};

fn from(source: Value) -> Value {
    run(json!({"env": [{"name": "A", "valueFrom": source}]}))
}

#[test]
fn a_value_comes_from_one_place_that_is_named_as_kubernetes_does() {
    let schema = schema("kruntimes.io_runs.yaml");
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let secret = |name: &str, key: &str| json!({"secretKeyRef": {"name": name, "key": key}});
    let prefix = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    for source in [
        field("metadata.name"),
        field("metadata.namespace"),
        field("metadata.uid"),
        field("metadata.labels['a']"),
        field(&format!("metadata.labels['{prefix}/{}']", "k".repeat(63))),
        json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}),
        secret("db", "password"),
        secret(&"n".repeat(253), &"k".repeat(253)),
        secret("a.b-c", ".x_Y-1"),
        json!({"secretKeyRef": {"name": "db", "key": "k", "optional": true}}),
        json!({"configMapKeyRef": {"name": "db", "key": "k", "optional": false}}),
    ] {
        assert_eq!(errors(&schema, from(source.clone())), "", "{source}");
    }
    let both = json!({"secretKeyRef": {"name": "a", "key": "k"}, "configMapKeyRef": {"name": "a", "key": "k"}});
    let none =
        ["spec.env[0].valueFrom", "exactly one of fieldRef, configMapKeyRef and secretKeyRef"];
    let unserved = ["spec.env[0].valueFrom", "not served yet"];
    let table: Vec<(Value, &[&str])> = vec![
        (json!({}), &none),
        (both, &none),
        (json!({"resourceFieldRef": {"resource": "limits.cpu"}}), &unserved),
        (json!({"fileKeyRef": {"key": "k", "path": "p", "volumeName": "v"}}), &unserved),
        (field("metadata.annotations['a']"), &["fieldRef.fieldPath", "metadata.annotations['a']"]),
        (
            field("status.phase"),
            &["fieldRef.fieldPath", "status.phase", "metadata.labels['<key>']"],
        ),
        (field("metadata.labels['-a']"), &["fieldRef.fieldPath"]),
        (field("metadata.labels['a'] "), &["fieldRef.fieldPath"]),
        (
            field(&format!("metadata.labels['{prefix}a/{}']", "k".repeat(63))),
            &["fieldRef.fieldPath", "336"],
        ),
        (
            json!({"fieldRef": {"apiVersion": "v2", "fieldPath": "metadata.uid"}}),
            &["fieldRef.apiVersion", "must be v1"],
        ),
        (secret("", "k"), &["secretKeyRef.name"]),
        (secret("../x", "k"), &["secretKeyRef.name", "../x"]),
        (secret("Db", "k"), &["secretKeyRef.name", "Db"]),
        (secret(&"n".repeat(254), "k"), &["secretKeyRef.name", "253"]),
        (secret("db", ""), &["secretKeyRef.key"]),
        (secret("db", "a/b"), &["secretKeyRef.key", "a/b"]),
        (secret("db", ".."), &["secretKeyRef.key", "must not be . nor begin with .."]),
        (secret("db", "."), &["secretKeyRef.key", "must not be . nor begin with .."]),
        (secret("db", "..data"), &["secretKeyRef.key", "..data"]),
        (secret("db", &"k".repeat(254)), &["secretKeyRef.key", "253"]),
        (json!({"secretKeyRef": {"name": "db"}}), &["secretKeyRef.key: Required value"]),
        (json!({"configMapKeyRef": {"key": "k"}}), &["configMapKeyRef.name: Required value"]),
        (json!({"configMapKeyRef": {"name": "_", "key": "k"}}), &["configMapKeyRef.name"]),
    ];
    for (source, parts) in table {
        check_refused(&schema, from(source), parts);
    }
}

#[test]
fn a_variable_has_a_value_or_a_source() {
    let schema = schema("kruntimes.io_runs.yaml");
    let source = json!({"secretKeyRef": {"name": "a", "key": "k"}});
    let both = |value: &str| {
        run(json!({"env": [{"name": "A", "value": value, "valueFrom": source.clone()}]}))
    };
    assert_eq!(errors(&schema, both("")), "");
    check_refused(&schema, both("x"), &["spec.env[0].valueFrom", "exclude each other"]);
    let many = |count: usize| {
        run(json!({"env": vec![json!({"name": "A", "valueFrom": source.clone()}); count]}))
    };
    assert_eq!(errors(&schema, many(256)), "");
    check_refused(&schema, many(257), &["spec.env", "257", "256"]);
    let text = |length: usize| run(json!({"env": [{"name": "A", "value": "x".repeat(length)}]}));
    assert_eq!(errors(&schema, text(131_071)), "");
    check_refused(&schema, text(131_072), &["spec.env", "131072 characters"]);
    let old = from(source.clone());
    let new = from(json!({"secretKeyRef": {"name": "b", "key": "k"}}));
    assert_eq!(schema.validate(&new, Some(&old)).len(), 1, "spec.env is immutable");
}

#[test]
fn a_runtime_allows_at_most_64_secrets_and_each_once() {
    let schema = schema("kruntimes.io_runtimes.yaml");
    let template = json!({"spec": {"containers": [{"name": "runtime", "image": "x"}]}});
    for list in ["allowedSecrets", "allowedConfigMaps"] {
        let with = |names: Vec<String>| {
            let mut object = runtime("bash", template.clone());
            object["spec"][list] = json!(names);
            object
        };
        let numbered = |count: usize| (0..count).map(|number| format!("s{number}")).collect();
        assert_eq!(errors(&schema, with(numbered(64))), "");
        assert_eq!(errors(&schema, with(vec!["n".repeat(253), "a.b".to_owned()])), "");
        check_refused(&schema, with(numbered(65)), &[&format!("spec.{list}"), "65", "64"]);
        for (name, part) in
            [("n".repeat(254), "253"), ("../x".to_owned(), "../x"), (String::new(), "[0]")]
        {
            check_refused(&schema, with(vec![name]), &[&format!("spec.{list}[0]"), part]);
        }
        let twice = with(vec!["a".to_owned(), "a".to_owned()]);
        check_refused(&schema, twice, &[&format!("spec.{list}[1]: Duplicate value")]);
    }
}

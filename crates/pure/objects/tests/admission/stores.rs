//! Where a Runtime may keep artifacts.

use super::{check_refused, errors, schema};
use serde_json::{Value, json};

/// A Runtime with this store.
fn with(store: &Value) -> Value {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "bash"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "runtime", "image": "x"}]}},
            "artifactStore": store,
        },
    })
}

#[test]
fn an_artifact_store_has_the_block_of_its_driver_and_a_name_that_a_claim_can_have() {
    let schema = schema("kruntimes.io_runtimes.yaml");
    let claim =
        |name: &str| json!({"driver": "filesystem", "filesystem": {"volumeClaimName": name}});
    for name in ["pvc", "a.b-c.1", &"x".repeat(253)] {
        assert_eq!(errors(&schema, with(&claim(name))), "", "{name}");
    }
    for name in ["", "..", "../x", "a/b", "A", "-a", &"x".repeat(254)] {
        check_refused(
            &schema,
            with(&claim(name)),
            &["spec.artifactStore.filesystem.volumeClaimName"],
        );
    }
    let mut both = claim("pvc");
    both["s3"] = json!({"bucket": "b"});
    check_refused(&schema, with(&both), &["only one of filesystem and s3 can be given"]);
    check_refused(&schema, with(&json!({"driver": "s3"})), &["the driver s3 needs s3.bucket"]);
    let none = "the driver filesystem needs filesystem.volumeClaimName";
    check_refused(&schema, with(&json!({"driver": "filesystem"})), &[none]);
}

#[test]
fn a_bucket_has_settings_that_a_store_can_use() {
    let schema = schema("kruntimes.io_runtimes.yaml");
    let bucket = |field: &str, value: Value| {
        let mut s3 = json!({"bucket": "b"});
        s3[field] = value;
        with(&json!({"driver": "s3", "s3": s3}))
    };
    for (field, fits, refused) in [
        (
            "bucket",
            vec![json!("b"), json!("a.b-c"), json!("x".repeat(255))],
            vec![json!(""), json!("a/b"), json!("x".repeat(256))],
        ),
        (
            "prefix",
            vec![json!(""), json!("a"), json!("a/b.c"), json!("x".repeat(512))],
            vec![json!("/a"), json!("a/"), json!("a//b"), json!("a/.."), json!("x".repeat(513))],
        ),
        (
            "endpoint",
            vec![json!(""), json!("http://h:1"), json!("https://[::1]:1/")],
            vec![json!("h:1"), json!("http://h/path"), json!("http://u:p@h"), json!("ftp://h")],
        ),
        (
            "uploadPartSize",
            vec![json!(5_242_880), json!(33_554_432)],
            vec![json!(5_242_879), json!(33_554_433)],
        ),
        ("uploadConcurrency", vec![json!(1), json!(16)], vec![json!(0), json!(17)]),
        ("credentialsSecretName", vec![json!("keys")], vec![json!(""), json!("../x")]),
    ] {
        for value in fits {
            assert_eq!(errors(&schema, bucket(field, value.clone())), "", "{field} {value}");
        }
        for value in refused {
            let place = format!("spec.artifactStore.s3.{field}");
            check_refused(&schema, bucket(field, value), &[&place]);
        }
    }
}

//! Which artifact an input is, where it goes, and what is refused.

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

const BUCKET: &str = r#"{"driver": "s3", "s3": {"bucket": "b", "prefix": "ci"}}"#;

fn store(claim: &str) -> ArtifactStore {
    let store = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": claim}});
    serde_json::from_value(store).unwrap()
}

fn reference(name: &str, location: &Value) -> Value {
    let driver = if location.get("s3").is_some() { "s3" } else { "filesystem" };
    json!({"name": name, "driver": driver, "type": "file", "sizeBytes": 1, "location": location,
        "digest": "sha256:00", "createdAt": "2026-01-01T00:00:00Z"})
}

fn on_volume(path: &str) -> Value {
    json!({"filesystem": {"path": path, "volumeClaimName": "pvc"}})
}

fn earlier(phase: &str, names: &[&str], claim: &str) -> Run {
    let refs: Vec<Value> = names
        .iter()
        .map(|name| reference(name, &on_volume(&format!("namespaces/ns/runs/u-1/{name}"))))
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": "build", "namespace": "ns", "uid": "u-1"}, "spec": {"runtime": "bash"},
        "status": {"phase": phase, "artifactRefs": refs, "artifactStore": store(claim)},
    }))
    .unwrap()
}

fn input(input: Value) -> RunInput {
    serde_json::from_value(input).unwrap()
}

fn resolved(
    one: Value,
    from: Option<&Run>,
    store: Option<&ArtifactStore>,
) -> Result<Wanted, String> {
    let run: Run = serde_json::from_value(json!({
        "metadata": {"name": "test", "namespace": "ns"}, "spec": {"runtime": "bash"}}))
    .unwrap();
    let resolved = resolve(&run, 3, &input(one), from, store);
    resolved.map_err(|error| format!("{}: {error}", error.why.reason()))
}

#[test]
fn an_artifact_of_a_run_that_ended_is_wanted_at_its_path() {
    let (pvc, from) = (store("pvc"), earlier("Succeeded", &["a", "site"], "pvc"));
    let one = json!({"name": "site", "fromRun": "build", "path": "in/site"});
    let wanted = resolved(one, Some(&from), Some(&pvc)).unwrap();
    assert_eq!((wanted.index, wanted.run_uid.as_str()), (3, "u-1"));
    assert_eq!(wanted.path, ["in", "site"]);
    assert_eq!(wanted.artifact.name, "site");
    let one = json!({"name": "a", "fromRun": "build"});
    assert_eq!(resolved(one, Some(&from), Some(&pvc)).unwrap().path, ["a"]);
    // Whoever fails keeps nothing today; what is referred to counts, not the phase.
    let failed = earlier("Failed", &["a"], "pvc");
    assert!(resolved(json!({"name": "a", "fromRun": "build"}), Some(&failed), Some(&pvc)).is_ok());
}

#[test]
fn what_can_not_be_had_says_what_to_do() {
    let pvc = store("pvc");
    let one = || json!({"name": "a", "fromRun": "build"});
    let ended = earlier("Succeeded", &["b", "c"], "pvc");
    let mut deleted = ended.clone();
    deleted.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let running = earlier("Running", &[], "pvc");
    let (failed, other) = (earlier("Failed", &[], "pvc"), earlier("Succeeded", &["a"], "x"));
    for (from, store, want) in [
        (Some(&ended), None, "the Runtime bash has no artifact store"),
        (None, Some(&pvc), "there is no Run \"build\" in this namespace"),
        (
            Some(&running),
            Some(&pvc),
            "the Run \"build\" is Running: create this Run when it has ended",
        ),
        (Some(&deleted), Some(&pvc), "the Run \"build\" is being deleted"),
        (Some(&ended), Some(&pvc), "is Succeeded and has no artifact \"a\": it has \"b\", \"c\""),
        (Some(&failed), Some(&pvc), "is Failed and has no artifact \"a\": it has none"),
        (
            Some(&other),
            Some(&pvc),
            "in another store (volume x) than the Runtime of this Run has (volume pvc)",
        ),
    ] {
        let error = resolved(one(), from, store).unwrap_err();
        assert!(error.starts_with("InputUnavailable: spec.inputs[3]: "), "{error}");
        assert!(error.contains(want), "{error} lacks {want}");
    }
}

#[test]
fn a_reference_reaches_nothing_beyond_its_namespace_and_its_store() {
    let (pvc, bucket) = (store("pvc"), serde_json::from_str(BUCKET).unwrap());
    let one = |reference: &Value| json!({"name": "a", "ref": reference});
    let good = reference("a", &on_volume("namespaces/ns/runs/u-1/a"));
    let wanted = resolved(one(&good), None, Some(&pvc)).unwrap();
    assert_eq!((wanted.run_uid.as_str(), wanted.path), ("u-1", vec!["a".to_owned()]));
    let key = |key: &str| reference("a", &json!({"s3": {"bucket": "b", "key": key}}));
    assert!(resolved(one(&key("ci/namespaces/ns/runs/u-1/a")), None, Some(&bucket)).is_ok());
    let mut no_digest = good.clone();
    no_digest.as_object_mut().unwrap().remove("digest");
    let mut other_bucket = key("ci/namespaces/ns/runs/u-1/a");
    other_bucket["location"]["s3"]["bucket"] = json!("c");
    for (wrong, store) in [
        (good.clone(), &bucket),
        (no_digest, &pvc),
        (other_bucket, &bucket),
        (reference("b", &on_volume("namespaces/ns/runs/u-1/b")), &pvc),
        (reference("a", &on_volume("namespaces/other/runs/u-1/a")), &pvc),
        (reference("a", &on_volume("namespaces/ns/runs/../a")), &store_named("pvc2")),
        (reference("a", &on_volume("namespaces/ns/runs/u/1/a")), &pvc),
        (reference("a", &on_volume("a")), &pvc),
        (key("namespaces/ns/runs/u-1/a"), &bucket),
        (key("ci/namespaces/ns2/runs/u-1/a"), &bucket),
        (reference("a", &json!({})), &pvc),
    ] {
        let error = resolved(one(&wrong), None, Some(store)).unwrap_err();
        assert!(
            error.starts_with("InputInvalid: spec.inputs[3]: ref must be an entry"),
            "{wrong}: {error}"
        );
    }
    for neither in [json!({"name": "a"}), json!({"name": "a", "fromRun": "x", "ref": good})] {
        let error = resolved(neither, None, Some(&pvc)).unwrap_err();
        assert!(error.contains("needs fromRun or ref, and not both"), "{error}");
    }
}

fn store_named(claim: &str) -> ArtifactStore {
    store(claim)
}

#[test]
fn a_path_stays_below_the_working_directory() {
    let long = "x".repeat(limits::ARTIFACT_NAME_BYTES);
    let deep = vec!["d"; limits::ARTIFACT_DEPTH].join("/");
    for good in ["a", "a/b", ".hidden", "a b/c", long.as_str(), deep.as_str()] {
        assert_eq!(path(good).unwrap().join("/"), good);
    }
    let (longer, deeper) = (format!("{long}x"), format!("{deep}/d"));
    let bad =
        ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\nb", &longer, &deeper];
    for wrong in bad {
        let error = path(wrong).unwrap_err();
        assert_eq!(error.reason(), Reason::InputInvalid, "{wrong:?}");
    }
}

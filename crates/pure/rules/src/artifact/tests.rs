//! Names, places, hashes and guards.

use super::*;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::labels::{ARTIFACT_FINALIZER, ARTIFACT_STORE_HASH};
use kruntimes_api::{FilesystemStore, Run, RunStatus};
use serde_json::json;

fn store(claim: &str) -> ArtifactStore {
    let filesystem = Some(FilesystemStore { volume_claim_name: claim.to_owned() });
    ArtifactStore { driver: ArtifactDriver::Filesystem, filesystem, s3: None }
}

#[test]
fn names_are_those_that_every_store_can_have() {
    let longest = "x".repeat(limits::ARTIFACT_NAME_BYTES);
    for name in ["a", "a b", "é.txt", "\u{fffd}", "..a", ".hidden", "a..b", longest.as_str()] {
        assert_eq!(check_name(name.as_bytes()), Ok(name));
    }
    let long = "x".repeat(limits::ARTIFACT_NAME_BYTES + 1);
    let hostile: [&[u8]; 11] = [
        "a\u{fffe}".as_bytes(),
        "\u{ffff}a".as_bytes(),
        b"",
        b".",
        b"..",
        b"a/b",
        b"a\\b",
        b"a\nb",
        b"\x1b[2J",
        b"\xff",
        long.as_bytes(),
    ];
    for name in hostile {
        let error = check_name(name).unwrap_err().to_string();
        assert!(error.is_ascii() || error.contains('…') || error.contains('\u{fffd}'), "{error}");
        assert!(!error.contains('\u{1b}') && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_reference_says_where_and_what() {
    let kept = Kept {
        name: "report.txt".to_owned(),
        kind: ArtifactType::File,
        size: 5,
        sha256: [0xab; 32],
        media_type: "text/plain".to_owned(),
    };
    let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let reference = serde_json::to_value(kept.reference(&store("pvc1"), "ns", "u-1", now)).unwrap();
    let want = json!({
        "name": "report.txt", "driver": "filesystem", "type": "file", "sizeBytes": 5,
        "location": {"filesystem":
            {"path": "namespaces/ns/runs/u-1/report.txt", "volumeClaimName": "pvc1"}},
        "digest": format!("sha256:{}", "ab".repeat(32)),
        "contentType": "text/plain", "createdAt": "2023-11-14T22:13:20Z",
    });
    assert_eq!(reference, want);
}

#[test]
fn what_a_run_that_ended_does_not_refer_to_is_nobodys() {
    let refs = |names: &[&str]| -> serde_json::Value {
        let one = |name: &&str| {
            json!({"name": name, "driver": "filesystem", "type": "file", "sizeBytes": 1,
                "location": {"filesystem": {"path": "p"}}, "createdAt": "2026-01-01T00:00:00Z"})
        };
        names.iter().map(one).collect()
    };
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    for (phase, attempt, kept, want) in [
        ("Succeeded", 1, &["a"][..], None),
        ("Succeeded", 2, &["a", "b"], names(&["a", "b"])),
        ("Succeeded", 2, &[], names(&[])),
        ("Failed", 1, &[], names(&[])),
        ("Cancelled", 3, &[], names(&[])),
        ("Running", 2, &[], None),
        ("Pending", 1, &[], None),
    ] {
        let mut run: Run = serde_json::from_value(json!({
            "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "r"},
            "spec": {"runtime": "x"},
            "status": {"phase": phase, "attempt": attempt, "artifactRefs": refs(kept),
                "artifactStore": store("pvc")},
        }))
        .unwrap();
        assert_eq!(only(&run), want, "{phase} {attempt}");
        run.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(only(&run), None, "{phase} {attempt} deleted");
        run.metadata.deletion_timestamp = None;
        run.status.as_mut().unwrap().artifact_store = None;
        assert_eq!(only(&run), None, "{phase} {attempt} without a store");
    }
}

fn in_bucket(s3: &serde_json::Value) -> ArtifactStore {
    serde_json::from_value(json!({"driver": "s3", "s3": s3})).unwrap()
}

#[test]
fn a_reference_into_a_bucket_has_the_prefix_once() {
    for (prefix, want) in [
        (json!(null), "namespaces/ns/runs/u-1/f"),
        (json!(""), "namespaces/ns/runs/u-1/f"),
        (json!("ci/x"), "ci/x/namespaces/ns/runs/u-1/f"),
    ] {
        let store = in_bucket(&json!({"bucket": "b", "prefix": prefix}));
        let want = json!({"s3": {"bucket": "b", "key": want}});
        assert_eq!(serde_json::to_value(location(&store, "ns", "u-1", "f")).unwrap(), want);
    }
}

#[test]
fn what_is_no_bucket_is_none() {
    for (endpoint, fits) in [
        ("", true),
        ("http://h", true),
        ("https://h:1/", true),
        ("h:1", false),
        ("ftp://h", false),
        ("http://", false),
        ("http:///", false),
        ("http://h/path", false),
    ] {
        let store = in_bucket(&json!({"bucket": "b", "endpoint": endpoint}));
        assert_eq!(bucket(&store).is_some(), fits, "{endpoint}");
    }
    for (name, fits) in [("b", true), ("", false), ("a/b", false)] {
        assert_eq!(bucket(&in_bucket(&json!({"bucket": name}))).is_some(), fits, "{name}");
    }
    let mut other = in_bucket(&json!({"bucket": "b"}));
    other.driver = ArtifactDriver::Filesystem;
    assert_eq!(bucket(&other), None);
}

#[test]
fn the_hash_of_a_store_is_the_public_apis() {
    let mut full = json!({"bucket": "b", "prefix": "ci/x", "endpoint": "http://minio:9000",
        "forcePathStyle": true, "credentialsSecretName": "keys"});
    assert_eq!(store_hash(&in_bucket(&full)), "431ab6ce26339678");
    // What is empty counts as absent.
    full["region"] = json!("");
    assert_eq!(store_hash(&in_bucket(&full)), "431ab6ce26339678");
    let plain = in_bucket(&json!({"bucket": "b", "forcePathStyle": false}));
    assert_eq!(store_hash(&plain), store_hash(&in_bucket(&json!({"bucket": "b"}))));
    assert_eq!(store_hash(&store("pvc1")), "45d07093075a44a9");
    assert_ne!(store_hash(&store("pvc2")), "45d07093075a44a9");
}

#[test]
fn media_types_come_from_the_name_or_the_content() {
    for (name, head, want) in [
        ("a.JSON", b"{}".as_slice(), "application/json"),
        ("a.tar.gz", b"", "application/gzip"),
        ("a", b"\x89PNG\r\n\x1a\n1", "image/png"),
        ("a", b"hello\n", "text/plain; charset=utf-8"),
        ("a", b"", "text/plain; charset=utf-8"),
        ("a", "é".as_bytes(), "text/plain; charset=utf-8"),
        ("a", &"é".as_bytes()[..1], "text/plain; charset=utf-8"),
        ("a", b"\xff\xfe", "application/octet-stream"),
        ("a.unknown", b"a\0b", "application/octet-stream"),
    ] {
        assert_eq!(media_type(name, head), want, "{name} {head:?}");
    }
}

fn run(store: Option<ArtifactStore>) -> Run {
    let mut run = Run {
        status: Some(RunStatus { artifact_store: store, ..RunStatus::default() }),
        ..Run::default()
    };
    run.metadata.resource_version = Some("7".to_owned());
    run
}

#[test]
fn a_run_with_a_store_is_guarded_once() {
    assert_eq!(guard(&run(None)), None);
    assert_eq!(guard(&Run::default()), None);
    let mut run = run(Some(store("pvc1")));
    assert!(!is_guarded(&run, &store("pvc1")));
    run.metadata.finalizers = Some(vec!["other/one".to_owned()]);
    let Guard { body } = guard(&run).unwrap();
    let want = json!({"metadata": {
        "resourceVersion": "7",
        "finalizers": ["other/one", ARTIFACT_FINALIZER],
        "labels": {ARTIFACT_STORE_HASH: "45d07093075a44a9"},
    }});
    assert_eq!(body, want);
    let mut guarded = run.clone();
    guarded.metadata.finalizers = Some(vec!["other/one".to_owned(), ARTIFACT_FINALIZER.to_owned()]);
    assert!(guard(&guarded).is_some(), "the label is missing");
    let label = (ARTIFACT_STORE_HASH.to_owned(), "45d07093075a44a9".to_owned());
    guarded.metadata.labels = Some([label].into());
    assert_eq!(guard(&guarded), None);
    assert!(is_guarded(&guarded, &store("pvc1")) && !is_guarded(&guarded, &store("pvc2")));
    // A user took the label away from what is being deleted: the maintainer must still find it.
    guarded.metadata.labels = None;
    guarded.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    assert!(guard(&guarded).is_some());
    run.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(guard(&run), None, "what is deleted takes no new finalizer");
}

#[test]
fn a_deleted_run_is_released_and_no_other() {
    let mut run = run(Some(store("pvc1")));
    run.metadata.finalizers = Some(vec![ARTIFACT_FINALIZER.to_owned(), "other/one".to_owned()]);
    assert_eq!(released(&run), None);
    run.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let Guard { body } = released(&run).unwrap();
    assert_eq!(body, json!({"metadata": {"resourceVersion": "7", "finalizers": ["other/one"]}}));
    run.metadata.finalizers = Some(vec!["other/one".to_owned()]);
    assert_eq!(released(&run), None);
}

#[test]
fn what_no_run_is_known_of_at_two_looks_is_an_orphan() {
    let mut sweep = Sweep::new();
    let mut look = |found: &[&'static str], known: &[&str]| {
        sweep.orphans(found.iter().copied().collect(), |one| known.contains(one))
    };
    assert_eq!(look(&["kept", "lost", "late"], &["kept"]), [] as [&str; 0], "the first look");
    assert_eq!(look(&["kept", "lost", "late", "new"], &["kept", "late"]), ["lost"]);
    assert_eq!(look(&["new"], &["new"]), [] as [&str; 0]);
    assert_eq!(look(&["new"], &[]), [] as [&str; 0], "its Run went just now");
    assert_eq!(look(&["new"], &[]), ["new"]);
}

#[test]
fn a_large_bucket_is_looked_at_in_stretches_each_twice_and_what_is_others_once() {
    let mut stretch = Stretch::new();
    fn look(
        stretch: &mut Stretch,
        from: Option<&str>,
        found: &[&str],
        next: Option<&str>,
    ) -> Vec<String> {
        assert_eq!(stretch.from(), from);
        let found = found.iter().map(|uid| (*uid).to_owned()).collect();
        stretch.orphans(found, next.map(str::to_owned), 2, |uid| uid == "known")
    }
    let all = &mut stretch;
    // One that fits into a stretch is looked at again and again.
    assert!(look(all, None, &["a", "known"], None).is_empty());
    assert_eq!(look(all, None, &["a", "b", "known"], None), ["a"]);
    assert_eq!(look(all, None, &["b"], None), ["b"]);
    // It has grown: each stretch comes twice, and what the one before had counts for no other.
    assert!(look(all, None, &["c"], Some("d")).is_empty());
    assert_eq!(look(all, None, &["c"], Some("d")), ["c"]);
    assert!(look(all, Some("d"), &["c", "e"], None).is_empty());
    assert_eq!(look(all, Some("d"), &["e"], None), ["e"]);
    // Where there is more than can be removed at once it stays, and what is others' is passed over.
    assert!(look(all, None, &["f", "g", "h"], Some("i")).is_empty());
    assert_eq!(look(all, None, &["f", "g", "h"], Some("i")), ["f", "g"]);
    all.is_others("f".to_owned());
    assert_eq!(look(all, None, &["f", "g", "h"], Some("i")), ["g", "h"]);
    assert!(look(all, Some("i"), &[], None).is_empty());
    assert!(look(all, Some("i"), &[], None).is_empty());
    // In the next round it is looked at again: it may be another one's by now.
    assert!(look(all, None, &["f"], None).is_empty());
    assert_eq!(look(all, None, &["f"], None), ["f"]);
}

#[test]
fn a_uid_has_one_form() {
    assert!(is_run_uid("0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e"));
    for other in [
        "",
        "0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5",
        "0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e0",
        "0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e-",
        "0B0E8B5E-0F5E-4B5E-8B5E-0B0E8B5E0F5E",
        "0b0e8b5e0f5e4b5e8b5e0b0e8b5e0f5e",
        "0b0e8b5e-0f5e-4b5e-8b5e0b0e8b5e0f5e",
        "../x8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e",
    ] {
        assert!(!is_run_uid(other), "{other}");
    }
}

#[test]
fn what_a_run_named_is_shown_without_what_a_terminal_obeys() {
    let exact = "x".repeat(60);
    assert_eq!(shown(exact.as_bytes()), format!("\"{exact}\""));
    assert_eq!(shown(format!("{exact}y").as_bytes()), format!("\"{exact}\"…"));
    assert_eq!(shown(b"a\n\x1b[2J\xff"), "\"a\\n\\u{1b}[2J\u{fffd}\"");
}

#[test]
fn a_digest_is_of_all_that_was_read() {
    // FIPS 180-2, appendix B.1.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut hash = Hash::new();
    hash.update(b"a");
    hash.update(b"bc");
    assert_eq!(hash.finish(), abc);
    assert_ne!(Hash::new().finish(), abc);
}

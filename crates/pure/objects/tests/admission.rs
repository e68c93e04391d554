//! What our CRDs admit and refuse, through the engine that serves them: both sides of each limit.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

#[cfg(test)]
#[path = "admission/env.rs"]
mod env;
#[cfg(test)]
#[path = "admission/shared.rs"]
mod shared;
#[cfg(test)]
#[path = "admission/sources.rs"]
mod sources;
#[cfg(test)]
#[path = "admission/stores.rs"]
mod stores;
#[cfg(test)]
#[path = "admission/workflows.rs"]
mod workflows;

use kruntimes_api::{Phase, crd};
use kruntimes_objects::schema::Schema;
use kruntimes_rules::run::phase::legal_for_any;
use serde_json::{Value, json};

fn schema(file: &str) -> Schema {
    let definition = crd::definitions().into_iter().find(|found| found.file == file).unwrap();
    let schema = &definition.object["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    Schema::compile(schema).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn run(spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "a"},
        "spec": {"runtime": "bash"},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    object
}

/// The errors of a new object, in text.
fn errors(schema: &Schema, mut object: Value) -> String {
    schema.default(&mut object);
    let errors = schema.validate(&object, None);
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn check_refused(schema: &Schema, object: Value, parts: &[&str]) {
    let errors = errors(schema, object);
    for part in parts {
        assert!(errors.contains(part), "{part:?} is not in {errors:?}");
    }
}

fn input(path: &str) -> Value {
    json!({"inputs": [{"name": "a", "fromRun": "x", "path": path}]})
}

fn inputs(count: usize) -> Value {
    let one = |number: usize| json!({"name": format!("a{number}"), "fromRun": "x"});
    json!({"inputs": (0..count).map(one).collect::<Vec<_>>()})
}

#[test]
fn the_last_legal_value_of_each_limit_is_accepted() {
    let schema = schema("kruntimes.io_runs.yaml");
    for spec in [
        json!({}),
        json!({"network": "none"}),
        json!({"resources": {"limits": {"memory": 1, "disk": "1Gi", "processes": 1}}}),
        json!({"resources": {"limits": {"memory": "512Mi", "processes": 1_000_000}}}),
        json!({"source": {}}),
        json!({"entrypoint": "a..b/c"}),
        json!({"entrypoint": "x".repeat(4096)}),
        json!({"args": vec!["x"; 256]}),
        json!({"args": ["x".repeat(8192)]}),
        json!({"args": vec!["x".repeat(8192); 16]}),
        json!({"source": {"inline": "x".repeat(262_144)}}),
        json!({"source": {"inline": "é".repeat(262_144)}}),
        source("https://h", None),
        source(&format!("https://h/{}", "x".repeat(2048 - "https://h/".len())), None),
        source("https://[::1]:8443/a/b.git?q#z@", Some("refs/pull/1/head")),
        source("https://h/x", Some(&"x".repeat(256))),
        source("https://h/x", Some("0123456789012345678901234567890123456789")),
        json!({"retryPolicy": {"maxAttempts": 100}}),
        json!({"retryPolicy": {"backoff": "24h"}}),
        json!({"retryPolicy": {"backoff": "1ns"}}),
        json!({"timeoutSeconds": 1}),
        json!({"timeoutSeconds": 31_536_000}),
        json!({"ttlSecondsAfterFinished": 0}),
        json!({"env": vec![json!({"name": "A", "value": "b"}); 256]}),
        json!({"env": [{"name": "x".repeat(4096)}]}),
        json!({"runtime": "x".repeat(63)}),
        json!({"resources": {}}),
        json!({"resources": {"requests": {"runs": 1}}}),
        json!({"resources": {"requests": {"runs": "10000", "gpu": 0, "a.b-c_9": "999P"}}}),
        json!({"resources": {"requests": {"gpu": 1_000_000_000_000_000_u64}}}),
        json!({"resources": {"requests": {"x".repeat(54): 1}}}),
        json!({"resources": {"requests": amounts(16)}}),
    ] {
        let text = spec.to_string().chars().take(80).collect::<String>();
        assert_eq!(errors(&schema, run(spec)), "", "{text}");
    }
}

#[test]
fn the_next_value_is_refused_by_field_and_limit() {
    let schema = schema("kruntimes.io_runs.yaml");
    let table: Vec<(Value, &[&str])> = vec![
        (
            json!({"entrypoint": "/etc/passwd"}),
            &["spec.entrypoint", "/etc/passwd", "relative path"],
        ),
        (json!({"entrypoint": "a/../b"}), &["spec.entrypoint", "no '..'"]),
        (json!({"entrypoint": ".."}), &["spec.entrypoint"]),
        (json!({"entrypoint": "x".repeat(4097)}), &["spec.entrypoint", "4096"]),
        (json!({"args": vec!["x"; 257]}), &["spec.args", "257", "256"]),
        (json!({"args": ["x".repeat(8193)]}), &["spec.args[0]", "8192"]),
        (json!({"args": vec!["x".repeat(8192); 17]}), &["spec.args", "131072"]),
        (json!({"source": {"inline": "x".repeat(262_145)}}), &["spec.source.inline", "262144"]),
        (
            json!({"source": {"inline": "a", "repoURL": "https://b"}}),
            &["spec.source", "exclude each other"],
        ),
        (json!({"source": {"commitSHA": "main"}}), &["spec.source.commitSHA", "needs repoURL"]),
        (
            source(&format!("https://h/{}", "x".repeat(2049 - "https://h/".len())), None),
            &["spec.source.repoURL", "2048"],
        ),
        (source("https://h/x", Some(&"x".repeat(257))), &["spec.source.commitSHA", "256"]),
        (json!({"retryPolicy": {"maxAttempts": 101}}), &["spec.retryPolicy.maxAttempts", "100"]),
        (json!({"retryPolicy": {"maxAttempts": 0}}), &["spec.retryPolicy.maxAttempts", "1"]),
        (json!({"retryPolicy": {"backoff": "soon"}}), &["spec.retryPolicy.backoff", "soon"]),
        (json!({"retryPolicy": {"backoff": "0s"}}), &["spec.retryPolicy.backoff", "above 0s"]),
        (json!({"retryPolicy": {"backoff": "24h1ns"}}), &["spec.retryPolicy.backoff", "24h"]),
        (json!({"timeoutSeconds": 0}), &["spec.timeoutSeconds", "1"]),
        (json!({"timeoutSeconds": 31_536_001}), &["spec.timeoutSeconds", "31536000"]),
        (json!({"timeout": "5s"}), &["use spec.timeoutSeconds"]),
        (json!({"timeout": 5}), &["use spec.timeoutSeconds"]),
        (json!({"mode": {"task": {}}}), &["use spec.entrypoint"]),
        (json!({"handler": "x".repeat(513)}), &["spec.handler", "512"]),
        (json!({"network": "some"}), &["spec.network", "\"some\""]),
        (json!({"resources": {"limits": {"memory": 0}}}), &["spec.resources.limits.memory"]),
        (json!({"resources": {"limits": {"memory": "0"}}}), &["spec.resources.limits.memory"]),
        (json!({"resources": {"limits": {"memory": "1.5Gi"}}}), &["spec.resources.limits.memory"]),
        (json!({"resources": {"limits": {"disk": "-1"}}}), &["spec.resources.limits.disk"]),
        (json!({"resources": {"limits": {"processes": 0}}}), &["spec.resources.limits.processes"]),
        (json!({"resources": {"limits": {"processes": 1_000_001}}}), &["processes"]),
        (json!({"env": [{"name": ""}]}), &["spec.env[0].name"]),
        (json!({"env": [{"name": "A=B"}]}), &["spec.env[0].name"]),
        (json!({"env": [{"name": "x".repeat(4097)}]}), &["spec.env[0].name", "4096"]),
        (json!({"env": vec![json!({"name": "A"}); 257]}), &["spec.env", "257", "256"]),
        (json!({"runtime": "x".repeat(64)}), &["spec.runtime", "63"]),
        (json!({"runtime": "-x"}), &["spec.runtime"]),
        (json!({"ttlSecondsAfterFinished": -1}), &["spec.ttlSecondsAfterFinished", "0"]),
    ];
    for (spec, parts) in table {
        check_refused(&schema, run(spec), parts);
    }
    check_refused(&schema, json!({"metadata": {"name": "a"}}), &["spec: Required value"]);
}

#[test]
fn inputs_stay_inside_of_the_working_directory() {
    let schema = schema("kruntimes.io_runs.yaml");
    for spec in [input("a/b c/d..e"), input(&"x".repeat(1024)), inputs(32)] {
        assert_eq!(errors(&schema, run(spec)), "");
    }
    let table: Vec<(Value, &[&str])> = vec![
        (
            json!({"inputs": [{"name": "a"}]}),
            &["spec.inputs[0]", "needs fromRun or ref, and not both"],
        ),
        (json!({"inputs": [{"name": "a/b", "fromRun": "x"}]}), &["spec.inputs[0].name", "no '/'"]),
        (json!({"inputs": [{"name": "..", "fromRun": "x"}]}), &["spec.inputs[0].name"]),
        (json!({"inputs": [{"name": "a", "fromRun": "X y"}]}), &["spec.inputs[0].fromRun"]),
        (input("/a"), &["spec.inputs[0].path", "inside the working directory"]),
        (input("a/../b"), &["spec.inputs[0].path", "'..'"]),
        (input("a//b"), &["spec.inputs[0].path"]),
        (input("a\\b"), &["spec.inputs[0].path", "no backslash"]),
        (input("a\nb"), &["spec.inputs[0].path", "no control characters"]),
        (input(&"x".repeat(1025)), &["spec.inputs[0].path", "1024"]),
        (
            json!({"inputs": [{"name": "a", "fromRun": "x"}, {"name": "b", "fromRun": "x", "path": "a"}]}),
            &["spec.inputs", "each input needs a path of its own"],
        ),
        (inputs(33), &["spec.inputs", "32"]),
    ];
    for (spec, parts) in table {
        check_refused(&schema, run(spec), parts);
    }
}

fn source(url: &str, revision: Option<&str>) -> Value {
    let mut source = json!({ "repoURL": url });
    if let Some(revision) = revision {
        source["commitSHA"] = json!(revision);
    }
    json!({ "source": source })
}

/// So many different resources.
fn amounts(count: usize) -> Value {
    (0..count).map(|index| (format!("r{index}"), json!(1))).collect()
}

#[test]
fn amounts_of_resources_are_integers_within_their_limits() {
    let runs = schema("kruntimes.io_runs.yaml");
    let runtimes = schema("kruntimes.io_runtimes.yaml");
    let refused = |amounts: Value, parts: &[&str]| {
        let (spec, field) =
            (json!({"resources": {"requests": amounts}}), "spec.resources.requests");
        check_refused(&runs, run(spec), &[&[field], parts].concat());
        let template = json!({"spec": {"containers": [{"name": "runtime", "image": "x"}]}});
        let mut runtime = runtime("bash", template);
        runtime["spec"]["capacity"] = json!({"resources": {"gpu": 1, "runs": 10_000}});
        assert_eq!(errors(&runtimes, runtime.clone()), "");
        runtime["spec"]["capacity"]["resources"] = amounts;
        check_refused(&runtimes, runtime, &[&["spec.capacity.resources"], parts].concat());
    };
    for value in ["1.5", "-1", "1e3", "100m", "", "Gi", "+1", "01", "many"] {
        refused(json!({"gpu": value}), &[".gpu", &format!("{value:?}")]);
    }
    refused(json!({"gpu": -1}), &[".gpu", "-1", "greater than or equal to 0"]);
    refused(json!({"gpu": 1_000_000_000_000_001_u64}), &[".gpu", "1000000000000000"]);
    refused(json!({"gpu": 1.5}), &[".gpu", "must be of type integer"]);
    for value in [json!(0), json!("0"), json!(10_001), json!("10001"), json!("2k")] {
        refused(json!({"runs": value}), &["runs must be an integer from 1 to 10000"]);
    }
    refused(amounts(17), &["17", "16"]);
    for name in ["x".repeat(55), "a/b".to_owned(), "-a".to_owned(), String::new()] {
        refused(json!({name: 1}), &["the name of a resource", "54"]);
    }
}

#[test]
fn a_spec_never_changes_but_for_cancel_and_ttl() {
    let schema = schema("kruntimes.io_runs.yaml");
    let old = run(json!({"args": ["a"], "timeoutSeconds": 5}));
    let changed = |spec: Value| {
        let mut new = run(json!({"args": ["a"], "timeoutSeconds": 5}));
        new["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        schema.validate(&new, Some(&old)).len()
    };
    assert_eq!(changed(json!({})), 0);
    assert_eq!(changed(json!({"cancelRequested": true, "ttlSecondsAfterFinished": 9})), 0);
    for spec in [
        json!({"runtime": "other"}),
        json!({"args": ["b"]}),
        json!({"entrypoint": "x"}),
        json!({"timeoutSeconds": 6}),
        json!({"source": {"inline": "x"}}),
        json!({"env": [{"name": "A"}]}),
        json!({"retryPolicy": {"maxAttempts": 2}}),
        json!({"resources": {"requests": {"gpu": 1}}}),
    ] {
        assert_eq!(changed(spec.clone()), 1, "{spec}");
    }
    let without = run(json!({"args": ["a"]}));
    assert_eq!(schema.validate(&without, Some(&old)).len(), 1, "a field can't be taken away");
    let cancelled = run(json!({"cancelRequested": true}));
    assert_eq!(schema.validate(&run(json!({"cancelRequested": false})), Some(&cancelled)).len(), 1);
    assert_eq!(schema.validate(&run(json!({})), Some(&cancelled)).len(), 1);
}

/// A status that a Run may well have in this phase.
fn status(phase: Phase, attempt: i32, uid: &str) -> Value {
    let mut status = json!({"phase": phase, "attempt": attempt, "assignedPodUID": uid});
    if phase != Phase::Pending {
        status["assignedPod"] = json!("p");
    }
    status
}

fn with_status(status: Value) -> Value {
    let mut object = run(json!({"retryPolicy": {"maxAttempts": 3}}));
    object["status"] = status;
    object
}

#[test]
fn every_pair_of_phases_is_judged_as_the_table_says() {
    let schema = schema("kruntimes.io_runs.yaml");
    for from in Phase::ALL {
        for to in Phase::ALL {
            let assigns = from == Phase::Pending && to == Phase::Scheduled;
            let old = with_status(status(from, 1, "u1"));
            let mut new = if assigns { status(to, 2, "u2") } else { status(to, 1, "u1") };
            if from == Phase::Pending && to != Phase::Scheduled {
                new.as_object_mut().unwrap().remove("assignedPod");
            }
            new["message"] = json!("changed");
            let refused = !schema.validate(&with_status(new), Some(&old)).is_empty();
            // The same phase again is a write within it, which a Run that has not ended may see.
            let legal = legal_for_any(from, to) || (from == to && !from.is_terminal());
            assert_eq!(refused, !legal, "{from} -> {to}");
        }
    }
}

#[test]
fn attempt_and_pod_change_only_at_an_assignment() {
    let schema = schema("kruntimes.io_runs.yaml");
    let refused = |old: Value, new: Value| {
        !schema.validate(&with_status(new), Some(&with_status(old))).is_empty()
    };
    let (pending, scheduled) = (Phase::Pending, Phase::Scheduled);
    assert!(!refused(json!({"phase": "Pending"}), status(scheduled, 1, "u")));
    assert!(
        refused(json!({"phase": "Pending"}), status(scheduled, 2, "u")),
        "a number is left out"
    );
    assert!(refused(status(scheduled, 1, "u"), status(Phase::Running, 2, "u")));
    assert!(refused(status(scheduled, 1, "u"), status(Phase::Running, 1, "other")));
    let mut not_started = status(pending, 1, "u");
    not_started["reason"] = json!("NotStarted");
    assert!(!refused(not_started.clone(), status(scheduled, 1, "v")), "it keeps its number");
    assert!(refused(not_started, status(scheduled, 2, "v")));
    assert!(!refused(status(pending, 2, "u"), status(scheduled, 3, "v")));
    assert!(refused(status(pending, 3, "u"), status(scheduled, 4, "v")), "above maxAttempts");
}

#[test]
fn a_terminal_status_can_not_be_taken_away() {
    let schema = schema("kruntimes.io_runs.yaml");
    let old = with_status(status(Phase::Succeeded, 1, "u"));
    for mut new in [run(json!({"retryPolicy": {"maxAttempts": 3}})), with_status(Value::Null)] {
        schema.default(&mut new);
        assert!(!schema.validate(&new, Some(&old)).is_empty());
    }
    let mut relabelled = old.clone();
    relabelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(schema.validate(&relabelled, Some(&old)).is_empty(), "labels still change");
}

fn runtime(name: &str, template: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"template": template}})
}

#[test]
fn runtimes_that_can_not_work_are_refused() {
    let schema = schema("kruntimes.io_runtimes.yaml");
    let container = json!({"name": "runtime", "image": "x"});
    let spec = |extra: Value| {
        let mut spec = json!({"containers": [container]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"spec": spec})
    };
    assert_eq!(errors(&schema, runtime("bash", spec(json!({})))), "");
    assert_eq!(errors(&schema, runtime(&"x".repeat(53), spec(json!({})))), "");
    check_refused(&schema, runtime(&"x".repeat(54), spec(json!({}))), &["53"]);
    check_refused(
        &schema,
        runtime("bash", spec(json!({"containers": [{"name": "server", "image": "x"}]}))),
        &["the first container must be named runtime"],
    );
    check_refused(
        &schema,
        runtime("bash", spec(json!({"containers": [{"name": "runtime"}]}))),
        &["needs an image"],
    );
    check_refused(&schema, runtime("bash", spec(json!({"restartPolicy": "Never"}))), &["Always"]);
    let labelled = |key: &str, value: &str| {
        let mut template = spec(json!({}));
        template["metadata"] = json!({"labels": {key: value}});
        errors(&schema, runtime("bash", template))
    };
    assert_eq!(labelled("team", "a"), "");
    assert_eq!(labelled("runtime", "bash"), "");
    assert_eq!(labelled("app", "kruntimes-bash"), "");
    assert!(labelled("runtime", "other").contains("set by the controller"));
    assert!(labelled("kruntimes.io/x", "y").contains("set by the controller"));
    assert!(labelled("app", "bash").contains("set by the controller"));
    assert_eq!(labelled("team", &"x".repeat(63)), "");
    assert!(labelled("team", &"x".repeat(64)).contains("63"));
    for kind in ["labels", "annotations"] {
        let many = |count| {
            let keys = (0..count).map(|key| (format!("k{key}"), json!("v")));
            let mut template = spec(json!({}));
            template["metadata"] = json!({ kind: keys.collect::<serde_json::Map<_, _>>() });
            errors(&schema, runtime("bash", template))
        };
        assert_eq!(many(64), "");
        assert!(many(65).contains("64"), "{kind}");
    }
    let mut object = runtime("bash", spec(json!({})));
    object["spec"]["port"] = json!(65535);
    assert_eq!(errors(&schema, object.clone()), "");
    object["spec"]["port"] = json!(65536);
    check_refused(&schema, object.clone(), &["spec.port", "65535"]);
    object["spec"]["port"] = json!(1);
    assert_eq!(errors(&schema, object), "");
}

//! The rules of a Run, as its API states them, on the transitions that they allow and refuse.
use super::{compiled, texts};
use serde_json::{Value, json};

/// A schema of the size and with the rules of a Run.
#[expect(clippy::too_many_lines, reason = "a table")]
fn run_schema() -> Value {
    let frozen = |field: &str| {
        json!({
            "rule": format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"),
            "message": format!("{field} is immutable"), "fieldPath": format!(".{field}")
        })
    };
    let mut spec_rules: Vec<Value> = [
        "runtime",
        "source",
        "entrypoint",
        "args",
        "env",
        "timeoutSeconds",
        "retryPolicy",
        "resources",
        "network",
    ]
    .into_iter()
    .map(frozen)
    .collect();
    spec_rules.extend([
        json!({"rule": "!(has(oldSelf.cancelRequested) && oldSelf.cancelRequested) || (has(self.cancelRequested) && self.cancelRequested)", "message": "cancelRequested may not be taken back"}),
        json!({"rule": "!has(self.entrypoint) || (!self.entrypoint.startsWith('/') && !self.entrypoint.split('/').exists(s, s == '..'))", "message": "entrypoint must be relative, without ..", "fieldPath": ".entrypoint"}),
        json!({"rule": "!has(self.args) || self.args.map(a, a.size()).sum() <= 131072", "message": "args measure more than 131072 characters", "fieldPath": ".args"}),
        json!({"rule": "!has(self.env) || self.env.map(e, e.name.size() + (has(e.value) ? e.value.size() : 0)).sum() <= 131072", "message": "env measures more than 131072 characters", "fieldPath": ".env"}),
        json!({"rule": "!has(self.source) || !(has(self.source.inline) && has(self.source.repoURL))", "message": "inline and repoURL exclude each other", "fieldPath": ".source"}),
        json!({"rule": "!has(self.mode)", "message": "spec.mode is not served", "fieldPath": ".mode"}),
    ]);
    let phase = "has(self.status) && has(self.status.phase) ? self.status.phase : ''";
    let old_phase = "!has(oldSelf.status) || !has(oldSelf.status.phase)";
    let terminal = "['Succeeded', 'Failed', 'Timeout', 'Cancelled']";
    json!({
        "type": "object", "required": ["spec"],
        "x-kubernetes-validations": [
            {"rule": format!("{old_phase} || oldSelf.status.phase != 'Pending' || ({phase}) in ['Pending', 'Scheduled', 'Cancelled', 'Failed']"), "message": "illegal transition", "fieldPath": ".status.phase"},
            {"rule": format!("{old_phase} || oldSelf.status.phase != 'Scheduled' || ({phase}) != ''"), "message": "illegal transition", "fieldPath": ".status.phase"},
            {"rule": format!("{old_phase} || oldSelf.status.phase != 'Running' || ({phase}) in ['Pending', 'Running', 'Succeeded', 'Failed', 'Timeout', 'Cancelled']"), "message": "illegal transition", "fieldPath": ".status.phase"},
            {"rule": format!("{old_phase} || !(oldSelf.status.phase in {terminal}) || (has(self.status) && self.status == oldSelf.status)"), "message": "a finished run never changes", "fieldPath": ".status"},
            {"rule": "!has(oldSelf.status) || !has(self.status) || self.status.attempt == oldSelf.status.attempt || (self.status.phase == 'Scheduled' && self.status.attempt == oldSelf.status.attempt + (has(oldSelf.status.reason) && oldSelf.status.reason == 'NotStarted' ? 0 : 1))", "message": "attempt grows by one, at an assignment", "fieldPath": ".status.attempt"},
            {"rule": "!has(self.status) || !has(self.status.attempt) || !has(self.spec.retryPolicy) || self.status.attempt <= self.spec.retryPolicy.maxAttempts", "message": "attempt exceeds maxAttempts", "fieldPath": ".status.attempt"}
        ],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": {
                "type": "object", "required": ["runtime"], "x-kubernetes-validations": spec_rules,
                "properties": {
                    "runtime": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
                    "entrypoint": {"type": "string", "maxLength": 4096},
                    "args": {"type": "array", "maxItems": 256, "items": {"type": "string", "maxLength": 8192}},
                    "env": {
                        "type": "array", "maxItems": 256, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string", "minLength": 1, "maxLength": 256}, "value": {"type": "string", "maxLength": 8192}
                        }}
                    },
                    "source": {"type": "object", "properties": {
                        "inline": {"type": "string", "maxLength": 262144}, "repoURL": {"type": "string", "maxLength": 2048}
                    }},
                    "timeoutSeconds": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 31536000},
                    "cancelRequested": {"type": "boolean"},
                    "mode": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "network": {"type": "string", "enum": ["full", "none"]},
                    "resources": {"type": "object", "properties": {"requests": {"type": "object", "additionalProperties": {
                        "anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true
                    }}}},
                    "retryPolicy": {"type": "object", "properties": {
                        "maxAttempts": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1},
                        "backoff": {
                            "type": "string", "maxLength": 32,
                            "x-kubernetes-validations": [{"rule": "duration(self) > duration('0s') && duration(self) <= duration('24h')", "message": "backoff must be a duration in (0s, 24h]"}]
                        }
                    }}
                }
            },
            "status": {
                "type": "object", "default": {"phase": "Pending"},
                "properties": {
                    "phase": {"type": "string", "enum": ["Pending", "Scheduled", "Running", "Succeeded", "Failed", "Timeout", "Cancelled"]},
                    "attempt": {"type": "integer", "minimum": 0, "default": 0},
                    "reason": {"type": "string"}, "message": {"type": "string", "maxLength": 4096},
                    "startTime": {"type": "string", "format": "date-time"}
                }
            }
        }
    })
}

#[expect(clippy::needless_pass_by_value, reason = "calls read as tables")]
fn run(spec: Value, status: Value) -> Value {
    json!({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "r"}, "spec": spec, "status": status})
}

fn spec() -> Value {
    json!({
        "runtime": "bash", "entrypoint": "script", "source": {"inline": "echo hello"}, "args": ["a", "b"],
        "env": [{"name": "A", "value": "1"}], "retryPolicy": {"maxAttempts": 3, "backoff": "1s"},
        "resources": {"requests": {"cpu": "100m", "memory": 5}}
    })
}

#[test]
fn status_transitions() {
    let schema = compiled(&run_schema());
    let status = |phase: &str, attempt: u32| json!({"phase": phase, "attempt": attempt});
    for (from, to, allowed) in [
        (status("Pending", 0), status("Pending", 0), true),
        (status("Pending", 0), status("Scheduled", 1), true),
        (status("Pending", 0), status("Scheduled", 2), false),
        (status("Pending", 0), status("Cancelled", 0), true),
        (status("Pending", 0), status("Running", 0), false),
        (status("Pending", 0), status("Succeeded", 0), false),
        (status("Scheduled", 1), status("Running", 1), true),
        (status("Scheduled", 1), status("Succeeded", 1), true),
        (status("Running", 1), status("Scheduled", 2), false),
        (status("Running", 1), status("Pending", 1), true),
        (status("Running", 1), status("Pending", 0), false),
        (status("Pending", 3), status("Scheduled", 4), false),
        (status("Succeeded", 1), status("Pending", 1), false),
        (status("Succeeded", 1), status("Succeeded", 1), true),
        (
            status("Succeeded", 1),
            json!({"phase": "Succeeded", "attempt": 1, "message": "late"}),
            false,
        ),
        (
            json!({"phase": "Pending", "attempt": 1, "reason": "NotStarted"}),
            status("Scheduled", 1),
            true,
        ),
        (
            json!({"phase": "Pending", "attempt": 1, "reason": "NotStarted"}),
            status("Scheduled", 2),
            false,
        ),
    ] {
        let errors =
            texts(&schema.validate_status(&run(spec(), to.clone()), &run(spec(), from.clone())));
        assert_eq!(errors.is_empty(), allowed, "{from} -> {to}: {errors:?}");
    }
}

#[test]
fn a_removed_status_is_defaulted_and_then_refused() {
    let schema = compiled(&run_schema());
    let old = run(spec(), json!({"phase": "Succeeded", "attempt": 1}));
    let mut new = run(spec(), json!(null));
    schema.default(&mut new);
    assert_eq!(new["status"], json!({"phase": "Pending", "attempt": 0}));
    let errors = texts(&schema.validate_status(&new, &old));
    assert!(
        errors.contains(
            &"status: Invalid value: \"object\": a finished run never changes".to_owned()
        ),
        "{errors:?}"
    );
}

#[test]
fn texts_of_the_status_subresource_start_at_status() {
    let schema = compiled(&run_schema());
    let old = run(spec(), json!({"phase": "Pending", "attempt": 0}));
    for (status, text) in [
        (
            json!({"phase": "Odd", "attempt": 0}),
            "status.phase: Unsupported value: \"Odd\": supported values: \"Pending\"",
        ),
        (
            json!({"phase": 1}),
            "status.phase: Invalid value: \"integer\": phase in body must be of type string: \"integer\"",
        ),
        (
            json!({"phase": "Pending", "attempt": -1}),
            "status.attempt: Invalid value: -1: attempt in body should be greater than or equal to 0",
        ),
    ] {
        let errors = texts(&schema.validate_status(&run(spec(), status), &old));
        assert!(errors[0].starts_with(text), "{errors:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn specs_that_are_refused_and_their_legal_neighbours() {
    let schema = compiled(&run_schema());
    let with = |key: &str, value: Value| {
        let mut spec = spec();
        spec[key] = value;
        spec
    };
    let args = |count: usize| json!(vec![""; count]);
    let big = |size: usize| json!({"inline": "é".repeat(size)});
    let retry = |backoff: &str| json!({"maxAttempts": 100, "backoff": backoff});
    for (good, bad, text) in [
        (
            with("args", args(256)),
            with("args", args(257)),
            "spec.args: Too many: 257: must have at most 256 items",
        ),
        (
            with("source", big(262_144)),
            with("source", big(262_145)),
            "spec.source.inline: Too long: may not be more than 262144 bytes",
        ),
        (
            with("entrypoint", json!("a..b/c")),
            with("entrypoint", json!("a/../c")),
            "spec.entrypoint: Invalid value: \"object\": entrypoint must be relative, without ..",
        ),
        (
            with("entrypoint", json!("tmp/x")),
            with("entrypoint", json!("/tmp/x")),
            "spec.entrypoint: Invalid value: \"object\": entrypoint must be relative, without ..",
        ),
        (
            with("source", json!({})),
            with("source", json!({"inline": "", "repoURL": ""})),
            "spec.source: Invalid value: \"object\": inline and repoURL exclude each other",
        ),
        (
            with("retryPolicy", retry("24h")),
            with("retryPolicy", retry("24h1ns")),
            "spec.retryPolicy.backoff: Invalid value: \"string\": backoff must be a duration in (0s, 24h]",
        ),
        (
            with("retryPolicy", retry("1ns")),
            with("retryPolicy", retry("soon")),
            "spec.retryPolicy.backoff: Invalid value: \"string\": type conversion error from 'string' to \
             'google.protobuf.Duration' evaluating rule: backoff must be a duration in (0s, 24h]",
        ),
        (
            with("args", json!(vec!["x".repeat(8192); 16])),
            with("args", json!(vec!["x".repeat(8192); 17])),
            "spec.args: Invalid value: \"object\": args measure more than 131072 characters",
        ),
        (
            spec(),
            with("mode", json!({"task": {}})),
            "spec.mode: Invalid value: \"object\": spec.mode is not served",
        ),
    ] {
        assert_eq!(
            texts(&schema.validate(&run(good, json!({"phase": "Pending"})), None)),
            Vec::<String>::new()
        );
        let errors = texts(&schema.validate(&run(bad, json!({"phase": "Pending"})), None));
        assert_eq!(errors[0], text);
    }
    let missing = json!({"apiVersion": "v1", "kind": "Run", "metadata": {}});
    assert_eq!(texts(&schema.validate(&missing, None))[0], "spec: Required value");
}

#[test]
fn specs_are_frozen_even_through_absence() {
    let schema = compiled(&run_schema());
    let pending = || json!({"phase": "Pending", "attempt": 0});
    let old = run(spec(), pending());
    let mut cancelled = spec();
    cancelled["cancelRequested"] = json!(true);
    assert_eq!(
        texts(&schema.validate(&run(cancelled, pending()), Some(&old))),
        Vec::<String>::new()
    );
    let mut reordered = spec();
    reordered["env"] = json!([{"value": "1", "name": "A"}]);
    assert_eq!(
        texts(&schema.validate(&run(reordered, pending()), Some(&old))),
        Vec::<String>::new()
    );
    for (key, value) in
        [("runtime", json!("python")), ("args", json!(["b", "a"])), ("entrypoint", json!(null))]
    {
        let mut changed = spec();
        changed[key] = value;
        let mut changed = run(changed, pending());
        schema.default(&mut changed);
        let errors = texts(&schema.validate(&changed, Some(&old)));
        assert_eq!(errors, [format!("spec.{key}: Invalid value: \"object\": {key} is immutable")]);
    }
}

#[test]
fn one_schema_serves_many_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&compiled(&run_schema()));
}

//! The Deployment of a Runtime.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use super::*;
use kruntimes_api::{Runtime, limits};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn runtime(spec: Value) -> Runtime {
    serde_json::from_value(json!({
        "metadata": {"name": "bash", "namespace": "default", "uid": "u"}, "spec": spec,
    }))
    .unwrap()
}

pub(super) fn settings() -> Settings {
    Settings::new("kruntimes-runtimed:latest".to_owned(), Duration::from_secs(30))
}

pub(super) fn build(spec: Value) -> Value {
    serde_json::to_value(deployment(&validate(&runtime(spec), &settings()).unwrap())).unwrap()
}

fn template(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn the_sidecar_is_injected_last_with_what_it_needs() {
    let built = build(json!({
        "template": template(json!([
            {"name": "runtime", "image": "r"}, {"name": "extra", "image": "e"},
        ])),
        "capacity": {"resources": {"runs": 4}},
        "replicas": 3,
    }));
    assert_eq!(built["metadata"]["name"], "runtime-bash");
    assert_eq!(built["spec"]["replicas"], 3);
    let containers = built["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<_> =
        containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["runtime", "extra", "runtimed"]);
    assert_eq!(containers[2]["image"], "kruntimes-runtimed:latest");
    assert_eq!(
        containers[2]["args"],
        json!([
            "serve",
            "runtimed",
            "--runtime-endpoint=127.0.0.1:9091",
            "--status-addr=:9093",
            "--runtime-name=bash",
            "--drain-timeout-seconds=300",
            "--fence-after-seconds=30",
            "--workers=4"
        ])
    );
    assert_eq!(
        built["spec"]["template"]["metadata"]["annotations"]["kruntimes.io/capacity.runs"],
        "4"
    );
    assert_eq!(
        built["spec"]["selector"]["matchLabels"],
        json!({"runtime": "bash", "app": "kruntimes-bash"})
    );
    assert_eq!(built["metadata"]["ownerReferences"][0]["controller"], true);
}

#[test]
fn labels_and_annotations_of_the_template_are_carried() {
    let built = build(json!({"template": {
        "metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "spec": {"containers": [{"name": "runtime", "image": "r"}]},
    }}));
    let metadata = &built["spec"]["template"]["metadata"];
    assert_eq!(
        metadata["labels"],
        json!({"team": "a", "runtime": "bash", "app": "kruntimes-bash"})
    );
    assert_eq!(metadata["annotations"], json!({"note": "b"}));
}

#[test]
fn a_pod_that_is_to_end_waits_for_its_runs() {
    for (said, want) in [(None, 300), (Some(1), 1), (Some(86_400), 86_400)] {
        let built = build(json!({
            "template": template(json!([{"name": "runtime", "image": "r"}])), "drainTimeoutSeconds": said,
        }));
        let pod = &built["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], want);
        let hook = &pod["containers"][0]["lifecycle"]["preStop"];
        assert_eq!(*hook, json!({"httpGet": {"path": "/drain", "port": 9094}}));
        assert!(pod["containers"][1].get("lifecycle").is_none());
        let liveness = &pod["containers"][0]["livenessProbe"];
        assert_eq!(
            (
                &liveness["httpGet"]["path"],
                &liveness["periodSeconds"],
                &liveness["failureThreshold"]
            ),
            (&json!("/livez/runtime"), &json!(10), &json!(6))
        );
    }
}

#[test]
fn what_the_user_set_stays() {
    let built = build(json!({"template": template(json!([{
        "name": "runtime", "image": "r", "readinessProbe": {"exec": {"command": ["true"]}},
        "resources": {"limits": {"cpu": "1"}}, "securityContext": {"runAsUser": 7},
    }]))}));
    let server = &built["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(server["readinessProbe"], json!({"exec": {"command": ["true"]}}));
    assert_eq!(server["resources"]["limits"], json!({"cpu": "1"}));
    assert_eq!(server["resources"]["requests"], json!({"cpu": "250m", "memory": "256Mi"}));
    assert_eq!(
        server["securityContext"],
        json!({
            "runAsUser": 7, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        })
    );
}

#[test]
fn both_containers_are_one_user_for_the_control_token_is_its_owners_alone() {
    for (pod, server, want) in [
        (json!({}), json!({}), (65_532, 65_532, 65_532)),
        (json!({"runAsUser": 7}), json!({}), (7, 65_532, 65_532)),
        (json!({"runAsUser": 7, "runAsGroup": 8, "fsGroup": 9}), json!({}), (7, 8, 9)),
        (json!({"runAsUser": 7}), json!({"runAsUser": 10, "runAsGroup": 11}), (10, 11, 65_532)),
    ] {
        let mut template =
            template(json!([{"name": "runtime", "image": "r", "securityContext": server}]));
        template["spec"]["securityContext"] = pod;
        let spec = build(json!({"template": template}))["spec"]["template"]["spec"].clone();
        let whole = &spec["securityContext"];
        let effective = |container: usize, field: &str| {
            let own = &spec["containers"][container]["securityContext"][field];
            own.as_i64().or_else(|| whole[field].as_i64()).unwrap()
        };
        for container in [0, 1] {
            let user = (effective(container, "runAsUser"), effective(container, "runAsGroup"));
            assert_eq!((user.0, user.1, whole["fsGroup"].as_i64().unwrap()), want);
        }
        assert_eq!(whole["runAsNonRoot"], true);
        assert_eq!(whole["seccompProfile"], json!({"type": "RuntimeDefault"}));
    }
}

#[test]
fn a_runtime_that_cannot_work_is_named() {
    let good = template(json!([{"name": "runtime", "image": "r"}]));
    let check = |spec: Value| validate(&runtime(spec), &settings()).unwrap_err();
    assert_eq!(check(json!({"template": {}})), InvalidPool::NoServer);
    for port in [9090, 9093, 9094] {
        let error = check(json!({"template": good, "port": port})).to_string();
        assert!(error.starts_with(&format!("spec.port: {port} is runtimed's own")), "{error}");
    }
    for (name, value) in
        [("runs", "0"), ("runs", "10001"), ("runs", "x"), ("gpu", "1.5"), ("gpu", "-1")]
    {
        let spec = json!({"template": good, "capacity": {"resources": {name: value}}});
        let error = check(spec).to_string();
        let start = format!("spec.capacity.resources.{name}: {value:?} is not an integer from ");
        assert!(error.starts_with(&start), "{error}");
    }
}

/// Where a container mounts volumes other than the workspace.
fn mounts(container: &Value) -> Vec<(&str, &str, bool)> {
    let mounts = container["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mounts = mounts.iter().filter(|mount| mount["name"] != "workspace").map(|mount| {
        let text = |field: &str| mount[field].as_str().unwrap();
        (text("name"), text("mountPath"), mount["readOnly"] == true)
    });
    mounts.collect()
}

#[test]
fn what_runs_may_use_is_mounted_into_runtimed_alone() {
    let kept = json!([{"name": "kept", "mountPath": "/kept"}]);
    let mut template = template(json!([
        {"name": "runtime", "image": "r", "volumeMounts": kept},
        {"name": "extra", "image": "e", "volumeMounts": kept},
    ]));
    template["spec"]["initContainers"] =
        json!([{"name": "init", "image": "i", "volumeMounts": kept}]);
    template["spec"]["volumes"] = json!([{"name": "kept", "emptyDir": {}}]);
    let built = build(json!({
        "template": template, "allowedSecrets": ["tls", "db.main"], "allowedConfigMaps": ["db.main"],
    }));
    let spec = &built["spec"]["template"]["spec"];
    assert_eq!(
        spec["volumes"],
        json!([
            {"name": "kept", "emptyDir": {}},
            {"name": "workspace", "emptyDir": {}},
            {"name": "kruntimes-control", "emptyDir": {}},
            {"name": "kruntimes-state", "emptyDir": {}},
            {"name": "kruntimes-api-access", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}},
            {"name": "kruntimes-secret-0", "secret": {"secretName": "db.main", "optional": true}},
            {"name": "kruntimes-secret-1", "secret": {"secretName": "tls", "optional": true}},
            {"name": "kruntimes-configmap-0", "configMap": {"name": "db.main", "optional": true}},
        ])
    );
    let control = |read_only| ("kruntimes-control", "/var/run/kruntimes", read_only);
    let kept = ("kept", "/kept", false);
    assert_eq!(mounts(&spec["containers"][0]), [kept, control(true)]);
    assert_eq!(mounts(&spec["containers"][1]), [kept]);
    assert_eq!(mounts(&spec["initContainers"][0]), [kept]);
    assert_eq!(
        mounts(&spec["containers"][2]),
        [
            control(false),
            ("kruntimes-state", "/var/lib/kruntimes/state", false),
            ("kruntimes-api-access", "/var/run/secrets/kubernetes.io/serviceaccount", true),
            ("kruntimes-secret-0", "/etc/kruntimes/secrets/db.main", true),
            ("kruntimes-secret-1", "/etc/kruntimes/secrets/tls", true),
            ("kruntimes-configmap-0", "/etc/kruntimes/configmaps/db.main", true),
        ]
    );
    let other_order = build(json!({
        "template": template, "allowedSecrets": ["db.main", "tls"], "allowedConfigMaps": ["db.main"],
    }));
    assert_eq!(built, other_order);
}

#[test]
fn the_runtime_alone_says_whether_its_runs_are_kept_apart() {
    let variable = |value: &str| json!({"name": "KRUNTIMES_ISOLATION", "value": value});
    let env = |isolation: Value, env: Value| {
        let server = json!({"name": "runtime", "image": "r", "env": env});
        let built = build(json!({"template": template(json!([server])), "isolation": isolation}));
        built["spec"]["template"]["spec"]["containers"][0]["env"].clone()
    };
    let other = json!({"name": "A", "value": "1"});
    for isolation in [Value::Null, json!("process")] {
        assert_eq!(env(isolation.clone(), json!([variable("none")])), Value::Null);
        assert_eq!(env(isolation, json!([variable("none"), other])), json!([other]));
    }
    let none = env(json!("none"), json!([other, variable("process")]));
    assert_eq!(none, json!([other, variable("none")]));
}

#[test]
fn a_name_and_the_number_of_secrets_have_limits() {
    let containers = json!([{"name": "runtime", "image": "r"}]);
    let named = |chars: u32| {
        let mut runtime = runtime(json!({"template": template(containers.clone())}));
        runtime.metadata.name = Some("n".repeat(chars as usize));
        validate(&runtime, &settings()).err()
    };
    assert_eq!(named(limits::RUNTIME_NAME_CHARS), None);
    assert_eq!(named(limits::RUNTIME_NAME_CHARS + 1), Some(InvalidPool::NameTooLong));
    let secrets = |count: u32| {
        let names: Vec<_> = (0..count).map(|number| format!("s{number}")).collect();
        let spec = json!({"template": template(containers.clone()), "allowedSecrets": names});
        validate(&runtime(spec), &settings()).err()
    };
    assert_eq!(secrets(limits::ALLOWED_ITEMS), None);
    let many = InvalidPool::TooManySources { field: "spec.allowedSecrets" };
    assert_eq!(secrets(limits::ALLOWED_ITEMS + 1), Some(many));
}

#[test]
fn names_that_no_secret_can_have_are_refused() {
    let with = |field: &str, list: Value| {
        let mut spec = json!({"template": template(json!([{"name": "runtime", "image": "r"}]))});
        spec[field] = list;
        validate(&runtime(spec), &settings())
    };
    for field in ["allowedSecrets", "allowedConfigMaps"] {
        for name in ["", "..", ".x", "a/b", "Db", &"n".repeat(254)] {
            let refused = with(field, json!([name])).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("spec.{field}: ")), "{refused}");
        }
        assert!(with(field, json!(["n".repeat(253), "a.b-c"])).is_ok());
        let numbered =
            |count: usize| json!((0..count).map(|n| format!("s{n}")).collect::<Vec<_>>());
        assert!(with(field, numbered(64)).is_ok());
        let refused = with(field, numbered(65)).unwrap_err().to_string();
        assert_eq!(refused, format!("spec.{field}: at most 64 names"));
    }
}

#[test]
fn every_resource_reaches_the_scheduler_and_runtimed() {
    let containers = json!([{"name": "runtime", "image": "r"}]);
    let built = |resources: Value| {
        let built = build(json!({
            "template": template(containers.clone()), "capacity": {"resources": resources},
        }));
        let template = &built["spec"]["template"];
        let arguments = template["spec"]["containers"][1]["args"].as_array().unwrap().clone();
        (template["metadata"]["annotations"].clone(), Value::Array(arguments[6..].to_vec()))
    };
    let (annotations, arguments) = built(json!({"memory": "8Gi", "gpu": 2, "none": 0}));
    assert_eq!(
        annotations,
        json!({
            "kruntimes.io/capacity.runs": "2", "kruntimes.io/capacity.gpu": "2",
            "kruntimes.io/capacity.memory": "8589934592",
        })
    );
    let expected = json!([
        "--fence-after-seconds=30",
        "--workers=2",
        "--capacity=gpu=2",
        "--capacity=memory=8589934592",
    ]);
    assert_eq!(arguments, expected);
    assert_eq!(
        built(json!({})),
        (Value::Null, json!(["--fence-after-seconds=30"])),
        "both sides know the default"
    );
}

#[test]
fn defaults_of_an_api_server_are_no_difference() {
    let desired = json!({"a": {"b": 1}, "list": [{"name": "x"}]});
    let live = json!({"a": {"b": 1, "c": 2}, "list": [{"name": "x", "policy": "Always"}], "d": 3});
    assert!(covers(&live, &desired));
    for other in [
        json!({"a": {"b": 2}, "list": [{"name": "x"}]}),
        json!({"a": {"b": 1}, "list": []}),
        json!({"a": {"b": 1}, "list": [{"name": "x"}, {"name": "y"}]}),
        json!({"list": [{"name": "x"}]}),
    ] {
        assert!(!covers(&other, &desired), "{other}");
    }
}

#[test]
fn what_an_api_server_writes_its_own_way_is_no_difference() {
    for (live, wanted, want) in [
        (json!({"cpu": "1"}), json!({"cpu": "1000m"}), true),
        (json!({"cpu": "1500m"}), json!({"cpu": "1.5"}), true),
        (json!({"m": "1Gi"}), json!({"m": "1024Mi"}), true),
        (json!({"m": "1k"}), json!({"m": "1e3"}), true),
        (json!({"m": "1Gi"}), json!({"m": "1G"}), false),
        (json!({"m": "1m"}), json!({"m": "1M"}), false),
        (json!({"m": "a"}), json!({"m": "b"}), false),
        (json!({}), json!({"a": [], "b": {}, "c": "", "d": false, "e": {"f": []}, "g": 0}), true),
        (json!({}), json!({"a": [1]}), false),
        (json!({}), json!({"a": true}), false),
    ] {
        assert_eq!(covers(&live, &wanted), want, "{live} {wanted}");
    }
}

#[test]
fn the_volume_for_artifacts_is_runtimeds_alone() {
    let store = json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "pvc"}});
    let spec = json!({"template": template(json!([{"name": "runtime", "image": "r"},
        {"name": "other", "image": "o"}])), "artifactStore": store});
    let runtime = runtime(spec);
    let settings = settings();
    let pool = validate(&runtime, &settings).unwrap();
    let built = serde_json::to_value(deployment(&pool)).unwrap();
    let spec = &built["spec"]["template"]["spec"];
    let volumes = spec["volumes"].as_array().unwrap();
    let claim = json!({"name": "artifact-store", "persistentVolumeClaim": {"claimName": "pvc"}});
    assert!(volumes.contains(&claim), "{volumes:?}");
    for container in spec["containers"].as_array().unwrap() {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mut mounts = mounts.filter(|mount| mount["name"] == "artifact-store");
        let path = mounts.next().map(|mount| mount["mountPath"].clone());
        let want = (container["name"] == "runtimed").then(|| json!("/var/lib/kruntimes/artifacts"));
        assert_eq!(path, want, "{container}");
    }
    let args = built["spec"]["template"]["spec"]["containers"][2]["args"].to_string();
    assert!(
        args.contains("--artifact-store-driver=filesystem")
            && args.contains("--artifact-volume-claim=pvc")
            && !args.contains("archive")
    );
    let mut silent = runtime.clone();
    silent.spec.logs = serde_json::from_value(json!({"archive": false})).unwrap();
    let built = deployment(&validate(&silent, &settings).unwrap());
    let built = serde_json::to_string(&built).unwrap();
    assert!(built.contains("--archive-logs=false"), "{built}");
    for broken in [
        json!({"driver": "filesystem"}),
        json!({"driver": "filesystem", "filesystem": {"volumeClaimName": "../x"}}),
    ] {
        let mut runtime = runtime.clone();
        runtime.spec.artifact_store = serde_json::from_value(broken).unwrap();
        let refused = validate(&runtime, &settings).unwrap_err();
        assert_eq!(refused, InvalidPool::ArtifactStore);
    }
}

//! What the node makes of pods, and what it refuses, as tables.

use super::*;
use kruntimes_api::SourceKind;
use serde_json::{Value as Json, json};

fn pod(container: &Json, annotations: &Json) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "p", "namespace": "ns", "uid": "u-1", "labels": {"runtime": "bash"}, "annotations": annotations,
        },
        "spec": {"containers": [container]},
    }))
    .unwrap()
}

fn container(fields: &Json) -> Json {
    let mut container = json!({"name": "runtime", "image": "bash-runtime"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    container
}

#[test]
fn images_stand_for_roles() {
    for (image, want) in [
        ("kruntimes-bash-runtime:latest", Some("runtime-bash")),
        ("kruntimes-python-runtime:latest", Some("runtime-python")),
        ("registry.example:5000/x/bash-runtime@sha256:ab", Some("runtime-bash")),
        ("kruntimes-runtimed", Some("runtimed")),
        ("ghcr.io/kruntimes/kruntimes:0.1.0", Some("runtimed")),
        ("localhost/kruntimes", Some("runtimed")),
        ("other-kruntimes:1", None),
        ("bash-runtime/python", None),
        ("runtimed-not", None),
        ("", None),
    ] {
        assert_eq!(role(image), want, "{image}");
    }
}

#[test]
fn the_image_of_all_roles_is_told_which_one_it_is() {
    for (args, want) in [
        (json!(["serve", "runtimed", "--workers=2"]), ["--workers=2"]),
        (json!(["--workers=2"]), ["--workers=2"]),
    ] {
        let fields = json!({"name": "runtimed", "image": "kruntimes:1", "args": args});
        let plan = plan(&pod(&container(&fields), &json!({}))).unwrap();
        let args = want.map(str::to_owned).to_vec();
        assert_eq!(plan.containers[0].run, Program::Role { role: "runtimed", args });
    }
}

#[test]
fn a_hook_before_the_end_is_served_as_a_request() {
    let fields = json!({"lifecycle": {"preStop": {"httpGet": {"path": "/drain", "port": 9094}}}});
    let plan = plan(&pod(&container(&fields), &json!({}))).unwrap();
    let hook = Check::Http { port: 9094, path: "/drain".to_owned() };
    assert_eq!(plan.containers[0].pre_stop, Some(hook));
}

#[test]
fn an_unknown_image_says_what_to_do() {
    let pod = pod(&container(&json!({"image": "python:3"})), &json!({}));
    let refusal = plan(&pod).unwrap_err();
    assert_eq!((refusal.reason, refusal.container.as_str()), ("ImageNotServedLocally", "runtime"));
    assert!(
        refusal.message.contains("python:3") && refusal.message.contains(labels::LOCAL_COMMAND)
    );
}

#[test]
fn local_commands_are_arrays_of_strings() {
    for (command, want) in [
        (r#"["python3", "-m", "x"]"#, Ok(("python3", 2))),
        (r#"["/bin/true"]"#, Ok(("/bin/true", 0))),
        ("[]", Err("InvalidLocalCommand")),
        (r#"[""]"#, Err("InvalidLocalCommand")),
        (r#"["a", 1]"#, Err("InvalidLocalCommand")),
        (r#"["a\u0000"]"#, Err("InvalidLocalCommand")),
        ("{", Err("InvalidLocalCommand")),
        ("rm -rf /", Err("InvalidLocalCommand")),
    ] {
        let pod = pod(
            &container(&json!({"image": "python:3"})),
            &json!({labels::LOCAL_COMMAND: command}),
        );
        let got = plan(&pod).map(|plan| plan.containers[0].run.clone());
        match (got, want) {
            (Ok(Program::Command { program, args }), Ok(want)) => {
                assert_eq!((program.as_str(), args.len()), want);
            }
            (Err(refusal), Err(reason)) => assert_eq!(refusal.reason, reason, "{command}"),
            (got, want) => panic!("{command}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn variables_come_from_values_and_fields() {
    let field = |path: &str| json!({"valueFrom": {"fieldRef": {"fieldPath": path}}});
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    for (source, want) in [
        (json!({"value": "a b"}), text("a b")),
        (json!({}), text("")),
        (field("metadata.name"), text("p")),
        (field("metadata.namespace"), text("ns")),
        (field("metadata.uid"), text("u-1")),
        (field("metadata.labels['runtime']"), text("bash")),
        (field("metadata.labels['none']"), text("")),
        (field("status.podIP"), Some(Value::PodAddress)),
        (field("spec.hostname"), None),
        (json!({"value": "a\0b"}), None),
        (json!({"valueFrom": {"secretKeyRef": {"key": "k", "name": "s"}}}), None),
    ] {
        let mut variable = json!({"name": "V"});
        variable.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        let plan = plan(&pod(&container(&json!({"env": [variable]})), &json!({})));
        let got = plan.ok().map(|plan| plan.containers[0].environment[0].1.clone());
        assert_eq!(got, want, "{source}");
    }
}

#[test]
fn probes_are_read_or_refused() {
    let http = |port: Json| json!({"httpGet": {"path": "/healthz", "port": port}});
    let want = |port| Some(Check::Http { port, path: "/healthz".to_owned() });
    for (probe, want) in [
        (http(json!(9094)), want(9094)),
        (http(json!("health")), want(9094)),
        (http(json!("none")), None),
        (http(json!(70000)), None),
        (json!({"tcpSocket": {"port": 9091}}), Some(Check::Tcp { port: 9091 })),
        (json!({"exec": {"command": ["true"]}}), None),
        (json!({"httpGet": {"port": 1, "scheme": "HTTPS"}}), None),
    ] {
        let ports = json!([{"name": "health", "containerPort": 9094}]);
        let container = container(&json!({"ports": ports, "readinessProbe": probe}));
        let plan = plan(&pod(&container, &json!({})));
        let got = plan.ok().and_then(|plan| plan.containers[0].readiness.clone());
        assert_eq!(got.map(|probe| probe.check), want, "{probe}");
    }
}

#[test]
fn what_is_not_served_is_refused() {
    for fields in [
        json!({"startupProbe": {"tcpSocket": {"port": 1}}}),
        json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}),
        json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
        json!({"lifecycle": {"postStart": {"httpGet": {"path": "/", "port": 1}}}}),
        json!({"envFrom": [{"secretRef": {"name": "s"}}]}),
    ] {
        let refusal = plan(&pod(&container(&fields), &json!({}))).unwrap_err();
        assert_eq!(refusal.reason, "NotServedLocally", "{fields}");
    }
    for (volume, want) in [
        (json!({"name": "v", "emptyDir": {}}), true),
        (json!({"name": "v", "secret": {"secretName": "s", "optional": true}}), true),
        (json!({"name": "v", "secret": {"secretName": "s"}}), false),
        (json!({"name": "v", "configMap": {"name": "s", "optional": true}}), true),
        (json!({"name": "v", "configMap": {"name": "s"}}), false),
        (json!({"name": "v", "secret": {"secretName": "..", "optional": true}}), false),
        (
            json!({"name": "v", "secret": {"secretName": "s", "optional": true, "items": [{"key": "k", "path": "p"}]}}),
            false,
        ),
        (json!({"name": "v", "hostPath": {"path": "/"}}), false),
    ] {
        let mut with_volume = pod(&container(&json!({})), &json!({}));
        let volumes = serde_json::from_value(json!([volume])).unwrap();
        with_volume.spec.as_mut().unwrap().volumes = Some(volumes);
        assert_eq!(plan(&with_volume).is_ok(), want, "{volume}");
    }
    let mut with_init = pod(&container(&json!({})), &json!({}));
    let spec = with_init.spec.as_mut().unwrap();
    spec.init_containers = Some(spec.containers.clone());
    assert!(plan(&with_init).is_err());
}

#[test]
fn only_runtimed_gets_secrets_as_files_and_only_where_the_controller_says() {
    let sources = |image: &str, mount: Json| {
        let container = container(&json!({"image": image, "volumeMounts": [mount]}));
        let mut pod = pod(&container, &json!({}));
        let volumes = json!([
            {"name": "v", "secret": {"secretName": "db", "optional": true}},
            {"name": "w", "configMap": {"name": "db", "optional": true}},
            {"name": "kruntimes-artifact-credentials", "secret": {"secretName": "db", "optional": true}},
        ]);
        pod.spec.as_mut().unwrap().volumes = Some(serde_json::from_value(volumes).unwrap());
        plan(&pod).map(|plan| plan.sources).map_err(|refusal| refusal.reason)
    };
    let mount = |volume: &str, path: &str| json!({"name": volume, "mountPath": path});
    let secret = || mount("v", "/etc/kruntimes/secrets/db");
    let source =
        |kind| Ok(vec![Source { kind, directory: kind.directory(), name: "db".to_owned() }]);
    assert_eq!(sources("runtimed", secret()), source(SourceKind::Secret));
    let map = mount("w", "/etc/kruntimes/configmaps/db");
    assert_eq!(sources("runtimed", map), source(SourceKind::ConfigMap));
    assert_eq!(sources("bash-runtime", mount("other", "/x")), Ok(Vec::new()));
    let name = names::CREDENTIALS_VOLUME;
    let opens_bucket = mount(name, "/etc/kruntimes/artifact-credentials/db");
    let place = names::CREDENTIALS_DIRECTORY;
    let own = Source { kind: SourceKind::Secret, directory: place, name: "db".to_owned() };
    assert_eq!(sources("runtimed", opens_bucket.clone()), Ok(vec![own]));
    for (image, mount) in [
        ("bash-runtime", secret()),
        ("bash-runtime", opens_bucket),
        ("runtimed", mount(name, "/etc/kruntimes/secrets/db")),
        ("runtimed", mount("v", "/etc/kruntimes/secrets/other")),
        ("runtimed", mount("v", "/etc/kruntimes/configmaps/db")),
        ("runtimed", mount("v", "/etc/kruntimes/secrets/../secrets/db")),
        (
            "runtimed",
            json!({"name": "v", "mountPath": "/etc/kruntimes/secrets/db", "subPath": "k"}),
        ),
    ] {
        assert_eq!(sources(image, mount.clone()), Err("NotServedLocally"), "{image} {mount}");
    }
}

#[test]
fn the_volume_for_artifacts_is_a_directory_of_the_home_for_runtimed_alone() {
    let claim = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": "pvc"}});
    let mount = |path: &str| json!([{"name": "artifact-store", "mountPath": path}]);
    let plan_of = |volume: Json, image: &str, mounts: Json| {
        let mut pod = pod(&container(&json!({"image": image, "volumeMounts": mounts})), &json!({}));
        let volumes = serde_json::from_value(json!([volume])).unwrap();
        pod.spec.as_mut().unwrap().volumes = Some(volumes);
        plan(&pod)
    };
    let place = "/var/lib/kruntimes/artifacts";
    let planned = plan_of(claim("artifact-store"), "runtimed", mount(place)).unwrap();
    assert_eq!(planned.containers[0].artifact_claim.as_deref(), Some("pvc"));
    let mut named_wrongly = claim("artifact-store");
    named_wrongly["persistentVolumeClaim"]["claimName"] = json!("../pvc");
    for (volume, image, mounts) in [
        (claim("artifact-store"), "bash-runtime", mount(place)),
        (claim("artifact-store"), "runtimed", mount("/data")),
        (claim("data"), "runtimed", json!([])),
        (named_wrongly, "runtimed", mount(place)),
    ] {
        let refusal = plan_of(volume, image, mounts).unwrap_err();
        assert_eq!(refusal.reason, pods::NOT_SERVED_LOCALLY);
    }
}

//! Hostile templates, each refused by the name of its field, and legal neighbours of each, carried to the pods.

#![expect(clippy::needless_pass_by_value, reason = "a table's values are used once")]

use super::cases::{At, Extra, Init, Metadata, Pod, Server, Volume, merge, pods_and_tokens};
use super::cases_of_containers::{of_any_container, of_one_container};
use super::*;
use crate::pool::tests::{build, runtime, settings};
use crate::pool::{InvalidPool, validate};
use serde_json::json;

fn spec(at: At, fields: &Value) -> Value {
    let mut template = json!({"metadata": {}, "spec": {
        "containers": [{"name": "runtime", "image": "r"}, {"name": "extra", "image": "e"}],
        "initContainers": [{"name": "init", "image": "i"}],
        "volumes": [{"name": "v"}],
    }});
    let pod = &mut template["spec"];
    match at {
        Metadata => merge(&mut template["metadata"], fields),
        Pod => merge(pod, fields),
        Server => merge(&mut pod["containers"][0], fields),
        Extra => merge(&mut pod["containers"][1], fields),
        Init => merge(&mut pod["initContainers"][0], fields),
        Volume => merge(&mut pod["volumes"][0], fields),
    }
    json!({"template": template, "allowedSecrets": ["db"]})
}

fn refusals(spec: Value) -> Vec<Refusal> {
    match validate(&runtime(spec.clone()), &settings()) {
        Err(InvalidPool::Template(Refusals(refusals))) => refusals,
        other => panic!("{spec}: {other:?}"),
    }
}

/// Whether all of `fields` stands in `built`.
fn carried(built: &Value, fields: &Value) -> bool {
    crate::pool::covers(built, fields)
}

#[test]
fn hostile_templates_are_refused_by_name_and_their_legal_neighbours_are_carried() {
    let anywhere = of_any_container().into_iter().flat_map(|(hostile, path, legal)| {
        [Server, Extra, Init].map(|at| (at, hostile.clone(), path, legal.clone()))
    });
    let cases: Vec<_> =
        pods_and_tokens().into_iter().chain(of_one_container()).chain(anywhere).collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    for (at, hostile, path, legal) in cases {
        let found = refusals(spec(at, &hostile));
        let paths: Vec<&str> = found.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, [format!("{}{path}", at.path())], "{hostile}");
        assert!(!found[0].remedy.is_empty());
        let built = build(spec(at, &legal));
        let pod = &built["spec"]["template"];
        let mut place = match at {
            Metadata => pod["metadata"].clone(),
            Pod => pod["spec"].clone(),
            Server => pod["spec"]["containers"][0].clone(),
            Extra => pod["spec"]["containers"][1].clone(),
            Init => pod["spec"]["initContainers"][0].clone(),
            Volume => pod["spec"]["volumes"][0].clone(),
        };
        // What the controller adds to a list stands after what the template has.
        for (field, value) in legal.as_object().unwrap() {
            if let (Some(found), Some(own)) = (place[field].as_array_mut(), value.as_array()) {
                found.truncate(own.len());
            }
        }
        let own_mounts = legal["volumeMounts"][0]["name"] == "workspace";
        let own_port = legal["ports"][0]["name"] == "grpc";
        assert!(own_mounts || own_port || carried(&place, &legal), "{legal} in {place}");
    }
}

#[test]
fn a_message_names_the_first_fields_with_their_values_and_counts_the_others() {
    let long = "x".repeat(200);
    let context = Context { runtime: "bash", port: 9091, secrets: &BTreeSet::new() };
    let template = json!({"spec": {
        "containers": [{"name": "runtime"}], "nodeName": long, "hostPID": true, "hostIPC": true,
        "hostNetwork": true, "futureField": {"a": 1}, "priority": 1, "serviceAccount": "a",
    }});
    let message = check(&template, &context).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "spec.template.spec.futureField: {\"a\":1} is refused: a Runtime does not carry this field; leave it out; \
             spec.template.spec.hostIPC: true is refused: "
        ),
        "{message}"
    );
    assert!(message.contains(&format!("nodeName: \"{}… is refused", "x".repeat(79))), "{message}");
    assert!(message.ends_with("; and 2 more"), "{message}");
}

//! The objects of a pool, and what is done about those that exist.

use super::tests::{build, runtime, settings};
use super::*;
use serde_json::{Value, json};

fn spec() -> Value {
    json!({"template": {"spec": {"containers": [{"name": "runtime", "image": "r"}]}}})
}

fn wanted(spec: Value) -> Vec<Wanted> {
    objects(&validate(&runtime(spec), &settings()).unwrap()).unwrap()
}

/// The object as an API server has it.
fn stored(wanted: &Wanted) -> Value {
    let mut object = wanted.object.clone();
    object["metadata"]["resourceVersion"] = json!("7");
    object["metadata"]["uid"] = json!("x");
    // As in a list.
    object.as_object_mut().unwrap().retain(|field, _| field != "apiVersion" && field != "kind");
    object
}

/// Each field of each object is there to be read in a change, as a user sees it in the cluster.
#[test]
fn every_object_of_a_pool_is_as_written_down() {
    let objects: Value = wanted(spec()).into_iter().map(|wanted| wanted.object).collect();
    let expected = std::fs::read_to_string("src/pool/wanted.json").unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let found = serde_json::to_string_pretty(&objects).unwrap();
    assert!(
        objects == expected,
        "if this is better, it belongs into src/pool/wanted.json:\n{found}"
    );
}

#[test]
fn one_set_of_objects_a_runtime_named_after_it_and_owned_by_it() {
    let objects = wanted(spec());
    let kinds: Vec<Kind> = objects.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, Kind::ALL);
    for Wanted { kind, object } in &objects {
        assert_eq!(object["kind"], kind.to_string());
        let metadata = &object["metadata"];
        assert_eq!(
            (&metadata["name"], &metadata["namespace"]),
            (&json!("runtime-bash"), &json!("default"))
        );
        assert_eq!(
            metadata["ownerReferences"],
            json!([{
                "apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "name": "bash", "uid": "u",
                "controller": true, "blockOwnerDeletion": true,
            }])
        );
        assert_eq!(metadata["labels"]["runtime"], "bash", "the watches find it");
    }
}

#[test]
fn runtimed_may_do_what_it_does_and_has_no_right_on_secrets() {
    let objects = wanted(spec());
    let rules = objects[1].object["rules"].as_array().unwrap();
    let rights: Vec<String> = rules
        .iter()
        .map(|rule| {
            let words = |field: &str| {
                let list = rule[field].as_array().unwrap().iter();
                list.map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join(",")
            };
            format!("{}/{} {}", words("apiGroups"), words("resources"), words("verbs"))
        })
        .collect();
    assert_eq!(
        rights,
        [
            "kruntimes.io/runs get,list,watch",
            "kruntimes.io/runs/status patch",
            "/pods get",
            "/pods/status patch",
            "coordination.k8s.io/leases get,create,update,patch",
            "/events create,patch",
        ]
    );
}

#[test]
fn an_account_of_the_template_is_bound_and_not_made() {
    let mut spec = spec();
    spec["template"]["spec"]["serviceAccountName"] = json!("robot");
    let objects = wanted(spec);
    let kinds: Vec<Kind> = objects.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, Kind::ALL[1..]);
    let subject = json!([{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]);
    assert_eq!(objects[1].object["subjects"], subject);
    let deployment = &objects[3].object["spec"]["template"]["spec"];
    assert_eq!(deployment["serviceAccountName"], "robot");
    let own = build(self::spec());
    assert_eq!(own["spec"]["template"]["spec"]["serviceAccountName"], "runtime-bash");
}

#[test]
fn what_exists_is_kept_patched_or_left_to_its_owner() {
    for wanted in wanted(spec()) {
        assert_eq!(decide(None, &wanted.object), Step::Create);
        let live = stored(&wanted);
        assert_eq!(decide(Some(&live), &wanted.object), Step::Keep);
        let mut changed = live.clone();
        changed["metadata"]["labels"]["app"] = json!("other");
        assert!(matches!(decide(Some(&changed), &wanted.object), Step::Patch(_)));
        for owners in [
            json!([]),
            json!([{"kind": "Runtime", "name": "bash", "uid": "before", "controller": true}]),
            json!([{"kind": "Runtime", "name": "bash", "uid": "u"}]),
        ] {
            let mut foreign = changed.clone();
            foreign["metadata"]["ownerReferences"] = owners;
            assert_eq!(decide(Some(&foreign), &wanted.object), Step::Foreign);
        }
    }
}

#[test]
fn a_patch_brings_what_is_wanted_and_takes_what_was() {
    let before = wanted(json!({"template": {"spec": {
        "nodeSelector": {"old": "1", "kept": "1"}, "priorityClassName": "high",
        "containers": [{"name": "runtime", "image": "one"}],
    }}}));
    let after = wanted(json!({"replicas": 3, "template": {"spec": {
        "nodeSelector": {"kept": "1", "new": "1"},
        "containers": [{"name": "runtime", "image": "two"}],
    }}}));
    let mut live = stored(&before[4]);
    live["spec"]["strategy"] = json!({"type": "RollingUpdate"});
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("1");
    let Step::Patch(patch) = decide(Some(&live), &after[4].object) else { panic!("no patch") };
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["metadata"]["annotations"].as_object().unwrap().len(), 1, "others' stay");
    assert_eq!(patch["spec"]["replicas"], 3);
    assert!(patch["spec"].get("selector").is_none(), "what is right is not sent");
    let pod = &patch["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"old": null, "new": "1"}));
    assert_eq!(pod["priorityClassName"], Value::Null);
    assert!(pod.as_object().unwrap().contains_key("priorityClassName"));
    assert_eq!(pod["containers"][0]["image"], "two");
}

#[test]
fn another_hash_is_a_difference_even_where_the_live_object_covers_what_is_wanted() {
    let before = wanted(json!({"template": {"spec": {
        "priorityClassName": "high", "containers": [{"name": "runtime", "image": "r"}],
    }}}));
    let Step::Patch(patch) = decide(Some(&stored(&before[4])), &wanted(spec())[4].object) else {
        panic!("no patch")
    };
    assert!(
        patch["spec"]["template"]["spec"].as_object().unwrap().contains_key("priorityClassName")
    );
}

#[test]
fn nobody_reaches_the_pods_and_they_reach_no_cloud_metadata() {
    let policy = &wanted(spec())[3].object["spec"];
    assert_eq!(
        *policy,
        json!({
            "podSelector": {"matchLabels": {"runtime": "bash", "app": "kruntimes-bash"}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"to": [
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": [
                    "169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "100.100.100.200/32",
                ]}},
                {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}},
            ]}],
        })
    );
}

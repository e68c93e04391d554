//! Rollouts as tables, and one walked to its end with the bounds checked at each step.

use super::*;
use serde_json::json;

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn deployment(replicas: i32, image: &str, strategy: &serde_json::Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "d", "namespace": "ns", "uid": "dep", "generation": 1},
        "spec": {
            "replicas": replicas, "strategy": strategy, "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "runtime", "image": image}]},
            },
        },
    }))
    .unwrap()
}

fn default_strategy() -> serde_json::Value {
    json!({"type": "RollingUpdate"})
}

/// The set that `deployment` makes, with replicas and available pods.
fn set_of(deployment: &Deployment, revision: &str, replicas: i32, available: i32) -> ReplicaSet {
    let spec = deployment.spec.as_ref().unwrap();
    let hash = template_hash(&spec.template);
    let mut set = replica_set(deployment, spec, &hash, replicas, revision);
    set.metadata.uid = Some(hash);
    set.metadata.resource_version = Some("7".to_owned());
    report(&mut set, available);
    set
}

fn report(set: &mut ReplicaSet, available: i32) {
    let replicas = set.spec.as_ref().unwrap().replicas.unwrap();
    set.status = serde_json::from_value(json!({
        "replicas": replicas, "readyReplicas": available, "availableReplicas": available,
    }))
    .unwrap();
}

#[test]
fn surge_rounds_up_and_unavailable_down() {
    for (what, replicas, strategy, surge, unavailable) in [
        ("defaults of 4", 4, json!({}), 1, 1),
        ("defaults of 2", 2, json!({}), 1, 0),
        ("defaults of 1", 1, json!({}), 1, 0),
        ("numbers", 2, json!({"maxSurge": 3, "maxUnavailable": 2}), 3, 2),
        ("never neither", 2, json!({"maxSurge": 0, "maxUnavailable": 0}), 0, 1),
        ("nonsense is the default", 4, json!({"maxSurge": "x", "maxUnavailable": "-5%"}), 1, 0),
        ("more than there are", 2, json!({"maxSurge": 0, "maxUnavailable": 9}), 0, 2),
    ] {
        let strategy = json!({"rollingUpdate": strategy});
        let bounds = bounds(deployment(replicas, "x", &strategy).spec.as_ref().unwrap());
        assert_eq!((bounds.surge, bounds.unavailable), (surge, unavailable), "{what}");
    }
}

#[test]
fn a_new_deployment_makes_one_set_with_all_replicas() {
    let deployment = deployment(2, "x", &default_strategy());
    let plan = rollout(&deployment, &[], now()).unwrap();
    let set = plan.create.unwrap();
    let hash = template_hash(&deployment.spec.as_ref().unwrap().template);
    assert_eq!(set.metadata.name, Some(format!("d-{hash}")));
    assert_eq!(set.spec.as_ref().unwrap().replicas, Some(2));
    assert_eq!(set.metadata.labels.as_ref().unwrap()[TEMPLATE_HASH], hash);
    assert_eq!(plan.revision, "1");
    assert!(is_owned(&set.metadata, "Deployment", "dep"));
}

#[test]
fn a_set_of_another_owner_is_left_alone() {
    let deployment = deployment(2, "x", &default_strategy());
    let mut foreign = set_of(&deployment, "1", 5, 5);
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    let plan = rollout(&deployment, &[foreign], now()).unwrap();
    assert!(plan.create.is_some() && plan.scale.is_empty() && plan.delete.is_empty());
}

#[test]
fn what_makes_no_sense_is_left_alone() {
    let mut wrong = deployment(2, "x", &default_strategy());
    wrong.spec.as_mut().unwrap().selector.match_labels =
        Some(BTreeMap::from([("a".to_owned(), "c".to_owned())]));
    assert!(rollout(&wrong, &[], now()).is_none());
    let mut deleted = deployment(2, "x", &default_strategy());
    deleted.metadata.deletion_timestamp = Some(super::super::seconds(now()));
    assert!(rollout(&deleted, &[], now()).is_none());
}

#[test]
fn scaling_keeps_the_set() {
    for (replicas, want) in [(5, 5), (0, 0), (2, 2)] {
        let set = set_of(&deployment(2, "x", &default_strategy()), "1", 2, 2);
        let plan = rollout(&deployment(replicas, "x", &default_strategy()), &[set], now()).unwrap();
        assert!(plan.create.is_none());
        let scaled: Vec<i32> = plan.scale.iter().map(|scale| scale.replicas).collect();
        assert_eq!(scaled, if want == 2 { Vec::new() } else { vec![want] });
    }
}

#[test]
fn one_step_of_a_rollout() {
    // (new replicas, new available, old replicas, old available), then what new and old are to have.
    for (what, seen, want) in [
        ("the old ones wait for the new one", (1, 0, 2, 2), (1, 2)),
        ("one stands in for another", (1, 1, 2, 2), (1, 1)),
        ("then the next", (1, 1, 1, 1), (2, 1)),
        ("the last old one goes", (2, 2, 1, 1), (2, 0)),
        ("old pods that do not work go first", (1, 1, 2, 0), (1, 1)),
        ("new pods that do not work hold it up", (1, 0, 2, 1), (1, 2)),
    ] {
        let new = deployment(2, "new", &default_strategy());
        let old = set_of(&deployment(2, "old", &default_strategy()), "1", seen.2, seen.3);
        let current = set_of(&new, "2", seen.0, seen.1);
        let mut after = (seen.0, seen.2);
        let plan = rollout(&new, &[old.clone(), current.clone()], now()).unwrap();
        for scale in plan.scale {
            if Some(&scale.name) == current.metadata.name.as_ref() {
                after.0 = scale.replicas;
            } else {
                after.1 = scale.replicas;
            }
        }
        assert_eq!(after, want, "{what}");
    }
}

#[test]
fn every_rollout_ends_within_its_bounds() {
    for desired in 1..8 {
        for (surge, unavailable) in [(0, 1), (1, 0), (1, 1), (2, 3), (9, 9)] {
            let strategy =
                json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
            walk(desired, &strategy);
        }
        walk(desired, &json!({"type": "Recreate"}));
    }
}

/// Applies plan after plan; each one's pods are all ready before the next.
fn walk(desired: i32, strategy: &serde_json::Value) {
    let new = deployment(desired, "new", strategy);
    let bounds = bounds(new.spec.as_ref().unwrap());
    let recreate = strategy["type"] == "Recreate";
    let mut sets = vec![set_of(&deployment(desired, "old", strategy), "1", desired, desired)];
    for _ in 0..40 {
        let plan = rollout(&new, &sets, now()).unwrap();
        let quiet = plan.create.is_none() && plan.scale.is_empty();
        sets.extend(plan.create.map(|set| *set));
        for scale in &plan.scale {
            let found = sets.iter_mut().find(|set| set.metadata.name.as_ref() == Some(&scale.name));
            found.unwrap().spec.as_mut().unwrap().replicas = Some(scale.replicas);
        }
        let asked: i32 = sets.iter().map(|set| set.spec.as_ref().unwrap().replicas.unwrap()).sum();
        let available: i32 = sets.iter().map(|set| observe(set).available).sum();
        if !recreate {
            assert!(asked <= desired + bounds.surge, "{desired} {strategy}");
            assert!(available >= desired - bounds.unavailable, "{desired} {strategy}");
        }
        if quiet {
            let counts: Vec<i32> = sets.iter().map(|set| observe(set).replicas).collect();
            assert_eq!(counts, [0, desired], "{strategy}");
            let status = plan.status;
            let progressing = &status.conditions.unwrap()[1];
            assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetAvailable"));
            return;
        }
        for set in &mut sets {
            let replicas = set.spec.as_ref().unwrap().replicas.unwrap();
            report(set, replicas);
        }
    }
    panic!("the rollout of {desired} with {strategy} does not end");
}

#[test]
fn a_rollback_gets_a_new_revision_and_keeps_its_set() {
    let back = deployment(2, "old", &default_strategy());
    let old = set_of(&back, "1", 0, 0);
    let newer = set_of(&deployment(2, "new", &default_strategy()), "2", 2, 2);
    let plan = rollout(&back, &[old.clone(), newer], now()).unwrap();
    assert!(plan.create.is_none());
    assert_eq!((plan.revision.as_str(), plan.renumber), ("3", old.metadata.name));
}

#[test]
fn idle_sets_beyond_the_history_are_deleted() {
    let mut current = deployment(1, "now", &default_strategy());
    current.spec.as_mut().unwrap().revision_history_limit = Some(1);
    let mut sets: Vec<ReplicaSet> = (1..4)
        .map(|number| {
            let image = format!("v{number}");
            set_of(&deployment(1, &image, &default_strategy()), &number.to_string(), 0, 0)
        })
        .collect();
    sets.push(set_of(&current, "4", 1, 1));
    let names: Vec<String> =
        sets[..2].iter().map(|set| set.metadata.name.clone().unwrap()).collect();
    assert_eq!(rollout(&current, &sets, now()).unwrap().delete, names);
}

#[test]
fn a_repeated_look_writes_the_same_status() {
    let mut deployment = deployment(2, "x", &default_strategy());
    let set = set_of(&deployment, "1", 2, 1);
    let first = rollout(&deployment, std::slice::from_ref(&set), now()).unwrap().status;
    deployment.status = Some(first.clone());
    let later = Timestamp::from_second(1_000_100).unwrap();
    let second = rollout(&deployment, std::slice::from_ref(&set), later).unwrap().status;
    assert_eq!(first, second);
    let late = Timestamp::from_second(1_000_601).unwrap();
    let third = rollout(&deployment, &[set], late).unwrap().status;
    let progressing = &third.conditions.unwrap()[1];
    assert_eq!(progressing.reason.as_deref(), Some("ProgressDeadlineExceeded"));
}

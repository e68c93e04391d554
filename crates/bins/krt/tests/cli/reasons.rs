//! Every reason that a local home shows is explained.

use crate::support::shared;

/// Every `reason` in a status, however deep.
fn reasons(status: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    match status {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                match value.as_str().filter(|text| key == "reason" && !text.is_empty()) {
                    Some(reason) => drop(found.insert(reason.to_owned())),
                    None => reasons(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| reasons(item, found)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[test]
fn every_reason_that_a_home_shows_is_explained() {
    shared().run(&["run", "--", "exit 1"]).expect(1);
    let mut found = std::collections::BTreeSet::new();
    for path in [
        "/apis/kruntimes.io/v1alpha1/runs",
        "/apis/kruntimes.io/v1alpha1/runtimes",
        "/apis/apps/v1/deployments",
        "/api/v1/pods",
        "/api/v1/events",
    ] {
        let list = crate::api::get(&shared().kubeconfig(), path);
        for item in list["items"].as_array().unwrap() {
            reasons(&item["status"], &mut found);
            reasons(&serde_json::json!({"reason": item["reason"]}), &mut found);
        }
    }
    for known in ["RuntimeError", "Assigned", "Ready", "MinimumReplicasAvailable"] {
        assert!(found.contains(known), "{known} is not in {found:?}");
    }
    for reason in found {
        let explained = shared().run(&["explain", &reason]);
        assert!(explained.expect(0).out().starts_with(&format!("{reason}: ")));
    }
}

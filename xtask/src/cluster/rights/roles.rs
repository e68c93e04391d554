//! The rights of each part, read back from the API server and compared with the table that is meant.

use super::SYSTEM;
use crate::cluster::test::World;
use crate::suite::Tools;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeSet;

/// Group, resource and verbs; a resource's name in brackets where the right is on that one.
type Right = (&'static str, &'static str, &'static [&'static str]);

const SCHEDULER: &[Right] = &[
    ("kruntimes.io", "runs", &["list", "watch"]),
    ("kruntimes.io", "runs/status", &["patch"]),
    ("kruntimes.io", "runtimes", &["list", "watch"]),
    ("", "pods", &["list", "watch"]),
    ("coordination.k8s.io", "leases", &["list", "watch"]),
    ("", "events", &["create", "patch"]),
];

const CONTROLLER: &[Right] = &[
    ("kruntimes.io", "runs", &["get", "list", "watch", "create", "patch", "delete"]),
    ("kruntimes.io", "runs/status", &["patch"]),
    ("kruntimes.io", "runtimes", &["get", "list", "watch"]),
    ("kruntimes.io", "runtimes/status", &["patch"]),
    ("kruntimes.io", "runtimes/finalizers", &["update"]),
    ("kruntimes.io", "workflows", &["get", "list", "watch", "create", "patch", "delete"]),
    ("kruntimes.io", "workflows/status", &["patch"]),
    ("kruntimes.io", "workflows/finalizers", &["update"]),
    ("apps", "deployments", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "serviceaccounts", &["get", "list", "watch", "create", "patch"]),
    ("rbac.authorization.k8s.io", "roles", &["get", "list", "watch", "create", "patch"]),
    ("rbac.authorization.k8s.io", "rolebindings", &["get", "list", "watch", "create", "patch"]),
    ("networking.k8s.io", "networkpolicies", &["get", "list", "watch", "create", "patch"]),
    ("", "pods", &["get", "list", "watch"]),
    ("", "namespaces", &["get"]),
    ("", "pods/status", &["patch"]),
    ("coordination.k8s.io", "leases", &["get", "list", "watch", "create", "update", "patch"]),
    ("", "events", &["list", "watch", "create", "patch"]),
    ("", "services[kubernetes]", &["get", "list", "watch"]),
    ("discovery.k8s.io", "endpointslices[kubernetes]", &["get", "list", "watch"]),
];

/// Of the Role that the controller makes for each Runtime.
const RUNTIMED: &[Right] = &[
    ("kruntimes.io", "runs", &["get", "list", "watch"]),
    ("kruntimes.io", "runs/status", &["patch"]),
    ("", "pods", &["get"]),
    ("", "pods/status", &["patch"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update", "patch"]),
    ("", "events", &["create", "patch"]),
];

/// Of the Role that the controller makes for the maintainers of a namespace.
const MAINTAINER: &[Right] = &[
    ("kruntimes.io", "runs", &["get", "list", "watch", "patch"]),
    ("", "events", &["create", "patch"]),
];

const SCHEDULER_LEADER: &[Right] = &[
    ("coordination.k8s.io", "leases", &["create"]),
    (
        "coordination.k8s.io",
        "leases[kruntimes-scheduler.kruntimes.com]",
        &["get", "list", "watch", "update"],
    ),
];

const CONTROLLER_LEADER: &[Right] = &[
    ("coordination.k8s.io", "leases", &["create"]),
    (
        "coordination.k8s.io",
        "leases[kruntimes-controller.kruntimes.com]",
        &["get", "list", "watch", "update"],
    ),
];

/// Each role of the chart's parts has exactly the rights of its table.
pub(super) fn are_the_table(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    for (namespace, role, table) in [
        (SYSTEM, "clusterrole kruntimes-scheduler", SCHEDULER),
        (SYSTEM, "clusterrole kruntimes-controller", CONTROLLER),
        (SYSTEM, "role kruntimes-scheduler-leader", SCHEDULER_LEADER),
        (SYSTEM, "role kruntimes-controller-leader", CONTROLLER_LEADER),
        ("default", "role runtime-bash", RUNTIMED),
    ] {
        let role_text = tools.kubectl(&format!("get -n {namespace} {role} -o json"))?;
        let found = rights(&serde_json::from_str(&role_text)?).context(role)?;
        let meant = meant(table);
        let more: Vec<_> = found.difference(&meant).collect();
        let less: Vec<_> = meant.difference(&found).collect();
        ensure!(more.is_empty() && less.is_empty(), "{role} has {more:?} and lacks {less:?}");
    }
    Ok(())
}

/// So has the Role of the maintainers of this namespace.
pub(in crate::cluster) fn of_maintainers(tools: &Tools, namespace: &str) -> anyhow::Result<()> {
    let command = format!("get -n {namespace} role kruntimes-runtime-maintainer -o json");
    let found = rights(&serde_json::from_str(&tools.kubectl(&command)?)?)?;
    ensure!(found == meant(MAINTAINER), "the maintainers may {found:?}");
    Ok(())
}

fn meant(table: &[Right]) -> BTreeSet<String> {
    let verbs = |(group, resource, verbs): &Right| -> Vec<String> {
        verbs.iter().map(|verb| format!("{verb} {resource} of {group:?}")).collect()
    };
    table.iter().flat_map(verbs).collect()
}

/// One line for each verb on each resource.
fn rights(role: &Value) -> anyhow::Result<BTreeSet<String>> {
    let list = |rule: &Value, field: &str| -> Vec<String> {
        let items = rule[field].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found = BTreeSet::new();
    for rule in role["rules"].as_array().context("no rules")? {
        ensure!(rule.get("nonResourceURLs").is_none(), "a right on a URL");
        let names = list(rule, "resourceNames").join(",");
        let names = if names.is_empty() { names } else { format!("[{names}]") };
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                found.extend(
                    list(rule, "verbs")
                        .iter()
                        .map(|verb| format!("{verb} {resource}{names} of {group:?}")),
                );
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{
        CONTROLLER, CONTROLLER_LEADER, MAINTAINER, RUNTIMED, SCHEDULER, SCHEDULER_LEADER, meant,
        rights,
    };
    use serde_json::json;

    #[test]
    fn no_table_holds_a_wildcard_or_a_right_on_secrets() {
        for table in
            [SCHEDULER, CONTROLLER, RUNTIMED, MAINTAINER, SCHEDULER_LEADER, CONTROLLER_LEADER]
        {
            for right in meant(table) {
                assert!(!right.contains('*') && !right.contains("secrets"), "{right}");
            }
        }
    }

    /// RBAC lets nobody grant what he does not hold.
    #[test]
    fn the_controller_holds_what_it_grants() {
        let held = meant(CONTROLLER);
        for right in meant(RUNTIMED).union(&meant(MAINTAINER)) {
            assert!(held.contains(right), "{right}");
        }
    }

    #[test]
    fn rights_are_told_apart_by_name_group_and_verb() {
        let role = json!({"rules": [
            {"apiGroups": ["", "apps"], "resources": ["a"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["b"], "resourceNames": ["n"], "verbs": ["get"]},
        ]});
        let table = [
            ("", "a", &["get", "list"][..]),
            ("apps", "a", &["get", "list"]),
            ("", "b[n]", &["get"]),
        ];
        assert_eq!(rights(&role).unwrap(), meant(&table));
        assert!(rights(&json!({"rules": [{"nonResourceURLs": ["*"], "verbs": ["get"]}]})).is_err());
    }
}

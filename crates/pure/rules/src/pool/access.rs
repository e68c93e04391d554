//! Who a pool's runtimed is, and what it may do: ServiceAccount, Role and RoleBinding, one set a Runtime.
//!
//! Invariant: no right on Secrets, none on the spec of a Run, and none on another namespace.

use super::ValidPool;
use super::metadata::{self, metadata};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kruntimes_api::GROUP;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Group, resources and verbs: all that runtimed asks of the API server. The controller must hold each of them itself, or
/// RBAC refuses the Role.
pub const RUNTIMED_RIGHTS: [(&str, &str, &[&str]); 6] = [
    (GROUP, "runs", &["get", "list", "watch"]),
    (GROUP, "runs/status", &["patch"]),
    ("", "pods", &["get"]),
    ("", "pods/status", &["patch"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update", "patch"]),
    ("", "events", &["create", "patch"]),
];

/// The ServiceAccount; none where the template names one.
pub(super) fn service_account(pool: &ValidPool) -> Option<ServiceAccount> {
    pool.service_account.is_none().then(|| ServiceAccount {
        metadata: metadata(pool),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

pub(super) fn role(pool: &ValidPool) -> Role {
    let rule = |(group, resource, verbs): (&str, &str, &[&str])| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    Role { metadata: metadata(pool), rules: Some(RUNTIMED_RIGHTS.map(rule).to_vec()) }
}

pub(super) fn role_binding(pool: &ValidPool) -> RoleBinding {
    RoleBinding {
        metadata: metadata(pool),
        role_ref: RoleRef {
            api_group: Some(RBAC.to_owned()),
            kind: "Role".to_owned(),
            name: metadata::name(pool),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account_name(pool),
            namespace: Some(pool.namespace.clone()),
            api_group: None,
        }]),
    }
}

/// The ServiceAccount that the pods run as.
pub(super) fn account_name(pool: &ValidPool) -> String {
    pool.service_account.clone().unwrap_or_else(|| metadata::name(pool))
}

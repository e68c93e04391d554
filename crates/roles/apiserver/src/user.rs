//! Who makes a request.
use std::collections::BTreeMap;

/// The key of `User::extra` that names the pod of a bound token.
pub const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// The key of `User::extra` with the UID of that pod.
pub const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, e.g. `system:serviceaccount:default:runtime-bash`.
    pub name: String,
    /// A unique id.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// More about the user, e.g. the pod that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
    /// What the user may do.
    pub kind: UserKind,
}

/// What a user may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserKind {
    /// Everything.
    Admin,
    /// What the sidecar of one pod needs, see `policy`.
    Runtimed {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod_name: String,
        /// The pod's UID.
        pod_uid: String,
    },
}

impl User {
    /// A user who may do everything.
    pub fn admin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: name.to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            extra: BTreeMap::new(),
            kind: UserKind::Admin,
        }
    }

    /// The runtimed of a pod that runs as `service_account`.
    pub fn runtimed(namespace: &str, service_account: &str, pod_name: &str, pod_uid: &str) -> Self {
        let one = |value: &str| vec![value.to_owned()];
        Self {
            name: format!("system:serviceaccount:{namespace}:{service_account}"),
            uid: pod_uid.to_owned(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            extra: BTreeMap::from([
                (POD_NAME.to_owned(), one(pod_name)),
                (POD_UID.to_owned(), one(pod_uid)),
            ]),
            kind: UserKind::Runtimed {
                namespace: namespace.to_owned(),
                pod_name: pod_name.to_owned(),
                pod_uid: pod_uid.to_owned(),
            },
        }
    }
}

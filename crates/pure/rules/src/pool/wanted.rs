//! The objects of a pool, and what it takes to make what exists like them.
//!
//! A written object carries the hash of what was wanted. Another hash, or a live field that is not as wanted, calls for a
//! merge patch; what an API server adds by itself calls for nothing.

use super::{ValidPool, access, build, covers, maintainer, network};
use kruntimes_api::labels;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt;

/// Of a digest: enough to tell one wanted object from the one before.
const HASH_BYTES: usize = 8;

/// What a pool consists of, in the order in which it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who runtimed is.
    ServiceAccount,
    /// What it may do.
    Role,
    /// That it may.
    RoleBinding,
    /// Who reaches the pods and whom they reach: before the first pod.
    NetworkPolicy,
    /// The pods.
    Deployment,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::NetworkPolicy,
        Self::Deployment,
    ];

    /// Group, version, kind and plural.
    #[must_use]
    pub const fn resource(self) -> (&'static str, &'static str, &'static str, &'static str) {
        const RBAC: &str = "rbac.authorization.k8s.io";
        match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::Role => (RBAC, "v1", "Role", "roles"),
            Self::RoleBinding => (RBAC, "v1", "RoleBinding", "rolebindings"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.resource().2)
    }
}

/// An object of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What it is.
    pub kind: Kind,
    /// All that is wanted of it, with the annotation.
    pub object: Value,
}

/// What is to be done about one.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is as it must be.
    Keep,
    /// There is none.
    Create,
    /// A merge patch makes it right.
    Patch(Value),
    /// It belongs to somebody else, and stays as it is.
    Foreign,
}

/// The objects of a pool. A ServiceAccount that the template names is nobody's to make.
///
/// # Errors
/// An object that can't be written as JSON.
pub fn objects(pool: &ValidPool) -> Result<Vec<Wanted>, serde_json::Error> {
    let mut objects = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL {
        let object = match kind {
            Kind::ServiceAccount => {
                access::service_account(pool).map(serde_json::to_value).transpose()?
            }
            Kind::Role => Some(serde_json::to_value(access::role(pool))?),
            Kind::RoleBinding => Some(serde_json::to_value(access::role_binding(pool))?),
            Kind::NetworkPolicy => Some(serde_json::to_value(network::network_policy(pool))?),
            Kind::Deployment => Some(serde_json::to_value(build::deployment(pool))?),
        };
        objects.extend(object.map(|object| wanted(kind, object)));
    }
    Ok(objects)
}

pub(super) fn wanted(kind: Kind, mut object: Value) -> Wanted {
    let digest = Sha256::digest(object.to_string());
    let hash: String = digest[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    object["metadata"]["annotations"][labels::SPEC_HASH] = json!(hash);
    Wanted { kind, object }
}

/// What is to be done about an object, as far as it is known.
#[must_use]
pub fn decide(live: Option<&Value>, wanted: &Value) -> Step {
    let Some(live) = live else { return Step::Create };
    let owner = &wanted["metadata"]["ownerReferences"][0]["uid"];
    let mut owners = live["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    if !owners.any(|reference| reference["uid"] == *owner && reference["controller"] == true) {
        return Step::Foreign;
    }
    compare(live, wanted)
}

/// The same of an object that nobody owns.
#[must_use]
pub fn decide_labelled(live: Option<&Value>, wanted: &Value) -> Step {
    match live {
        None => Step::Create,
        Some(live) if maintainer::is_ours(live) => compare(live, wanted),
        Some(_) => Step::Foreign,
    }
}

fn compare(live: &Value, wanted: &Value) -> Step {
    let hash = |object: &Value| object["metadata"]["annotations"][labels::SPEC_HASH].clone();
    // An API server leaves out of a list what all its items are.
    let mut fields = wanted.as_object().into_iter().flatten();
    let is_type = |field: &str| ["apiVersion", "kind"].contains(&field);
    let same = fields.all(|(field, value)| is_type(field) || covers(&live[field], value));
    if same && hash(live) == hash(wanted) {
        return Step::Keep;
    }
    Step::Patch(patch(live, wanted))
}

/// Makes `live` as wanted, if nobody wrote it since. What it has beyond stays at the top and in its metadata, and goes
/// everywhere else: the API server puts its defaults there again.
fn patch(live: &Value, wanted: &Value) -> Value {
    let mut patch = json!({"metadata": {
        "resourceVersion": live["metadata"]["resourceVersion"],
        "labels": wanted["metadata"]["labels"],
        "annotations": wanted["metadata"]["annotations"],
    }});
    for (field, value) in wanted.as_object().into_iter().flatten() {
        if !["apiVersion", "kind", "metadata"].contains(&field.as_str())
            && let Some(change) = difference(&live[field], value)
        {
            patch[field] = change;
        }
    }
    patch
}

fn difference(live: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (live, wanted) else {
        return (live != wanted).then(|| wanted.clone());
    };
    let gone = before.keys().filter(|field| !after.contains_key(*field));
    let mut change: Map<String, Value> = gone.map(|field| (field.clone(), Value::Null)).collect();
    for (field, value) in after {
        match before.get(field) {
            Some(found) => change.extend(difference(found, value).map(|it| (field.clone(), it))),
            None => drop(change.insert(field.clone(), value.clone())),
        }
    }
    (!change.is_empty()).then_some(Value::Object(change))
}

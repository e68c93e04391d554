//! What Deployments and ReplicaSets need next: pure functions of what was observed, the time and random bits.

pub(super) mod rollout;
pub(super) mod scale;
mod status;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

/// Label that tells the ReplicaSets of one Deployment apart.
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";
/// Annotation with the number of a Deployment's template.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// The controlling owner of an object, if it is of `kind`.
pub(super) fn controller<'a>(metadata: &'a ObjectMeta, kind: &str) -> Option<&'a OwnerReference> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true) && owner.kind == kind)
}

/// Whether `metadata` is controlled by the object with this UID.
pub(super) fn is_owned(metadata: &ObjectMeta, kind: &str, uid: &str) -> bool {
    controller(metadata, kind).is_some_and(|owner| owner.uid == uid)
}

fn owned_by(metadata: &ObjectMeta, kind: &str) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// `now` with whole seconds, as the API writes times.
fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

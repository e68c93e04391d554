//! A pod's Lease as an object (ADR 6): what the pod and the controller write, and how the pod reads it.
//!
//! Invariant: each write carries its time, so that none is accepted without a new version.

use super::{LeaseHolder, LeaseView};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kruntimes_api::labels;
use kube::ResourceExt;
use kube::core::ObjectMeta;
use std::collections::BTreeMap;
use std::time::Duration;

/// Whose Lease it is.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// Name of the pod, and of its Lease.
    pub name: &'a str,
    /// UID of the pod.
    pub uid: &'a str,
    /// Name of the Runtime.
    pub runtime: &'a str,
}

/// What a write makes of it.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// The pod may execute, for so long without a renewal.
    Hold(Duration),
    /// The pod is idle.
    Release(Duration),
    /// The pod is to execute nothing any more. It was claimed by the pod with this UID, if by any.
    Break(Option<&'a str>),
}

/// The Lease to write: an update of `version`, or a creation.
#[must_use]
pub fn lease(
    owner: Owner<'_>,
    version: Option<String>,
    change: Change<'_>,
    now: Timestamp,
) -> Lease {
    let pod = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: owner.name.to_owned(),
        uid: owner.uid.to_owned(),
        ..OwnerReference::default()
    };
    let mut labels = BTreeMap::from([(labels::RUNTIME.to_owned(), owner.runtime.to_owned())]);
    let (holder, lasts) = match change {
        Change::Hold(lasts) => (owner.uid, Some(lasts)),
        Change::Release(lasts) => ("", Some(lasts)),
        Change::Break(claimed_by) => {
            labels.insert(labels::BROKEN.to_owned(), claimed_by.unwrap_or_default().to_owned());
            ("", None)
        }
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(owner.name.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![pod]),
            resource_version: version,
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: lasts.and_then(|lasts| i32::try_from(lasts.as_secs()).ok()),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

impl LeaseView {
    /// How the pod with this UID reads its Lease.
    #[must_use]
    pub fn of(lease: &Lease, uid: &str) -> Self {
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        Self {
            version: lease.resource_version().unwrap_or_default(),
            holder: if lease.labels().contains_key(labels::BROKEN) {
                LeaseHolder::Broken
            } else if holder == uid {
                LeaseHolder::Me
            } else {
                LeaseHolder::Nobody
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OWNER: Owner<'_> = Owner { name: "p", uid: "u1", runtime: "bash" };

    fn written(change: Change<'_>) -> Lease {
        lease(OWNER, Some("7".to_owned()), change, Timestamp::from_second(1).unwrap())
    }

    #[test]
    fn the_pod_reads_what_it_and_the_controller_wrote() {
        let fence = Duration::from_secs(30);
        for (change, mine, others) in [
            (Change::Hold(fence), LeaseHolder::Me, LeaseHolder::Nobody),
            (Change::Release(fence), LeaseHolder::Nobody, LeaseHolder::Nobody),
            (Change::Break(Some("u1")), LeaseHolder::Broken, LeaseHolder::Broken),
            (Change::Break(None), LeaseHolder::Broken, LeaseHolder::Broken),
        ] {
            let lease = written(change);
            for (uid, holder) in [("u1", mine), ("u2", others)] {
                let view = LeaseView { version: "7".to_owned(), holder };
                assert_eq!(LeaseView::of(&lease, uid), view, "{change:?} as {uid}");
            }
        }
    }

    #[test]
    fn a_lease_names_its_pod_and_goes_with_it() {
        let fence = Duration::from_secs(30);
        for (change, holder, seconds) in
            [(Change::Hold(fence), "u1", Some(30)), (Change::Release(fence), "", Some(30))]
        {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"});
            let expected = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": "p",
                    "resourceVersion": "7",
                    "labels": {labels::RUNTIME: "bash"},
                    "ownerReferences": [owner],
                },
                "spec": {
                    "holderIdentity": holder,
                    "leaseDurationSeconds": seconds,
                    "renewTime": "1970-01-01T00:00:01.000000Z",
                },
            });
            assert_eq!(serde_json::to_value(written(change)).unwrap(), expected);
        }
        assert_eq!(written(Change::Break(None)).spec.unwrap().lease_duration_seconds, None);
    }

    #[test]
    fn a_break_keeps_who_had_claimed_the_lease() {
        for (claimed_by, label) in [(Some("u1"), "u1"), (None, "")] {
            assert_eq!(written(Change::Break(claimed_by)).labels()[labels::BROKEN], label);
        }
    }

    #[test]
    fn each_write_is_another_object() {
        let at = |second| {
            let now = Timestamp::from_second(second).unwrap();
            lease(OWNER, None, Change::Break(None), now)
        };
        assert_ne!(at(1).spec, at(2).spec, "an update that changes nothing gets no version");
    }
}

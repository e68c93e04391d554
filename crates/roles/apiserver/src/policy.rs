//! Who may do what: admins everything, the runtimed of a pod only what its Runs need.
//!
//! This is the rule that a ValidatingAdmissionPolicy and RBAC hold on a cluster.
use kruntimes_objects::fields::FieldSelector;
use kruntimes_objects::json;
use kruntimes_objects::schema::{CauseReason, FieldError};
use kruntimes_objects::status::Failure;
use kruntimes_rules::admission::{self, PodToken};
use serde_json::Value;

use crate::call::{Call, Verb};
use crate::user::{User, UserKind};

const RUNS: &str = "runs.kruntimes.io";
const LEASES: &str = "leases.coordination.k8s.io";

/// Refuses what `user` may never do, whatever the objects hold.
pub(crate) fn authorize(user: &User, call: &Call) -> Result<(), Failure> {
    let UserKind::Runtimed { namespace, pod_name, .. } = &user.kind else { return Ok(()) };
    let own_namespace = call.namespace == *namespace;
    let own_pod = own_namespace && call.name == *pod_name;
    let reads = matches!(call.verb, Verb::Get | Verb::List | Verb::Watch);
    let writes = matches!(call.verb, Verb::Update | Verb::Patch);
    let allowed = match (&*call.res.id, call.sub.as_str()) {
        (RUNS, "") => own_namespace && reads,
        (RUNS, "status") => own_namespace && matches!(call.verb, Verb::Get | Verb::Patch),
        ("pods", "") => own_namespace && reads && (own_pod || selects(call, pod_name)),
        ("pods", "status") => own_pod && (reads || writes),
        ("events", "") => own_namespace && (call.verb == Verb::Create || writes),
        (LEASES, "") => match call.verb {
            Verb::Create => own_namespace,
            Verb::Get | Verb::Update | Verb::Patch => own_pod,
            Verb::List | Verb::Watch => own_namespace && selects(call, pod_name),
            Verb::Delete | Verb::DeleteCollection => false,
        },
        _ => false,
    };
    if allowed { Ok(()) } else { Err(refused(user, call)) }
}

fn selects(call: &Call, pod_name: &str) -> bool {
    let selector = call.query.get("fieldSelector").unwrap_or_default();
    FieldSelector::parse(selector, &call.res)
        .is_ok_and(|s| s.exact_of("metadata.name") == Some(pod_name))
}

fn refused(user: &User, call: &Call) -> Failure {
    let resource = if call.sub.is_empty() {
        call.res.plural.clone()
    } else {
        format!("{}/{}", call.res.plural, call.sub)
    };
    let place = if call.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", call.namespace)
    };
    let why = format!(
        "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        user.name,
        call.verb.as_str(),
        call.res.group
    );
    Failure::forbidden(&call.res, &call.name, &why)
}

/// Refuses a write by what the objects hold.
pub(crate) fn admit(
    user: &User,
    call: &Call,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Failure> {
    let UserKind::Runtimed { pod_name, pod_uid, .. } = &user.kind else { return Ok(()) };
    let token = PodToken { name: pod_name, uid: pod_uid };
    if call.res.is(LEASES) {
        return admission::lease(token, new).map_err(|why| {
            Failure::forbidden(
                &call.res,
                json::text(new, &["metadata", "name"]),
                &told(user, call, why),
            )
        });
    }
    if call.res.is(RUNS) {
        let old = old.unwrap_or(&Value::Null);
        return admission::run_status(token, old, new).map_err(|why| {
            let name = json::text(new, &["metadata", "name"]);
            let error = FieldError::new("status", CauseReason::Invalid, told(user, call, why));
            Failure::invalid(&call.res, name, &[error])
        });
    }
    Ok(())
}

fn told(user: &User, call: &Call, why: &str) -> String {
    format!("User \"{}\" cannot {} this {}: {why}", user.name, call.verb.as_str(), call.res.kind)
}

//! Why a Run waits: the scheduler's word where it has spoken, else what can be seen of its Runtime.

use crate::{objects, table};
use kruntimes_api::{Phase, RunStatus, conditions};
use kube::Client;

/// The scheduler's reason and message.
pub(super) fn told(status: &RunStatus) -> Option<String> {
    if status.phase != Phase::Pending {
        return None;
    }
    let scheduled = status.conditions.iter().find(|condition| {
        condition.type_ == conditions::SCHEDULED && condition.status == "False"
    })?;
    Some(format!("{}: {}", scheduled.reason, scheduled.message))
}

/// The scheduler's word, else what can be seen.
pub(crate) async fn waits_for(
    client: &Client,
    namespace: &str,
    runtime: &str,
    status: Option<&RunStatus>,
) -> String {
    match status.and_then(told) {
        Some(told) => told,
        None => seen(client, namespace, runtime).await,
    }
}

/// What the Runtime shows, before the scheduler has said anything.
async fn seen(client: &Client, namespace: &str, runtime: &str) -> String {
    let found = match objects::get(client, namespace, "runtimes", runtime).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return format!(
                "{}: there is no Runtime {runtime:?} in namespace {namespace:?}",
                conditions::RUNTIME_NOT_FOUND
            );
        }
        Err(_) => return "no pod has taken it yet".to_owned(),
    };
    match table::text(&found, "/status/readyReplicas").as_str() {
        "" | "0" => {
            format!("{}: no pod of Runtime {runtime:?} is ready", conditions::NO_READY_PODS)
        }
        _ => format!("every pod of Runtime {runtime:?} is busy, or about to take it"),
    }
}

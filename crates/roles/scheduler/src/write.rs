//! Performs decisions of the board and feeds the answers back.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Run, Timeline, labels};
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::placement::{Board, Decision, PoolKey, RunKey};
use kruntimes_rules::run::patch::Assignment;
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;
use std::time::Duration;

/// The answer to one write.
#[derive(Debug)]
pub(crate) struct Written {
    key: RunKey,
    version: Option<String>,
    result: Result<Run, WriteError>,
}

/// Writes one decision.
pub(crate) async fn perform(client: Client, decision: Decision) -> Written {
    let run = match &decision {
        Decision::Assign { run, .. } | Decision::Cancel { run } | Decision::Wait { run, .. } => {
            run.clone()
        }
    };
    let runs = Api::namespaced(client, run.namespace().as_deref().unwrap_or_default());
    let now = Timestamp::now();
    let result = match &decision {
        Decision::Assign { pod, attempt, seen, .. } => {
            let timeline = timeline(&run, *seen, now);
            let assignment = Assignment {
                pod: &pod.name,
                pod_uid: &pod.uid,
                attempt: *attempt,
                timeline: &timeline,
            };
            status::assign(&runs, &run, &assignment, now).await
        }
        Decision::Cancel { .. } => status::cancel_pending(&runs, &run, now).await,
        Decision::Wait { waiting, .. } => {
            let message = waiting.message(&PoolKey::of(&run));
            status::waiting(&runs, &run, waiting.reason(), &message, now).await
        }
    };
    Written { key: RunKey::of(&run), version: run.resource_version(), result }
}

/// Tells the board what became of a write.
pub(crate) fn feed_back(board: &mut Board, written: Written, now: Duration, wall: Timestamp) {
    match written.result {
        Ok(run) => board.assigned(Arc::new(run), wall),
        Err(WriteError::Gone(_)) => board.drop_run(&written.key),
        Err(error) => {
            let RunKey { namespace, name } = &written.key;
            tracing::debug!(namespace, name, error = %Chain(&error), "status not written");
            board.not_written(&written.key, written.version.as_deref(), now, wall);
        }
    }
}

fn timeline(run: &Run, seen: Timestamp, scheduled: Timestamp) -> Timeline {
    let submitted = run.annotations().get(labels::SUBMITTED_AT).and_then(|at| at.parse().ok());
    Timeline {
        submitted: submitted.map(MicroTime),
        seen: Some(MicroTime(seen)),
        scheduled: Some(MicroTime(scheduled)),
        ..Timeline::default()
    }
}

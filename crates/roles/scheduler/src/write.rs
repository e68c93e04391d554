//! Performs decisions of the board and feeds the answers back.

use crate::metrics::{Metrics, Sync};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Run, Runtime, Timeline, labels};
use kruntimes_cluster::events::Recorder;
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::crash;
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::placement::{Board, Decision, PoolKey, RunKey, RuntimeView};
use kruntimes_rules::run::patch::Assignment;
use kube::{Api, Client, ResourceExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::time::timeout;

/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The answer to one write.
#[derive(Debug)]
pub(crate) struct Written {
    run: Arc<Run>,
    counts: Option<Sync>,
    took: Duration,
    result: Result<Run, NotWritten>,
}

#[derive(Debug, Error)]
enum NotWritten {
    #[error(transparent)]
    Refused(#[from] WriteError),
    #[error("the Runtime could not be read")]
    Unknown(#[source] kube::Error),
    #[error("the Runtime is another one now")]
    Outdated,
    #[error("the API server did not answer in time")]
    Silent,
}

impl Written {
    /// What people are told of it.
    pub(crate) fn tell(&self, recorder: &Recorder) {
        if let Ok(after) = &self.result {
            recorder.changed(&self.run, after);
        }
    }
}

/// Writes one decision. A write that is not answered in time counts as not written: the Run does not hold its slot for ever.
pub(crate) async fn perform(client: Client, decision: Decision) -> Written {
    let run = match &decision {
        Decision::Assign { run, .. }
        | Decision::Cancel { run }
        | Decision::Refuse { run, .. }
        | Decision::Wait { run, .. } => run.clone(),
    };
    let now = Timestamp::now();
    let decided = Instant::now();
    let counts = match &decision {
        Decision::Assign { .. } => Some(Sync::scheduled),
        Decision::Refuse { .. } => Some(Sync::selection_error),
        Decision::Wait { .. } => Some(Sync::no_pods),
        Decision::Cancel { .. } => None,
    };
    let written = write(client, &run, &decision, now);
    let result = timeout(ANSWER_WITHIN, written).await.unwrap_or(Err(NotWritten::Silent));
    Written { run, counts, took: decided.elapsed(), result }
}

async fn write(
    client: Client,
    run: &Run,
    decision: &Decision,
    now: Timestamp,
) -> Result<Run, NotWritten> {
    let namespace = run.namespace().unwrap_or_default();
    let runs = Api::namespaced(client.clone(), &namespace);
    match decision {
        Decision::Assign { pod, attempt, seen, .. } => {
            let timeline = timeline(run, *seen, now);
            let assignment = Assignment {
                pod: &pod.name,
                pod_uid: &pod.uid,
                attempt: *attempt,
                timeline: &timeline,
            };
            crash::point("scheduler-assigning");
            let written = status::assign(&runs, run, &assignment, now).await;
            crash::point("scheduler-assigned");
            written.map_err(NotWritten::from)
        }
        Decision::Cancel { .. } => {
            status::cancel_pending(&runs, run, now).await.map_err(NotWritten::from)
        }
        Decision::Refuse { message, .. } => {
            let runtimes = Api::namespaced(client, &namespace);
            refuse(&runs, &runtimes, run, message, now).await
        }
        Decision::Wait { waiting, .. } => {
            let request = Resources::requested(&run.spec).unwrap_or_else(|_| Resources::one_run());
            let message = waiting.message(&PoolKey::of(run), &request);
            let reason = waiting.reason();
            status::waiting(&runs, run, reason, &message, now).await.map_err(NotWritten::from)
        }
    }
}

/// The end of a Run is for ever, so it is not written on what a watch that lags behind has shown.
async fn refuse(
    runs: &Api<Run>,
    runtimes: &Api<Runtime>,
    run: &Run,
    message: &str,
    now: Timestamp,
) -> Result<Run, NotWritten> {
    if let Ok(request) = Resources::requested(&run.spec) {
        let runtime = runtimes.get_opt(&run.spec.runtime).await.map_err(NotWritten::Unknown)?;
        match runtime.as_ref().map(RuntimeView::of) {
            Some(RuntimeView::Usable(capacity)) if !capacity.holds(&request) => {}
            Some(RuntimeView::Usable(_) | RuntimeView::Unusable | RuntimeView::Gone) | None => {
                return Err(NotWritten::Outdated);
            }
        }
    }
    Ok(status::fail_unschedulable(runs, run, message, now).await?)
}

/// What did not come about is tried again, and counts then.
pub(crate) fn count(metrics: &Metrics, written: &Written, now: Timestamp) {
    if let (Ok(run), Some(result)) = (&written.result, written.counts) {
        metrics.written(run, result, written.took, now);
    }
}

/// Tells the board what became of a write. For what a waiting Run is told it waits for no answer.
pub(crate) fn feed_back(board: &mut Board, written: Written, now: Duration, wall: Timestamp) {
    let key = RunKey::of(&written.run);
    let from = written.run.resource_version();
    match (written.result, written.counts) {
        (Ok(_), Some(Sync::no_pods)) => {}
        (Ok(run), _) => board.assigned(Arc::new(run), from.as_deref(), now, wall),
        (Err(error), counts) => {
            let RunKey { namespace, name } = &key;
            tracing::debug!(namespace, name, error = %Chain(&error), "status not written");
            if counts != Some(Sync::no_pods) {
                board.not_written(&key, from.as_deref(), now, wall);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use kruntimes_rules::placement::{PodHealth, PodRef, PodView};
    use kube::client::Body;
    use std::convert::Infallible;

    fn run() -> Arc<Run> {
        let run = serde_json::json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"},
            "spec": {"runtime": "bash"},
        });
        Arc::new(serde_json::from_value(run).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_assignment_that_is_not_answered_gives_its_slot_back_and_is_made_again() {
        let silent = tower::service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, Infallible>>()
        });
        let client = Client::new(silent, "n");
        let pool = PoolKey { namespace: "n".to_owned(), runtime: "bash".to_owned() };
        let mut board = Board::default();
        board.set_runtime(pool.clone(), RuntimeView::Usable(Resources::runs(1)));
        board.set_pod(&PodView {
            pool,
            pod: PodRef { name: "p".to_owned(), uid: "p".to_owned() },
            health: PodHealth::Ready,
            capacity: Resources::runs(1),
        });
        let (wall, begin) = (Timestamp::UNIX_EPOCH, tokio::time::Instant::now());
        board.set_run(run(), Duration::ZERO, wall);
        let decision = board.decide(Duration::ZERO, wall, 1).remove(0);
        let written = perform(client, decision).await;
        assert_eq!(begin.elapsed(), ANSWER_WITHIN);
        assert!(matches!(written.result, Err(NotWritten::Silent)));
        feed_back(&mut board, written, begin.elapsed(), wall);
        assert!(board.decide(begin.elapsed(), wall, 1).is_empty(), "the watch comes first");
        let again = board.deadline().unwrap();
        let decision = board.decide(again, wall, 1).remove(0);
        assert!(matches!(decision, Decision::Assign { .. }));
    }
}

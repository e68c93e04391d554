//! Deletes Workflows that ended, with their Runs: after their TTL, or above a count.

use crate::observe::{self, EVENT_QUEUE, wait_until};
use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_cluster::watch::{Chain, Observed, forward};
use kruntimes_rules::placement::RunKey;
use kruntimes_rules::retention::{Policy, Retention};
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

const ENDED: &str = "status.phase!=Pending,status.phase!=Running";
/// For each Workflow that is kept so many Runs may be: a Workflow has more than one.
const RUNS_OF_A_WORKFLOW: usize = 10;
/// Between two deletions: each takes all Runs of its Workflow with it.
const PAUSE: Duration = Duration::from_millis(200);

/// Collects for ever.
pub(super) async fn run(client: Client, policy: Policy) {
    let (sender, seen) = mpsc::channel(EVENT_QUEUE);
    let ended = watcher::Config::default().fields(ENDED);
    let policy = Policy {
        max_runs: policy.max_runs.map(|most| most.div_ceil(RUNS_OF_A_WORKFLOW)),
        ..policy
    };
    tokio::join!(
        forward(Api::<_>::all(client.clone()), ended, sender, |seen: Observed<Workflow>| seen),
        deletions(client.clone(), policy, seen),
    );
}

async fn deletions(client: Client, policy: Policy, mut seen: mpsc::Receiver<Observed<Workflow>>) {
    let mut retention = Retention::new(policy);
    let mut free_at = Instant::now();
    loop {
        while let Ok(observed) = seen.try_recv() {
            take(&mut retention, observed);
        }
        if let Some(deletion) = retention.next(Timestamp::now()) {
            sleep_until(free_at).await;
            free_at = Instant::now() + PAUSE;
            let RunKey { namespace, name } = &deletion.key;
            let api: Api<Workflow> = Api::namespaced(client.clone(), namespace);
            if let Err(error) = observe::delete(&api, name, Some(deletion.uid.clone())).await {
                tracing::warn!(namespace, name, error = %Chain(&error), "Workflow not deleted");
            }
            continue;
        }
        let wait = retention.deadline().map(|deadline| wait_until(deadline, Timestamp::now()));
        tokio::select! {
            observed = seen.recv() => match observed {
                Some(observed) => take(&mut retention, observed),
                None => return,
            },
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

fn take(retention: &mut Retention, observed: Observed<Workflow>) {
    match observed {
        Observed::Applied(workflow) => retention.set_workflow(&workflow),
        Observed::Gone(key) => {
            retention.remove(&RunKey { namespace: key.namespace, name: key.name });
        }
        Observed::Synced | Observed::Interrupted => {}
    }
}

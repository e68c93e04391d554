//! Deletes Runs that ended: after their TTL, or above the count.

use crate::guards::Guards;
use crate::observe::{self, EVENT_QUEUE, wait_until};
use jiff::Timestamp;
use kruntimes_api::Run;
use kruntimes_cluster::watch::{Chain, Observed, forward};
use kruntimes_daemon::crash;
use kruntimes_rules::placement::RunKey;
use kruntimes_rules::retention::{Deletion, Policy, Retention};
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use std::time::Duration;
use tokio::sync::mpsc;

const ENDED: &str = "status.phase!=Pending,status.phase!=Scheduled,status.phase!=Running";
/// Deletions a second: a backlog of them must not slow the Runs of others.
const DELETIONS_PER_SECOND: u32 = 50;

/// Collects for ever.
pub(crate) async fn run(client: Client, policy: Policy) {
    let (sender, runs) = mpsc::channel(EVENT_QUEUE);
    tokio::join!(
        forward(
            Api::all(client.clone()),
            watcher::Config::default().fields(ENDED),
            sender,
            |run| run
        ),
        deletions(client.clone(), policy, runs),
    );
}

async fn deletions(client: Client, policy: Policy, mut runs: mpsc::Receiver<Observed<Run>>) {
    let mut retention = Retention::new(policy);
    let mut guards = Guards::new(client.clone());
    let mut free_at = tokio::time::Instant::now();
    loop {
        while let Ok(observed) = runs.try_recv() {
            take(&mut retention, &mut guards, observed);
        }
        if let Some(deletion) = retention.next(Timestamp::now()) {
            tokio::time::sleep_until(free_at).await;
            free_at = tokio::time::Instant::now() + Duration::from_secs(1) / DELETIONS_PER_SECOND;
            delete(&client, &deletion).await;
            continue;
        }
        let wait = retention.deadline().map(|deadline| wait_until(deadline, Timestamp::now()));
        tokio::select! {
            observed = runs.recv() => match observed {
                Some(observed) => take(&mut retention, &mut guards, observed),
                None => return,
            },
            () = guards.next() => {}
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

fn take(retention: &mut Retention, guards: &mut Guards, observed: Observed<Run>) {
    match observed {
        Observed::Applied(run) => {
            guards.see(&run);
            retention.set(&run);
        }
        Observed::Gone(key) => {
            retention.remove(&RunKey { namespace: key.namespace, name: key.name });
        }
        Observed::Synced | Observed::Interrupted => {}
    }
}

async fn delete(client: &Client, deletion: &Deletion) {
    let RunKey { namespace, name } = &deletion.key;
    let runs: Api<Run> = Api::namespaced(client.clone(), namespace);
    crash::point("controller-deleting");
    if let Err(error) = observe::delete(&runs, name, Some(deletion.uid.clone())).await {
        tracing::warn!(namespace, name, error = %Chain(&error), "Run not deleted");
    }
}

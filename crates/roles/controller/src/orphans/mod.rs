//! Runs of lost pods: watches of Runs, pods and their Leases feed `rules::reaper`, whose orders run beside the loop.
//!
//! Runs of a namespace that ends go before its pods: Kubernetes deletes the pods first and waits for them, and a pod waits
//! for its Runs.

mod apply;

use crate::guards::Guards;
use crate::observe::{EVENT_QUEUE, Retries};
use apply::{Done, Ending};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, labels};
use kruntimes_cluster::events::Recorder;
use kruntimes_cluster::watch::{ObjectKey, Observed, forward};
use kruntimes_rules::placement::RunKey;
use kruntimes_rules::reaper::{LeaseSeen, Order, PodKey, PodSeen, Reaper};
use kruntimes_rules::run::slim::slim;
use kube::runtime::watcher;
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

const ASSIGNED: &str = "status.phase!=Pending,status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled";
/// Namespaces that are looked at at once; the others wait as after a failure.
const LOOKS_AT_ONCE: usize = 32;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the queue of them is bounded and short-lived")]
enum Input {
    Run(Observed<Run>),
    Pod(Observed<Pod>),
    Lease(Observed<Lease>),
}

/// Takes the Runs of lost pods for ever.
pub(crate) async fn run(client: Client, reap_after: Duration, recorder: Recorder) {
    let (sender, inputs) = mpsc::channel(EVENT_QUEUE);
    let of_pools = || watcher::Config::default().labels(labels::RUNTIME);
    tokio::join!(
        forward(
            Api::all(client.clone()),
            watcher::Config::default().fields(ASSIGNED),
            sender.clone(),
            Input::Run,
        ),
        forward(Api::all(client.clone()), of_pools(), sender.clone(), Input::Pod),
        forward(Api::all(client.clone()), of_pools(), sender, Input::Lease),
        reap(client.clone(), reap_after, inputs, recorder),
    );
}

async fn reap(
    client: Client,
    reap_after: Duration,
    mut inputs: mpsc::Receiver<Input>,
    recorder: Recorder,
) {
    let started = Instant::now();
    let mut reaper = Reaper::new(reap_after);
    let mut under_way = FuturesUnordered::new();
    let mut looks = FuturesUnordered::new();
    let mut retries = Retries::new();
    let mut guards = Guards::new(client.clone());
    loop {
        for order in reaper.step(started.elapsed()) {
            match order {
                Order::LookAtNamespace { run } if looks.len() < LOOKS_AT_ONCE => {
                    looks.push(apply::end_with_namespace(client.clone(), Ending::of(&run)));
                }
                Order::LookAtNamespace { run } => retries.failed(Ending::of(&run)),
                Order::Request(request) => {
                    under_way.push(apply::perform(client.clone(), request, recorder.clone()));
                }
            }
        }
        let deadline = reaper.deadline();
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => {
                    if let Input::Run(Observed::Applied(run)) = &input {
                        guards.see(run);
                    }
                    observe(&mut reaper, input, started.elapsed());
                }
                None => return,
            },
            () = guards.next() => {}
            Some(done) = under_way.next(), if !under_way.is_empty() => {
                feed_back(&mut reaper, done, started.elapsed());
            }
            Some((ending, looked)) = looks.next(), if !looks.is_empty() => match looked {
                Ok(()) => retries.succeeded(&ending),
                Err(()) => retries.failed(ending),
            },
            ending = retries.next(), if looks.len() < LOOKS_AT_ONCE => {
                retries.postpone(&ending);
                looks.push(apply::end_with_namespace(client.clone(), ending));
            }
            () = sleep_until(started + deadline.unwrap_or_default()), if deadline.is_some() => {}
        }
    }
}

fn observe(reaper: &mut Reaper, input: Input, now: Duration) {
    match input {
        Input::Run(Observed::Applied(run)) => reaper.run_seen(Arc::new(slim(run)), now),
        Input::Run(Observed::Gone(ObjectKey { namespace, name })) => {
            reaper.run_gone(&RunKey { namespace, name });
        }
        Input::Pod(Observed::Applied(pod)) => reaper.pod_seen(PodSeen::of(&pod), now),
        Input::Pod(Observed::Gone(ObjectKey { namespace, name })) => {
            reaper.pod_gone(&PodKey { namespace, name }, now);
        }
        Input::Pod(Observed::Synced) => reaper.pods_synced(),
        Input::Lease(Observed::Applied(lease)) => reaper.lease_seen(LeaseSeen::of(&lease), now),
        Input::Lease(Observed::Gone(ObjectKey { namespace, name })) => {
            reaper.lease_gone(&PodKey { namespace, name }, now);
        }
        Input::Lease(Observed::Synced) => reaper.leases_synced(now),
        Input::Lease(Observed::Interrupted) => reaper.leases_interrupted(now),
        Input::Run(Observed::Synced | Observed::Interrupted)
        | Input::Pod(Observed::Interrupted) => {}
    }
}

fn feed_back(reaper: &mut Reaper, done: Done, now: Duration) {
    match done {
        Done::Broke(pod, answer) => reaper.broke(&pod, answer, now),
        Done::Found(pod, answer) => reaper.found(&pod, answer, now),
        Done::Took(key, version, answer) => reaper.took(&key, version.as_deref(), answer, now),
    }
}

//! Runs whose pod is gone: found by watches of Runs and pods, judged by a consistent read of the pod.
//!
//! Runs of a namespace that ends go before its pods: Kubernetes deletes the pods first and waits for them, and a pod waits
//! for its Runs.

use crate::observe::{EVENT_QUEUE, Retries, delete_run};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kruntimes_api::{Phase, Run, labels};
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::{Chain, ObjectKey, Observed, forward};
use kruntimes_daemon::crash;
use kruntimes_rules::orphan::{self, Verdict};
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tokio::sync::mpsc;

const ASSIGNED: &str = "status.phase!=Pending,status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled";

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the queue of them is bounded and short-lived")]
enum Input {
    Run(Observed<Run>),
    Pod(Observed<Pod>),
}

#[derive(Debug, Error)]
enum CheckError {
    #[error("the pod can't be read")]
    Read(#[source] kube::Error),
    #[error("the status can't be written")]
    Write(#[source] WriteError),
    #[error("the Run can't be deleted")]
    Delete(#[source] kube::Error),
}

/// A pod that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    uid: String,
    /// Whether it is to end.
    ends: bool,
}

/// Assigned Runs by their pods, and the pods that live.
#[derive(Debug, Default)]
struct Cache {
    pod_of: BTreeMap<ObjectKey, ObjectKey>,
    runs_on: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    alive: BTreeMap<ObjectKey, Life>,
    pods_synced: bool,
}

/// Frees the Runs of lost pods for ever.
pub(crate) async fn run(client: Client) {
    let (sender, inputs) = mpsc::channel(EVENT_QUEUE);
    tokio::join!(
        forward(
            Api::all(client.clone()),
            watcher::Config::default().fields(ASSIGNED),
            sender.clone(),
            Input::Run,
        ),
        forward(
            Api::all(client.clone()),
            watcher::Config::default().labels(labels::RUNTIME),
            sender,
            Input::Pod,
        ),
        checks(client.clone(), inputs),
    );
}

async fn checks(client: Client, mut inputs: mpsc::Receiver<Input>) {
    let mut cache = Cache::default();
    let mut retries = Retries::new();
    loop {
        let suspects = tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => cache.apply(input),
                None => return,
            },
            key = retries.next() => vec![key],
        };
        for key in suspects {
            match check(&client, &key).await {
                Ok(()) => retries.succeeded(&key),
                Err(error) => {
                    tracing::warn!(namespace = key.namespace, name = key.name, error = %Chain(&error), "orphan check failed");
                    retries.failed(key);
                }
            }
        }
    }
}

impl Cache {
    /// Takes an observation in; the answer are Runs that may have lost their pod.
    fn apply(&mut self, input: Input) -> Vec<ObjectKey> {
        match input {
            Input::Run(Observed::Applied(run)) => self.set_run(&run),
            Input::Run(Observed::Gone(key)) => {
                self.drop_run(&key);
                Vec::new()
            }
            Input::Run(Observed::Synced) => Vec::new(),
            Input::Pod(Observed::Applied(pod)) => self.set_pod(&pod),
            Input::Pod(Observed::Gone(key)) => {
                self.alive.remove(&key);
                self.on(&key)
            }
            Input::Pod(Observed::Synced) => {
                self.pods_synced = true;
                let lost = self.runs_on.iter().filter(|(pod, _)| !self.alive.contains_key(*pod));
                lost.flat_map(|(_, runs)| runs.iter().cloned()).collect()
            }
        }
    }

    fn set_run(&mut self, run: &Run) -> Vec<ObjectKey> {
        let key = ObjectKey::of(run);
        self.drop_run(&key);
        let Some(status) = &run.status else { return Vec::new() };
        let (Phase::Scheduled | Phase::Running, Some(name)) = (status.phase, &status.assigned_pod)
        else {
            return Vec::new();
        };
        let pod = ObjectKey { namespace: key.namespace.clone(), name: name.clone() };
        let held = self.alive.get(&pod).map(|life| &life.uid) == status.assigned_pod_uid.as_ref();
        self.runs_on.entry(pod.clone()).or_default().insert(key.clone());
        self.pod_of.insert(key.clone(), pod);
        if self.pods_synced && !held { vec![key] } else { Vec::new() }
    }

    fn drop_run(&mut self, key: &ObjectKey) {
        let Some(pod) = self.pod_of.remove(key) else { return };
        if let Some(runs) = self.runs_on.get_mut(&pod) {
            runs.remove(key);
            if runs.is_empty() {
                self.runs_on.remove(&pod);
            }
        }
    }

    fn set_pod(&mut self, pod: &Pod) -> Vec<ObjectKey> {
        let key = ObjectKey::of(pod);
        if orphan::has_ended(pod) {
            self.alive.remove(&key);
            return self.on(&key);
        }
        let now = Life {
            uid: pod.uid().unwrap_or_default(),
            ends: pod.metadata.deletion_timestamp.is_some(),
        };
        let is_news = match self.alive.insert(key.clone(), now.clone()) {
            Some(former) => former != now,
            None => now.ends,
        };
        if is_news { self.on(&key) } else { Vec::new() }
    }

    fn on(&self, pod: &ObjectKey) -> Vec<ObjectKey> {
        self.runs_on.get(pod).into_iter().flatten().cloned().collect()
    }
}

async fn check(client: &Client, key: &ObjectKey) -> Result<(), CheckError> {
    let runs: Api<Run> = Api::namespaced(client.clone(), &key.namespace);
    let Some(run) = runs.get_opt(&key.name).await.map_err(CheckError::Read)? else {
        return Ok(());
    };
    let Some(pod_name) = run.status.as_ref().and_then(|status| status.assigned_pod.as_deref())
    else {
        return Ok(());
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let pod = pods.get_opt(pod_name).await.map_err(CheckError::Read)?;
    let Verdict::Lost { reason, message } = orphan::judge(&run, pod.as_ref()) else {
        return end_with_namespace(client, &runs, &run, pod.as_ref()).await;
    };
    crash::point("controller-taking");
    let written = status::pod_lost(&runs, &run, reason, &message, Timestamp::now()).await;
    crash::point("controller-taken");
    match written {
        // Somebody else wrote meanwhile: the watch shows the Run again if it still is an orphan.
        Ok(_) | Err(WriteError::Stale(_) | WriteError::Gone(_)) => Ok(()),
        Err(error) => Err(CheckError::Write(error)),
    }
}

/// Deletes a Run that keeps the pods of a namespace from ending.
async fn end_with_namespace(
    client: &Client,
    runs: &Api<Run>,
    run: &Run,
    pod: Option<&Pod>,
) -> Result<(), CheckError> {
    if pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_none()) || run.phase().is_terminal()
    {
        return Ok(());
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = namespaces.get_opt(&run.namespace().unwrap_or_default()).await;
    let ends = namespace.map_err(CheckError::Read)?;
    if ends.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_none()) {
        return Ok(());
    }
    delete_run(runs, &run.name_any(), run.uid()).await.map_err(CheckError::Delete)
}

//! Does what the reaper asks for, each within [`ANSWER_WITHIN`].

use crate::observe;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kruntimes_api::{Reason, Run};
use kruntimes_cluster::events::Recorder;
use kruntimes_cluster::lease::{self, Written};
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::crash;
use kruntimes_rules::fence::object::{self, Change, Owner};
use kruntimes_rules::placement::RunKey;
use kruntimes_rules::reaper::{BreakAnswer, FindAnswer, PodId, Request, TakeAnswer};
use kube::api::Api;
use kube::{Client, ResourceExt};
use std::time::Duration;
use tokio::time::timeout;

/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The answer to a request.
#[derive(Debug)]
pub(super) enum Done {
    Broke(PodId, BreakAnswer),
    Found(PodId, FindAnswer),
    Took(RunKey, Option<String>, TakeAnswer),
}

/// A Run that may have to end with its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ending {
    key: RunKey,
    uid: Option<String>,
}

impl Ending {
    pub(super) fn of(run: &Run) -> Self {
        Self { key: RunKey::of(run), uid: run.uid() }
    }
}

/// Does what is asked for.
pub(super) async fn perform(client: Client, request: Request, recorder: Recorder) -> Done {
    match request {
        Request::BreakLease { pod, runtime, version, claimed_by } => {
            let owner = Owner { name: &pod.key.name, uid: &pod.uid, runtime: &runtime };
            let change = Change::Break(claimed_by.as_deref());
            let lease = object::lease(owner, version, change, Timestamp::now());
            let leases = Api::namespaced(client, &pod.key.namespace);
            let answer = match lease::write(&leases, &lease, ANSWER_WITHIN).await {
                Written::Stored(lease) => {
                    BreakAnswer::Broken(lease.resource_version().unwrap_or_default())
                }
                Written::Conflict => BreakAnswer::Conflict,
                Written::Failed => BreakAnswer::Failed,
            };
            tracing::warn!(
                namespace = pod.key.namespace,
                pod = pod.key.name,
                ?answer,
                "the Lease of a pod that does not renew it is broken"
            );
            Done::Broke(pod, answer)
        }
        Request::FindPod { pod } => {
            let answer = timeout(ANSWER_WITHIN, find(client, &pod)).await;
            Done::Found(pod, answer.unwrap_or(FindAnswer::Failed))
        }
        Request::Take { run, reason, message } => {
            let answer =
                timeout(ANSWER_WITHIN, take(client, &recorder, &run, reason, &message)).await;
            let answer = answer.unwrap_or(TakeAnswer::Not);
            Done::Took(RunKey::of(&run), run.resource_version(), answer)
        }
    }
}

async fn find(client: Client, pod: &PodId) -> FindAnswer {
    let pods: Api<Pod> = Api::namespaced(client, &pod.key.namespace);
    match pods.get_opt(&pod.key.name).await {
        Ok(Some(found)) if found.uid().as_ref() == Some(&pod.uid) => FindAnswer::Exists,
        Ok(_) => FindAnswer::Gone,
        Err(error) => {
            tracing::warn!(pod = pod.key.name, error = %Chain(&error), "a pod can't be read");
            FindAnswer::Failed
        }
    }
}

async fn take(
    client: Client,
    recorder: &Recorder,
    run: &Run,
    reason: Reason,
    message: &str,
) -> TakeAnswer {
    let runs: Api<Run> = Api::namespaced(client, &run.namespace().unwrap_or_default());
    crash::point("controller-taking");
    let written = status::pod_lost(&runs, run, reason, message, Timestamp::now()).await;
    crash::point("controller-taken");
    match written {
        Ok(taken) => {
            recorder.changed(run, &taken);
            TakeAnswer::Done
        }
        Err(WriteError::Gone(_)) => TakeAnswer::Done,
        Err(error) => {
            tracing::warn!(run = run.name_any(), error = %Chain(&error), "a Run is not taken");
            TakeAnswer::Not
        }
    }
}

/// Deletes a Run that keeps the pods of a namespace from ending.
pub(super) async fn end_with_namespace(client: Client, ending: Ending) -> (Ending, Result<(), ()>) {
    let looked = timeout(ANSWER_WITHIN, delete_if_it_ends(client, &ending)).await;
    let error = match looked {
        Ok(Ok(())) => return (ending, Ok(())),
        Ok(Err(error)) => Chain(&error).to_string(),
        Err(elapsed) => elapsed.to_string(),
    };
    let RunKey { namespace, name } = &ending.key;
    tracing::warn!(namespace, name, error, "whether a Run ends with its namespace is not known");
    (ending, Err(()))
}

async fn delete_if_it_ends(client: Client, ending: &Ending) -> Result<(), kube::Error> {
    let RunKey { namespace, name } = &ending.key;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_opt(namespace).await?;
    if found.is_none_or(|found| found.metadata.deletion_timestamp.is_none()) {
        return Ok(());
    }
    let runs: Api<Run> = Api::namespaced(client, namespace);
    observe::delete(&runs, name, ending.uid.clone()).await
}

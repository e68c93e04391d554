//! What is sent to the API server for Workflows.

use crate::observe::MANAGER;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kruntimes_api::{Run, Workflow};
use kruntimes_cluster::watch::{Chain, ObjectKey};
use kruntimes_daemon::crash;
use kruntimes_workflow::keep::{self, Done, Failure, Object, Request, Whose};
use kruntimes_workflow::{Answer, Child, Effect, Kind, Seen, superseded};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;

/// What is on its way.
pub(super) struct Work {
    client: Client,
    under_way: FuturesUnordered<BoxFuture<'static, (Whose, Done)>>,
}

impl Work {
    pub(super) fn new(client: Client) -> Self {
        Self { client, under_way: FuturesUnordered::new() }
    }

    /// Sends what is asked for.
    pub(super) fn send(&mut self, whose: Whose, request: Request) {
        let client = self.client.clone();
        self.under_way.push(Box::pin(async move {
            let done = carry_out(client, &whose, request).await;
            (whose, done)
        }));
    }

    /// What came of the next; waits for ever where nothing is on its way.
    pub(super) async fn next(&mut self) -> (Whose, Done) {
        match self.under_way.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }
}

async fn carry_out(client: Client, whose: &Whose, request: Request) -> Done {
    let Whose { key, uid } = whose;
    let api: Api<Workflow> = Api::namespaced(client.clone(), &key.namespace);
    match request {
        Request::Create { creation, object } => {
            crash::point("controller-workflow-creating");
            let child = &creation.child;
            let created = match &object {
                Object::Run(run) => create(client, key, uid, child, run.as_ref(), Seen::run).await,
                Object::Workflow(workflow) => {
                    create(client, key, uid, child, workflow.as_ref(), Seen::workflow).await
                }
            };
            match created {
                Ok((answer, there)) => Done::Created { creation, answer, there },
                Err(error) => {
                    warn(key, &error, "a child of a Workflow could not be created");
                    Done::Again(Effect::Create(creation))
                }
            }
        }
        Request::Cancel { name, child, kind, why } => {
            crash::point("controller-workflow-cancelling");
            let patch = why.patch();
            let sent = match kind {
                Kind::Run => ask_to_end::<Run>(client, key, &name, &patch).await,
                Kind::Workflow => ask_to_end::<Workflow>(client, key, &name, &patch).await,
            };
            asked(key, sent, Effect::Cancel { name, child, kind, why })
        }
        Request::Supersede => {
            let sent = ask_to_end::<Workflow>(client, key, &key.name, &superseded()).await;
            asked(key, sent, Effect::Supersede)
        }
        Request::Write(patch) => {
            crash::point("controller-workflow-status");
            let written = api.patch_status(&key.name, &parameters(), &Patch::Merge(patch)).await;
            Done::Written(told(key, written, "the status of a Workflow could not be written"))
        }
        Request::Read => {
            let read = api.get_opt(&key.name).await;
            Done::Read(told(key, read, "a Workflow could not be read"))
        }
        Request::ReadEarlier(name) => {
            let read = api.get_opt(&name).await;
            Done::Earlier(told(key, read, "an earlier Workflow could not be read"))
        }
    }
}

fn asked(key: &ObjectKey, sent: Result<(), kube::Error>, effect: Effect) -> Done {
    match sent {
        Ok(()) => Done::Cancelled,
        Err(error) => {
            warn(key, &error, "a Workflow, or a child of one, could not be asked to end");
            Done::Again(effect)
        }
    }
}

fn told<T>(key: &ObjectKey, result: Result<T, kube::Error>, what: &str) -> Result<T, Failure> {
    result.map_err(|error| {
        let is = |code| matches!(&error, kube::Error::Api(status) if status.code == code);
        if is(404) {
            return Failure::Missing;
        }
        if is(409) {
            return Failure::Conflict;
        }
        warn(key, &error, what);
        Failure::Other
    })
}

fn warn(key: &ObjectKey, error: &kube::Error, what: &str) {
    let ObjectKey { namespace, name } = key;
    tracing::warn!(namespace, name, error = %Chain(error), "{what}");
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

async fn ask_to_end<K>(
    client: Client,
    key: &ObjectKey,
    name: &str,
    patch: &Value,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client, &key.namespace);
    match api.patch(name, &parameters(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if keep::is_asked(status.code) => Ok(()),
        sent => sent.map(drop),
    }
}

/// Creates a child, or finds that it is there.
async fn create<K>(
    client: Client,
    key: &ObjectKey,
    uid: &str,
    child: &Child,
    object: &K,
    seen: impl Fn(&K) -> Option<Seen>,
) -> Result<(Answer, Option<Seen>), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client, &key.namespace);
    let post = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&post, object).await {
        Ok(_) => Ok((Answer::Made, None)),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Gone by now: the next try creates it.
            let there = api.get(&object.name_any()).await?;
            let seen = seen(&there);
            Ok(keep::found(&there, seen, uid, child))
        }
        Err(kube::Error::Api(status)) if keep::is_final(status.code, &status.message) => {
            Ok((Answer::Refused(status.message.clone()), None))
        }
        Err(error) => Err(error),
    }
}

//! Runtime → ServiceAccount, Role, RoleBinding, NetworkPolicy and Deployment, and what they say → Runtime status.
//!
//! Everything is decided on what watches show; a pass over a Runtime that is as it must be asks nothing of the API server.

mod api_server;
mod apply;
mod cache;
mod pods;

use crate::observe::{EVENT_QUEUE, Retries};
use cache::{Cache, Input};
use jiff::Timestamp;
use kruntimes_api::{Runtime, labels};
use kruntimes_cluster::watch::{Chain, ObjectKey, forward};
use kruntimes_rules::pool::{self, Kind, Made, Settings};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::json;
use std::collections::BTreeSet;
use thiserror::Error;
use tokio::sync::mpsc;

#[derive(Debug, Error)]
enum PassError {
    #[error("the {kind} can't be written")]
    Write {
        kind: Kind,
        #[source]
        source: kube::Error,
    },
    #[error("the status can't be written")]
    Status(#[source] kube::Error),
    #[error("an object is no JSON object")]
    Encode(#[from] serde_json::Error),
    #[error("a {0} of the pool's name belongs to somebody else")]
    Taken(Kind),
}

/// Reconciles each Runtime whenever it, an object of its pool, or a pod of it changes.
pub(crate) async fn run(client: Client, settings: Settings) {
    let (sender, inputs) = mpsc::channel(EVENT_QUEUE);
    let of_pools = || watcher::Config::default().labels(labels::RUNTIME);
    let runtimes = forward(
        Api::all(client.clone()),
        watcher::Config::default(),
        sender.clone(),
        Input::Runtime,
    );
    let objects = Kind::ALL.map(|kind| {
        let api = Api::all_with(client.clone(), &apply::resource(kind));
        forward(api, of_pools(), sender.clone(), move |seen| Input::Object(kind, seen))
    });
    let pods = forward(Api::all(client.clone()), of_pools(), sender.clone(), Input::Pod);
    let failed = format!("involvedObject.kind=Pod,reason={}", pods::FAILED_MOUNT);
    let mounts = watcher::Config::default().fields(&failed);
    let events = forward(Api::all(client.clone()), mounts, sender.clone(), Input::Event);
    let api_server =
        || watcher::Config::default().fields(&format!("metadata.name={}", api_server::NAME));
    let place = api_server::NAMESPACE;
    let services = Api::namespaced(client.clone(), place);
    let services = forward(services, api_server(), sender.clone(), Input::Service);
    let slices = Api::namespaced(client.clone(), place);
    let slices = forward(slices, api_server(), sender, Input::Slice);
    tokio::join!(
        runtimes,
        futures::future::join_all(objects),
        pods,
        events,
        services,
        slices,
        passes(client.clone(), settings, inputs)
    );
}

async fn passes(client: Client, mut settings: Settings, mut inputs: mpsc::Receiver<Input>) {
    let mut cache = Cache::default();
    let mut retries = Retries::new();
    let mut dirty = BTreeSet::new();
    loop {
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => dirty.extend(cache.take(input)),
                None => return,
            },
            key = retries.next() => drop(dirty.insert(key)),
        }
        while let Ok(input) = inputs.try_recv() {
            dirty.extend(cache.take(input));
        }
        if !cache.is_complete() {
            continue;
        }
        settings.api_server = cache.api_server.addresses();
        for key in std::mem::take(&mut dirty) {
            match pass(&client, &settings, &mut cache, &key).await {
                Ok(()) => retries.succeeded(&key),
                Err(error) => {
                    tracing::warn!(namespace = key.namespace, name = key.name, error = %Chain(&error), "Runtime pass failed");
                    retries.failed(key);
                }
            }
        }
    }
}

async fn pass(
    client: &Client,
    settings: &Settings,
    cache: &mut Cache,
    key: &ObjectKey,
) -> Result<(), PassError> {
    let Some(runtime) = cache.runtime(key) else { return Ok(()) };
    if runtime.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let valid = pool::validate(runtime, settings);
    let (made, outcome) = match valid {
        Ok(pool) => make(client, cache, key, &pool::objects(&pool)?).await,
        Err(invalid) => (Made::Refused(invalid), Ok(())),
    };
    tell(client, cache, key, &made).await?;
    outcome
}

/// Makes the objects, up to the first that can't be made.
async fn make(
    client: &Client,
    cache: &mut Cache,
    key: &ObjectKey,
    objects: &[pool::Wanted],
) -> (Made, Result<(), PassError>) {
    for wanted in objects {
        match apply::apply(client, cache, key, wanted).await {
            Ok(apply::Applied::Ours) => {}
            Ok(apply::Applied::Foreign) => {
                return (Made::Taken(wanted.kind), Err(PassError::Taken(wanted.kind)));
            }
            Err(source) => {
                let kind = wanted.kind;
                let refused = apply::refusal(&source);
                let made = refused.map_or(Made::All, |answer| Made::Failed(kind, answer));
                return (made, Err(PassError::Write { kind, source }));
            }
        }
    }
    (Made::All, Ok(()))
}

/// Writes the status where it says something else than what is shown.
async fn tell(
    client: &Client,
    cache: &mut Cache,
    key: &ObjectKey,
    made: &Made,
) -> Result<(), PassError> {
    let Some(runtime) = cache.runtime(key) else { return Ok(()) };
    let deployment = cache.object(Kind::Deployment, key);
    let trouble = deployment.and_then(pool::trouble::of_deployment);
    let trouble = trouble.or_else(|| cache.pods.trouble(key));
    let isolations = cache.pods.isolations(key);
    let now = Timestamp::now();
    let status = pool::status(runtime, made, deployment, trouble.as_ref(), &isolations, now);
    if runtime.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": runtime.metadata.resource_version},
        "status": status,
    }));
    let runtimes: Api<Runtime> = Api::namespaced(client.clone(), &key.namespace);
    match runtimes.patch_status(&key.name, &PatchParams::default(), &patch).await {
        Ok(written) => {
            cache.keep(written);
            Ok(())
        }
        // Gone, or written by somebody else: the watch shows it.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(()),
        Err(error) => Err(PassError::Status(error)),
    }
}

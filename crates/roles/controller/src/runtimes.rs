//! Runtime → Deployment, and the Deployment's ready pods → Runtime status.

use crate::observe::{EVENT_QUEUE, Retries};
use k8s_openapi::api::apps::v1::Deployment;
use kruntimes_api::{Runtime, labels, names};
use kruntimes_cluster::watch::{Chain, ObjectKey, Observed, forward};
use kruntimes_rules::pool::{self, InvalidPool, Settings};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;
use thiserror::Error;
use tokio::sync::mpsc;

#[derive(Debug, Error)]
enum PassError {
    #[error("the Runtime can't be built")]
    Invalid(#[from] InvalidPool),
    #[error("the API server refused")]
    Api(#[from] kube::Error),
    #[error("a Deployment of the pool's name belongs to somebody else")]
    NotOurs,
    #[error("the Deployment is no JSON object")]
    Encode(#[from] serde_json::Error),
}

/// Reconciles each Runtime whenever it or its Deployment changes.
pub(crate) async fn run(client: Client, settings: Settings) {
    let (sender, names) = mpsc::channel(EVENT_QUEUE);
    let runtimes = forward::<Runtime, _>(
        Api::all(client.clone()),
        watcher::Config::default(),
        sender.clone(),
        |observed| match observed {
            Observed::Applied(runtime) => Some(ObjectKey {
                namespace: runtime.namespace().unwrap_or_default(),
                name: runtime.name_any(),
            }),
            // Owner references delete what belonged to it.
            Observed::Gone(_) | Observed::Synced => None,
        },
    );
    let deployments = forward::<Deployment, _>(
        Api::all(client.clone()),
        watcher::Config::default().labels(labels::RUNTIME),
        sender,
        |observed| match observed {
            Observed::Applied(deployment) => {
                deployment.labels().get(labels::RUNTIME).map(|runtime| ObjectKey {
                    namespace: deployment.namespace().unwrap_or_default(),
                    name: runtime.clone(),
                })
            }
            Observed::Gone(key) => {
                let name = key.name.strip_prefix(&names::runtime_object("")).map(str::to_owned);
                name.map(|name| ObjectKey { name, ..key })
            }
            Observed::Synced => None,
        },
    );
    tokio::join!(runtimes, deployments, passes(client.clone(), settings, names));
}

async fn passes(client: Client, settings: Settings, mut names: mpsc::Receiver<Option<ObjectKey>>) {
    let mut retries = Retries::new();
    loop {
        let key = tokio::select! {
            received = names.recv() => match received {
                Some(Some(key)) => key,
                Some(None) => continue,
                None => return,
            },
            key = retries.next() => key,
        };
        match pass(&client, &settings, &key).await {
            Ok(()) => retries.succeeded(&key),
            Err(PassError::Invalid(error)) => {
                // The object must change first; its watch event starts the next pass.
                tracing::warn!(namespace = key.namespace, name = key.name, %error, "Runtime has no pool");
                retries.succeeded(&key);
            }
            Err(error) => {
                tracing::warn!(namespace = key.namespace, name = key.name, error = %Chain(&error), "Runtime pass failed");
                retries.failed(key);
            }
        }
    }
}

async fn pass(client: &Client, settings: &Settings, key: &ObjectKey) -> Result<(), PassError> {
    let runtimes: Api<Runtime> = Api::namespaced(client.clone(), &key.namespace);
    let Some(runtime) = runtimes.get_opt(&key.name).await? else { return Ok(()) };
    if runtime.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let desired = pool::deployment(&pool::validate(&runtime, settings)?);
    let live = apply(client, key, &runtime, desired).await?;
    let ready = live.status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let shown = runtime.status.as_ref().and_then(|status| status.ready_replicas);
    if shown != Some(ready) {
        let patch = Patch::Merge(json!({"status": {"readyReplicas": ready}}));
        runtimes.patch_status(&key.name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// Creates the Deployment, or replaces its spec where it differs from what is wanted.
async fn apply(
    client: &Client,
    key: &ObjectKey,
    runtime: &Runtime,
    desired: Deployment,
) -> Result<Deployment, PassError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &key.namespace);
    let name = names::runtime_object(&key.name);
    let Some(mut live) = deployments.get_opt(&name).await? else {
        return Ok(deployments.create(&PostParams::default(), &desired).await?);
    };
    let owner = runtime.uid();
    if !live.owner_references().iter().any(|reference| Some(&reference.uid) == owner.as_ref()) {
        return Err(PassError::NotOurs);
    }
    if pool::covers(&serde_json::to_value(&live)?, &serde_json::to_value(&desired)?) {
        return Ok(live);
    }
    live.labels_mut().extend(desired.metadata.labels.unwrap_or_default());
    live.spec = desired.spec;
    Ok(deployments.replace(&name, &PostParams::default(), &live).await?)
}

//! Makes the maintainers of one namespace as they should be, and lets Runs of a namespace that ends go.

use super::needed::Needed;
use super::{Maintainers, resource};
use crate::observe::MANAGER;
use k8s_openapi::api::core::v1::Namespace;
use kruntimes_api::Run;
use kruntimes_cluster::watch::ObjectKey;
use kruntimes_rules::artifact::{self, Guard};
use kruntimes_rules::pool::maintainer;
use kruntimes_rules::pool::{Kind, Step, Wanted, decide_labelled};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};
use std::sync::Arc;
use thiserror::Error;
use tokio::time::Instant;

#[derive(Debug, Error)]
pub(super) enum PassError {
    #[error("the {kind} {name} can't be written")]
    Write {
        kind: Kind,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("a {0} of a maintainer's name belongs to somebody else")]
    Taken(Kind),
    #[error("an object is no JSON object")]
    Encode(#[from] serde_json::Error),
}

/// Makes what Runs of the namespace need and deletes what they need no more.
pub(super) async fn pass(
    client: &Client,
    config: &Maintainers,
    needed: &mut Needed,
    namespace: &str,
) -> Result<(), PassError> {
    for hash in needed.take_idle(namespace, Instant::now()) {
        let name = maintainer::name(&hash);
        if needed.object(Kind::Deployment, namespace, &name).is_none() {
            continue;
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &resource(Kind::Deployment));
        match api.delete(&name, &DeleteParams::background()).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => {}
            Ok(_) => {}
            Err(source) => {
                needed.is_idle_still(namespace, hash);
                return Err(PassError::Write { kind: Kind::Deployment, name, source });
            }
        }
    }
    for store in needed.stores(namespace) {
        for wanted in
            maintainer::objects(namespace, &store, &config.image, config.cluster.as_deref())?
        {
            make(client, needed, namespace, &wanted).await?;
        }
    }
    Ok(())
}

async fn make(
    client: &Client,
    needed: &mut Needed,
    namespace: &str,
    wanted: &Wanted,
) -> Result<(), PassError> {
    let kind = wanted.kind;
    let name = wanted.object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource(kind));
    let made = match decide_labelled(needed.object(kind, namespace, &name), &wanted.object) {
        Step::Keep => return Ok(()),
        Step::Foreign => return Err(PassError::Taken(kind)),
        Step::Create => {
            let object = serde_json::from_value(wanted.object.clone())?;
            api.create(&PostParams::default(), &object).await
        }
        Step::Patch(patch) => api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await,
    };
    match made {
        Ok(made) => {
            needed.keep(kind, made);
            Ok(())
        }
        // It has none of our labels, or was made a moment ago.
        Err(kube::Error::Api(answer)) if answer.code == 409 && is_foreign(&api, &name).await => {
            Err(PassError::Taken(kind))
        }
        Err(source) => Err(PassError::Write { kind, name, source }),
    }
}

async fn is_foreign(api: &Api<DynamicObject>, name: &str) -> bool {
    let live = api.get(name).await.ok().and_then(|live| serde_json::to_value(live).ok());
    live.is_some_and(|live| !maintainer::is_ours(&live))
}

/// Lets a deleted Run go if its namespace ends: whoever would remove its artifacts goes too.
pub(super) async fn free(client: Client, run: Arc<Run>) -> (ObjectKey, Result<(), kube::Error>) {
    let key = ObjectKey::of(&*run);
    let freed = try_free(&client, &run).await;
    (key, freed)
}

async fn try_free(client: &Client, run: &Run) -> Result<(), kube::Error> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let found = Api::<Namespace>::all(client.clone()).get_opt(&namespace).await?;
    if found.is_some_and(|found| found.metadata.deletion_timestamp.is_none()) {
        return Ok(());
    }
    let Some(Guard { body }) = artifact::released(run) else { return Ok(()) };
    let runs: Api<Run> = Api::namespaced(client.clone(), &namespace);
    let parameters =
        PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match runs.patch(&name, &parameters, &Patch::Merge(body)).await {
        // Written by somebody else meanwhile: the watch shows it.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return Ok(()),
        patched => drop(patched?),
    }
    let store = run.status.as_ref().and_then(|status| status.artifact_store.as_ref());
    let store = store.and_then(|store| serde_json::to_string(store).ok()).unwrap_or_default();
    let uid = run.uid().unwrap_or_default();
    tracing::info!(
        namespace,
        name,
        uid,
        store,
        "the namespace of a Run ends: what it has in its artifact store stays there"
    );
    Ok(())
}

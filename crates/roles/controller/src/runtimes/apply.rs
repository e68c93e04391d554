//! Makes one object of a pool as it is wanted.

use super::cache::Cache;
use kruntimes_api::names;
use kruntimes_cluster::watch::ObjectKey;
use kruntimes_rules::pool::{Kind, Step, Wanted, decide};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

/// Whose the object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    Ours,
    Foreign,
}

/// Where the API server serves a kind.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let (group, version, kind, plural) = kind.resource();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Creates or patches the object, or leaves it as it is.
pub(super) async fn apply(
    client: &Client,
    cache: &mut Cache,
    key: &ObjectKey,
    wanted: &Wanted,
) -> Result<Applied, kube::Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &key.namespace, &resource(wanted.kind));
    let step = decide(cache.object(wanted.kind, key), &wanted.object);
    let step = match step {
        Step::Create => match create(&api, &wanted.object).await {
            Ok(made) => return Ok(kept(cache, wanted.kind, made)),
            // It has no label of ours, or was made a moment ago.
            Err(kube::Error::Api(answer)) if answer.code == 409 => {
                let live = api.get(&names::runtime_object(&key.name)).await?;
                let live = serde_json::to_value(live).map_err(kube::Error::SerdeError)?;
                decide(Some(&live), &wanted.object)
            }
            Err(error) => return Err(error),
        },
        Step::Keep | Step::Patch(_) | Step::Foreign => step,
    };
    match step {
        Step::Keep | Step::Create => Ok(Applied::Ours),
        Step::Foreign => Ok(Applied::Foreign),
        Step::Patch(patch) => {
            let name = names::runtime_object(&key.name);
            let made = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            Ok(kept(cache, wanted.kind, made))
        }
    }
}

/// The API server's answer where the object itself is refused; a conflict and a fault of the server pass by themselves.
pub(super) fn refusal(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(answer) = error else { return None };
    (answer.code != 409 && answer.code < 500).then(|| answer.message.clone())
}

async fn create(api: &Api<DynamicObject>, object: &Value) -> Result<DynamicObject, kube::Error> {
    let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &object).await
}

fn kept(cache: &mut Cache, kind: Kind, object: DynamicObject) -> Applied {
    cache.keep_object(kind, object);
    Applied::Ours
}

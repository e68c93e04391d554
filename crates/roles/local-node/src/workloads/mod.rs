//! Deployments and ReplicaSets of the local home: watches push names into queues, a worker a kind observes by
//! consistent reads, decides (`decide`) and applies.
//!
//! Invariant: one look at an object at a time, each on fresh reads, so that a late event can't make pods twice.

mod decide;
mod deployment;
mod replica_set;

use crate::queue::{Key, Queue};
use crate::watch::{self, Guard};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use std::time::Duration;

/// Every object is looked at again after this time, should an event have been lost.
const BACKSTOP: Duration = Duration::from_secs(300);

/// Works until it is dropped.
pub(crate) async fn run(client: Client) {
    let queues = Queues::default();
    tokio::join!(
        queues.watch_deployments(&client),
        queues.watch_replica_sets(&client),
        queues.watch_pods(&client),
        work(&queues.deployments, |key| deployment::reconcile(&client, key)),
        work(&queues.replica_sets, |key| replica_set::reconcile(&client, key)),
        queues.look_again(&client),
    );
}

/// Looks at everything once, so that each status tells of the pods that there are.
pub(crate) async fn look_once(client: &Client) -> Result<(), kube::Error> {
    let all = ListParams::default();
    for set in Api::<Guard<ReplicaSet>>::all(client.clone()).list(&all).await? {
        once(replica_set::reconcile(client, watch::key(&set)).await);
    }
    for deployment in Api::<Guard<Deployment>>::all(client.clone()).list(&all).await? {
        once(deployment::reconcile(client, watch::key(&deployment)).await);
    }
    Ok(())
}

/// What one object can't have is repeated by its controller.
fn once(looked: Result<Option<Duration>, kube::Error>) {
    if let Err(error) = looked {
        tracing::warn!(error = watch::chain(&error), "look failed");
    }
}

#[derive(Debug, Default)]
struct Queues {
    deployments: Queue,
    replica_sets: Queue,
}

impl Queues {
    async fn watch_deployments(&self, client: &Client) {
        each::<Deployment>(client, |object| self.deployments.push(watch::key(object))).await;
    }

    async fn watch_replica_sets(&self, client: &Client) {
        each::<ReplicaSet>(client, |object| {
            self.replica_sets.push(watch::key(object));
            push_owner(&self.deployments, object, "Deployment");
        })
        .await;
    }

    async fn watch_pods(&self, client: &Client) {
        each::<Pod>(client, |object| push_owner(&self.replica_sets, object, "ReplicaSet")).await;
    }

    async fn look_again(&self, client: &Client) {
        loop {
            tokio::time::sleep(BACKSTOP).await;
            push_all::<Deployment>(client, &self.deployments).await;
            push_all::<ReplicaSet>(client, &self.replica_sets).await;
        }
    }
}

async fn each<K>(client: &Client, mut seen: impl FnMut(&Guard<K>))
where
    K: Resource<DynamicType = ()> + serde::de::DeserializeOwned,
    K: Clone + std::fmt::Debug + Send + 'static,
{
    let mut events = std::pin::pin!(watch::events(Api::<Guard<K>>::all(client.clone())));
    while let Some(event) = events.next().await {
        match event {
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                seen(&object)
            }
            Event::Init | Event::InitDone => {}
        }
    }
}

async fn push_all<K>(client: &Client, queue: &Queue)
where
    K: Resource<DynamicType = ()> + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    match Api::<Guard<K>>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => list.iter().for_each(|object| queue.push(watch::key(object))),
        Err(error) => tracing::warn!(error = watch::chain(&error), "list failed"),
    }
}

fn push_owner(queue: &Queue, object: &impl ResourceExt, kind: &str) {
    if let Some(owner) = decide::controller(object.meta(), kind) {
        let namespace = object.namespace().unwrap_or_default();
        queue.push(Key { namespace, name: owner.name.clone() });
    }
}

/// Looks at one key after the other; `look` says when to look again without an event.
async fn work<F>(queue: &Queue, look: impl Fn(Key) -> F)
where
    F: Future<Output = Result<Option<Duration>, kube::Error>>,
{
    loop {
        let key = queue.next().await;
        match look(key.clone()).await {
            Ok(recheck) => {
                queue.succeeded(&key);
                if let Some(wait) = recheck {
                    queue.push_after(key, wait);
                }
            }
            // A conflict means that an event with the newer version is on its way.
            Err(error) if watch::has_code(&error, 409) => queue.failed(key),
            Err(error) => {
                let (namespace, name) = (&key.namespace, &key.name);
                let error = watch::chain(&error);
                tracing::warn!(namespace, name, error, "look failed; it is repeated");
                queue.failed(key);
            }
        }
    }
}

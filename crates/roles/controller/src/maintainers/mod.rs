//! A maintainer for each store that Runs with artifacts refer to: made when a Run gets its finalizer, removed a while after the
//! last one went.
//!
//! In a namespace that ends nothing can be made, and what is there goes: the finalizers of its Runs are taken away, and what
//! they had in their store is logged.

mod apply;
mod needed;

use crate::observe::{EVENT_QUEUE, Retries};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kruntimes_api::{Run, labels};
use kruntimes_cluster::watch::{Chain, ObjectKey, Observed, forward};
use kruntimes_rules::pool::Kind;
use kruntimes_rules::pool::maintainer;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Client};
use needed::Needed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// What a maintainer consists of.
const KINDS: [Kind; 4] = [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding, Kind::Deployment];
/// Deleted Runs that are looked at at once.
const LOOKS_AT_ONCE: usize = 32;
/// A maintainer stays so long after the last Run that needed it.
const LINGERS: Duration = Duration::from_secs(60);
/// How often namespaces with deleted Runs are looked at again: nothing else tells that one ends.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// How maintainers are made.
#[derive(Debug, Clone)]
pub struct Maintainers {
    /// The image of all roles.
    pub image: String,
    /// Which cluster this is, once it is known.
    pub cluster: Option<String>,
    /// How long one stays that no Run needs.
    pub lingers: Duration,
    /// How often namespaces with deleted Runs are looked at.
    pub look_again: Duration,
}

impl Maintainers {
    /// With this image.
    #[must_use]
    pub const fn new(image: String) -> Self {
        Self { image, cluster: None, lingers: LINGERS, look_again: LOOK_AGAIN }
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the queue of them is bounded and short-lived")]
enum Input {
    Run(Observed<Run>),
    Object(Kind, Observed<DynamicObject>),
}

/// Looks after the maintainers for ever.
pub(crate) async fn run(client: Client, config: Maintainers) {
    let (sender, inputs) = mpsc::channel(EVENT_QUEUE);
    let guarded = watcher::Config::default().labels(labels::ARTIFACT_STORE_HASH);
    let runs = forward(Api::all(client.clone()), guarded, sender.clone(), Input::Run);
    let ours = format!("{}={}", labels::COMPONENT, maintainer::COMPONENT);
    let objects = KINDS.map(|kind| {
        let api = Api::all_with(client.clone(), &resource(kind));
        let config = watcher::Config::default().labels(&ours);
        forward(api, config, sender.clone(), move |seen| Input::Object(kind, seen))
    });
    drop(sender);
    tokio::join!(runs, futures::future::join_all(objects), keep(client.clone(), config, inputs));
}

/// Where the API server serves a kind.
fn resource(kind: Kind) -> ApiResource {
    let (group, version, kind, plural) = kind.resource();
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

async fn keep(client: Client, config: Maintainers, mut inputs: mpsc::Receiver<Input>) {
    let mut needed = Needed::new(config.lingers);
    let mut retries = Retries::new();
    let mut looks = FuturesUnordered::new();
    let mut again = interval(config.look_again);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while looks.len() < LOOKS_AT_ONCE
            && let Some(run) = needed.next_deleted()
        {
            looks.push(apply::free(client.clone(), run));
        }
        let due = needed.due();
        tokio::select! {
            input = inputs.recv() => match input {
                Some(Input::Run(seen)) => needed.take_run(seen),
                Some(Input::Object(kind, seen)) => needed.take_object(kind, seen),
                None => return,
            },
            Some((key, freed)) = looks.next(), if !looks.is_empty() => {
                if let Err(error) = freed {
                    let ObjectKey { namespace, name } = &key;
                    tracing::warn!(namespace, name, error = %Chain(&error), "a deleted Run in a namespace that may end was not looked at");
                }
            }
            namespace = retries.next() => needed.look_at(namespace),
            _ = again.tick() => needed.look_at_deleted(),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        // What waits is taken in first: many Runs of one namespace are one pass.
        while let Ok(input) = inputs.try_recv() {
            match input {
                Input::Run(seen) => needed.take_run(seen),
                Input::Object(kind, seen) => needed.take_object(kind, seen),
            }
        }
        for namespace in needed.namespaces(Instant::now()) {
            match apply::pass(&client, &config, &mut needed, &namespace).await {
                Ok(()) => retries.succeeded(&namespace),
                Err(error) => {
                    tracing::warn!(namespace, error = %Chain(&error), "the maintainers of a namespace are not as they should be");
                    retries.failed(namespace);
                }
            }
        }
    }
}

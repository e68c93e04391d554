//! The node `local`: takes every pod, gives each an actor of its own, and ends them all with the home.
//!
//! Invariant: a pod that is bound to this node and has no actor was run by a home that has ended, so that its
//! processes are gone: it failed, and its owner makes another.

mod actor;
mod address;
mod container;
mod directories;
mod launch;
mod lost;
mod plan;
mod probe;
mod restart;
mod sources;
mod status;
mod write;

use crate::watch::{self, Guard};
use crate::{Config, PodLogs, Tokens};
use actor::{Actor, Stage};
use address::Addresses;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::pods;
use kruntimes_daemon::Shutdown;
use kube::api::ListParams;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use status::Observed;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use write::PodWriter;

/// The only node.
const NODE_NAME: &str = "local";
/// The node's own address.
const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What the pods of the node share.
pub(crate) struct Node {
    config: Config,
    client: Client,
    tokens: Arc<dyn Tokens>,
    logs: PodLogs,
    addresses: Addresses,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Node").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn new(
        config: Config,
        client: Client,
        tokens: Arc<dyn Tokens>,
        logs: PodLogs,
    ) -> Arc<Self> {
        Arc::new(Self { config, client, tokens, logs, addresses: Addresses::default() })
    }
}

type Updates = tokio::sync::watch::Sender<Option<Arc<Pod>>>;

/// Runs pods until the shutdown, and returns when none has a process.
pub(crate) async fn run(node: Arc<Node>, mut shutdown: Shutdown) {
    let pods = Api::<Guard<Pod>>::all(node.client.clone());
    let mut events = std::pin::pin!(watch::events(pods));
    let mut actors = Actors {
        node,
        shutdown: shutdown.clone(),
        tasks: JoinSet::new(),
        updates: BTreeMap::new(),
        listed: BTreeSet::new(),
    };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => actors.on_event(event),
                None => break,
            },
            Some(uid) = actors.tasks.join_next(), if !actors.tasks.is_empty() => {
                if let Ok(uid) = uid {
                    actors.updates.remove(&uid);
                }
            }
            () = shutdown.wait() => break,
        }
    }
    while actors.tasks.join_next().await.is_some() {}
}

/// Says of every pod that an earlier home ran that it failed.
pub(crate) async fn fail_lost(client: &Client) -> Result<(), kube::Error> {
    let list = Api::<Guard<Pod>>::all(client.clone()).list(&ListParams::default()).await?;
    for pod in list.items.into_iter().filter_map(watch::valid) {
        let Some(Stage::Over { phase, why: why @ Some(_) }) = first_stage(&pod) else { continue };
        let containers = lost::views(&pod, Timestamp::now());
        let observed = Observed { phase, why, address: None, started: None, containers };
        // What can't be written here is met again by the pod's actor.
        PodWriter::new(client.clone(), pod).status(&observed).await;
    }
    Ok(())
}

/// The actors by the UIDs of their pods.
struct Actors {
    node: Arc<Node>,
    shutdown: Shutdown,
    tasks: JoinSet<String>,
    updates: BTreeMap<String, Updates>,
    /// What the list that is being read has so far.
    listed: BTreeSet<String>,
}

impl Actors {
    fn on_event(&mut self, event: Event<Guard<Pod>>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(guard) => {
                self.listed.extend(guard.uid());
                self.apply(guard);
            }
            Event::InitDone => self.forget_unlisted(),
            Event::Apply(guard) => self.apply(guard),
            Event::Delete(guard) => {
                if let Some(updates) = guard.uid().and_then(|uid| self.updates.get(&uid)) {
                    updates.send_replace(None);
                }
            }
        }
    }

    fn apply(&mut self, guard: Guard<Pod>) {
        let Some(pod) = watch::valid(guard) else { return };
        let Some(uid) = pod.uid() else { return };
        if let Some(updates) = self.updates.get(&uid) {
            updates.send_replace(Some(Arc::new(pod)));
            return;
        }
        let Some(stage) = first_stage(&pod) else { return };
        let updates = Updates::new(None);
        let (sender, events) = mpsc::channel(actor::EVENT_LIMIT);
        let actor = Actor::new(Arc::clone(&self.node), pod, stage, sender);
        let life = actor.run(updates.subscribe(), events, self.shutdown.clone());
        self.updates.insert(uid.clone(), updates);
        self.tasks.spawn(async move {
            life.await;
            uid
        });
    }

    fn forget_unlisted(&mut self) {
        for (uid, updates) in &self.updates {
            if !self.listed.contains(uid) {
                updates.send_replace(None);
            }
        }
        let listed = std::mem::take(&mut self.listed);
        // Chosen here and removed beside: a pod that starts meanwhile is not among them.
        let others = directories::others(&self.node.config.data_dir, |uid| {
            listed.contains(uid) || self.updates.contains_key(uid)
        });
        tokio::task::spawn_blocking(move || directories::remove_all(others));
    }
}

/// Where a pod that has no actor yet begins; none for a pod of another node.
fn first_stage(pod: &Pod) -> Option<Stage> {
    let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match (bound, phase) {
        (Some(node), _) if node != NODE_NAME => None,
        (_, Some("Succeeded")) => Some(Stage::Over { phase: "Succeeded", why: None }),
        (_, Some("Failed")) => Some(Stage::Over { phase: "Failed", why: None }),
        (Some(_), _) => {
            let message = "the local home that ran the pod has ended".to_owned();
            Some(Stage::Over { phase: "Failed", why: Some((pods::NODE_RESTARTED, message)) })
        }
        (None, _) => Some(Stage::Pending(None)),
    }
}

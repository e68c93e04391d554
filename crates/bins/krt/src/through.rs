//! Through whom what a Run has left is read: any pod of its Runtime, the one that executed it first, for they have one store; else the
//! maintainer that looks after the store, on a cluster by port-forward, in a local home at the address that a Secret tells.

use crate::failure::Failure;
use crate::home::Home;
use crate::pod_channel::{self, ChannelError, PodChannel};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kruntimes_api::{Run, labels, names};
use kruntimes_rules::{artifact, pods, pool};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

/// Pods that are looked through.
const PODS: u32 = 500;

/// One who may have it.
#[derive(Debug)]
pub(crate) enum Sender {
    /// A pod of the Runtime.
    Pod(Pod),
    /// A maintainer of a cluster.
    Maintainer(Pod),
    /// The maintainer of a local home: its address and its token.
    Home(String, String),
}

impl std::fmt::Display for Sender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod(pod) | Self::Maintainer(pod) => write!(formatter, "pod {}", pod.name_any()),
            Self::Home(..) => write!(formatter, "the maintainer of the local home"),
        }
    }
}

impl Sender {
    /// A channel to it.
    pub(crate) async fn connect(&self, home: &Home) -> Result<PodChannel, ChannelError> {
        let pods = Api::namespaced(home.client.clone(), &home.namespace);
        match self {
            Self::Pod(pod) => {
                pod_channel::connect(&pods, &pod.name_any(), pod.uid().as_deref()).await
            }
            Self::Maintainer(pod) => pod_channel::connect_openly(&pods, &pod.name_any()).await,
            Self::Home(address, token) => pod_channel::connect_at(address, token).await,
        }
    }
}

/// All who may have it, in the order in which they are asked.
pub(crate) async fn senders(home: &Home, run: &Run) -> Result<Vec<Sender>, Failure> {
    let pods: Api<Pod> = Api::namespaced(home.client.clone(), &home.namespace);
    let list = async |selector: String| {
        pods.list(&ListParams::default().labels(&selector).limit(PODS)).await.map(|list| list.items)
    };
    let of_runtime = list(format!("{}={}", labels::RUNTIME, run.spec.runtime)).await?;
    let mut ready: Vec<Pod> = of_runtime.into_iter().filter(pods::is_ready).collect();
    let status = run.status.as_ref();
    let own = status.and_then(|status| status.assigned_pod.clone());
    ready.sort_by_key(|pod| (Some(pod.name_any()) != own, pod.name_any()));
    let mut all: Vec<Sender> = ready.into_iter().map(Sender::Pod).collect();
    let mut selector = format!("{}={}", labels::COMPONENT, pool::maintainer::COMPONENT);
    if let Some(store) = status.and_then(|status| status.artifact_store.as_ref()) {
        let hash = artifact::store_hash(store);
        selector.push_str(&format!(",{}={hash}", labels::ARTIFACT_STORE_HASH));
    }
    let maintainers = list(selector).await.unwrap_or_default();
    let alive = maintainers.into_iter().filter(|pod| !pods::has_ended(pod));
    all.extend(alive.map(Sender::Maintainer));
    all.extend(of_home(home).await);
    Ok(all)
}

/// On a cluster there is none, or nobody may read it.
async fn of_home(home: &Home) -> Option<Sender> {
    let secrets: Api<Secret> = Api::namespaced(home.client.clone(), names::LOCAL_DOOR_NAMESPACE);
    let data = secrets.get_opt(names::LOCAL_DOOR).await.ok()??.data?;
    let text = |name: &str| String::from_utf8(data.get(name)?.0.clone()).ok();
    Some(Sender::Home(text("address")?, text("token")?))
}

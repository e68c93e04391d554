//! Through whom what a Run has left is read: any pod of its Runtime, the one that executed it first; they have one store.

use crate::failure::Failure;
use crate::pod_channel::{self, ChannelError, PodChannel};
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, labels};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

/// Pods that are looked through for those that are ready.
const PODS: u32 = 500;

/// One who may have it.
#[derive(Debug)]
pub(crate) struct Sender {
    pod: String,
    uid: Option<String>,
}

impl std::fmt::Display for Sender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "pod {}", self.pod)
    }
}

impl Sender {
    /// A channel to it.
    pub(crate) async fn connect(&self, pods: &Api<Pod>) -> Result<PodChannel, ChannelError> {
        pod_channel::connect(pods, &self.pod, self.uid.as_deref()).await
    }
}

/// All who may have it, in the order in which they are asked.
pub(crate) async fn senders(pods: &Api<Pod>, run: &Run) -> Result<Vec<Sender>, Failure> {
    let runtime = &run.spec.runtime;
    let of_runtime =
        ListParams::default().labels(&format!("{}={runtime}", labels::RUNTIME)).limit(PODS);
    let mut ready: Vec<Pod> = pods
        .list(&of_runtime)
        .await?
        .items
        .into_iter()
        .filter(kruntimes_rules::pods::is_ready)
        .collect();
    let own = run.status.as_ref().and_then(|status| status.assigned_pod.clone());
    ready.sort_by_key(|pod| (Some(pod.name_any()) != own, pod.name_any()));
    Ok(ready.into_iter().map(|pod| Sender { pod: pod.name_any(), uid: pod.uid() }).collect())
}

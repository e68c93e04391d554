//! Through whom what a Run has left is read: any pod of its Runtime, the one that executed it first; they have one store.

use crate::failure::Failure;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, labels};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

/// Pods that are looked through for those that are ready.
const PODS: u32 = 500;

/// The pods that may have it, in the order in which they are asked.
pub(crate) async fn pods(pods: &Api<Pod>, run: &Run) -> Result<Vec<Pod>, Failure> {
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
    Ok(ready)
}

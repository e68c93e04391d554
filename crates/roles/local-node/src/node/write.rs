//! The node's writes to the API: binding, status and the final deletion of a pod.
//!
//! Invariant: a status is written only against the version it was made from, so that no other writer's change is lost.

use super::NODE_NAME;
use super::status::{Observed, status};
use crate::watch::{self, Guard};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Conflicts that one write meets at most before it is put off.
const CONFLICTS: usize = 8;

/// The API of one pod.
#[derive(Debug)]
pub(super) struct PodWriter {
    pods: Api<Guard<Pod>>,
    /// The newest version that was seen.
    latest: Pod,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// The pod's object is gone.
    Gone,
    /// To be tried again later.
    Failed,
}

impl PodWriter {
    pub(super) fn new(client: Client, pod: Pod) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        Self { pods: Api::namespaced(client, &namespace), latest: pod }
    }

    pub(super) fn pod(&self) -> &Pod {
        &self.latest
    }

    /// Takes a version from the watch, unless a newer one is known.
    pub(super) fn seen(&mut self, pod: &Pod) {
        let version = |pod: &Pod| pod.resource_version().and_then(|text| text.parse::<u64>().ok());
        if version(pod) >= version(&self.latest) {
            self.latest = pod.clone();
        }
    }

    /// Binds the pod to this node.
    pub(super) async fn bind(&mut self) -> Written {
        if self.latest.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
            return Written::Done;
        }
        let patch = json!({"metadata": {"uid": self.uid()}, "spec": {"nodeName": NODE_NAME}});
        let name = self.latest.name_any();
        let answer = self.pods.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.take(answer, "binding")
    }

    /// Writes what was observed, if it differs from what the pod says.
    pub(super) async fn status(&mut self, observed: &Observed) -> Written {
        let name = self.latest.name_any();
        for _ in 0..CONFLICTS {
            let Some(status) = status(&self.latest, observed, Timestamp::now()) else {
                return Written::Done;
            };
            let version = self.latest.resource_version();
            let patch = json!({
                "metadata": {"uid": self.uid(), "resourceVersion": version},
                "status": status,
            });
            let params = PatchParams::default();
            match self.pods.patch_status(&name, &params, &Patch::Merge(patch)).await {
                Err(error) if watch::has_code(&error, 409) => match self.refresh(&name).await {
                    Written::Done => {}
                    gone_or_failed @ (Written::Gone | Written::Failed) => return gone_or_failed,
                },
                answer => return self.take(answer, "status"),
            }
        }
        Written::Failed
    }

    /// Removes the object of a pod that has ended.
    pub(super) async fn remove(&self) -> Written {
        let preconditions = Preconditions { uid: self.latest.uid(), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match self.pods.delete(&self.latest.name_any(), &params).await {
            Ok(_) => Written::Done,
            // Another pod of this name is not the one to delete.
            Err(error) if watch::has_code(&error, 404) || watch::has_code(&error, 409) => {
                Written::Gone
            }
            Err(error) => self.failed("deletion", &error),
        }
    }

    async fn refresh(&mut self, name: &str) -> Written {
        match self.pods.get_opt(name).await {
            Ok(Some(guard)) if guard.uid().as_deref() == Some(self.uid()) => match guard.0 {
                Ok(pod) => {
                    self.latest = pod;
                    Written::Done
                }
                Err(_) => Written::Failed,
            },
            Ok(_) => Written::Gone,
            Err(error) => self.failed("read", &error),
        }
    }

    fn take(&mut self, answer: Result<Guard<Pod>, kube::Error>, what: &str) -> Written {
        match answer {
            Ok(guard) => {
                if let Ok(pod) = guard.0 {
                    self.latest = pod;
                }
                Written::Done
            }
            Err(error) if watch::has_code(&error, 404) => Written::Gone,
            Err(error) => self.failed(what, &error),
        }
    }

    fn failed(&self, what: &str, error: &kube::Error) -> Written {
        let pod = self.latest.name_any();
        tracing::warn!(pod, what, error = watch::chain(error), "write failed; it is repeated");
        Written::Failed
    }

    fn uid(&self) -> &str {
        self.latest.metadata.uid.as_deref().unwrap_or_default()
    }
}

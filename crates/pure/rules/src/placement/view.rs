//! What the scheduler knows of Runs, pods and pools, and why a Run waits.

use crate::capacity::Resources;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, Runtime, conditions, labels, pods};
use kube::ResourceExt;

/// A Run's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl RunKey {
    /// The key of a Run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self { namespace: run.namespace().unwrap_or_default(), name: run.name_any() }
    }
}

/// The pool of a Runtime: its namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolKey {
    /// Namespace.
    pub namespace: String,
    /// Name of the Runtime.
    pub runtime: String,
}

impl PoolKey {
    /// The pool that a Run asks for.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self { namespace: run.namespace().unwrap_or_default(), runtime: run.spec.runtime.clone() }
    }
}

/// A pod's name and UID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// What the scheduler knows of a Runtime pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its pool.
    pub pool: PoolKey,
    /// Name and UID.
    pub pod: PodRef,
    /// Whether it takes Runs.
    pub health: PodHealth,
    /// What it has, taken or not.
    pub capacity: Resources,
}

/// Whether a pod takes Runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodHealth {
    /// Both the kubelet and runtimed say ready.
    Ready,
    /// Not ready.
    NotReady,
    /// A container's image can't be had.
    ImagePullFailed,
    /// Ended, or about to: it will never take a Run again.
    Leaving,
}

/// What the scheduler knows of a Runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RuntimeView {
    /// There is none of that name, or it is being deleted.
    #[default]
    Gone,
    /// Its capacity can't be read.
    Unusable,
    /// What each pod that it makes has.
    Usable(Resources),
}

impl RuntimeView {
    /// The view of a Runtime.
    #[must_use]
    pub fn of(runtime: &Runtime) -> Self {
        if runtime.metadata.deletion_timestamp.is_some() {
            return Self::Gone;
        }
        Resources::of_runtime(&runtime.spec).map_or(Self::Unusable, Self::Usable)
    }
}

/// Why a Run waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// The namespace has no such Runtime.
    RuntimeNotFound,
    /// No pod is ready.
    NoReadyPods,
    /// Every ready pod is full.
    NoCapacity,
    /// No Run that is Running holds the workspace that it shares.
    WorkspaceNotHeld,
    /// Another Run works in the workspace that it shares.
    WorkspaceInUse,
    /// The pods can't pull their image.
    ImagePullFailed,
    /// A retry waits for its backoff.
    Backoff,
}

impl Waiting {
    /// The reason of the condition `Scheduled=False`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RuntimeNotFound => conditions::RUNTIME_NOT_FOUND,
            Self::NoReadyPods => conditions::NO_READY_PODS,
            Self::NoCapacity => conditions::NO_CAPACITY,
            Self::WorkspaceNotHeld | Self::WorkspaceInUse => conditions::WORKSPACE_NOT_FREE,
            Self::ImagePullFailed => conditions::IMAGE_PULL_FAILED,
            Self::Backoff => conditions::BACKOFF,
        }
    }
}

impl PodView {
    /// The view of a pod, or nothing when it belongs to no Runtime.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let runtime = pod.labels().get(labels::RUNTIME)?.clone();
        Some(Self {
            pool: PoolKey { namespace: pod.namespace()?, runtime },
            pod: PodRef { name: pod.name_any(), uid: pod.uid()? },
            health: health(pod),
            capacity: Resources::of_annotations(pod.annotations()),
        })
    }
}

fn health(pod: &Pod) -> PodHealth {
    let Some(status) = &pod.status else { return PodHealth::NotReady };
    let holds = |kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let phase = status.phase.as_deref();
    let deleting = pod.metadata.deletion_timestamp.is_some();
    if deleting || matches!(phase, Some("Succeeded" | "Failed")) {
        return PodHealth::Leaving;
    }
    if phase == Some("Running") && holds("Ready") && holds(conditions::RUNTIMED_READY) {
        return PodHealth::Ready;
    }
    let pull_failed = status.container_statuses.iter().flatten().any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.and_then(|waiting| waiting.reason.as_deref()).is_some_and(|reason| {
            matches!(
                reason,
                "ErrImagePull"
                    | "ImagePullBackOff"
                    | "InvalidImageName"
                    | pods::IMAGE_NOT_SERVED_LOCALLY
            )
        })
    });
    if pull_failed { PodHealth::ImagePullFailed } else { PodHealth::NotReady }
}

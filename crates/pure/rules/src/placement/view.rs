//! What the scheduler knows of Runs, pods and pools, and why a Run waits.

use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, conditions, labels, limits, pods};
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
    /// How many Runs it takes at once.
    pub capacity: u32,
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
            Self::ImagePullFailed => conditions::IMAGE_PULL_FAILED,
            Self::Backoff => conditions::BACKOFF,
        }
    }

    /// What a person reads.
    #[must_use]
    pub fn message(self, pool: &PoolKey) -> String {
        let PoolKey { namespace, runtime } = pool;
        let what = match self {
            Self::RuntimeNotFound => format!("namespace {namespace} has none of that name"),
            Self::NoReadyPods => "none of its pods is ready".to_owned(),
            Self::NoCapacity => "all slots of its ready pods are taken".to_owned(),
            Self::ImagePullFailed => "its pods can't pull their image".to_owned(),
            Self::Backoff => return "waiting for the backoff of the next attempt".to_owned(),
        };
        format!("waiting for Runtime {runtime}: {what}")
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
            capacity: capacity(pod),
        })
    }
}

fn capacity(pod: &Pod) -> u32 {
    pod.annotations()
        .get(labels::CAPACITY_RUNS)
        .and_then(|runs| runs.parse().ok())
        .filter(|runs| *runs > 0)
        .unwrap_or(limits::DEFAULT_CAPACITY_RUNS)
}

fn health(pod: &Pod) -> PodHealth {
    let Some(status) = &pod.status else { return PodHealth::NotReady };
    let holds = |kind: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let running = status.phase.as_deref() == Some("Running");
    let deleting = pod.metadata.deletion_timestamp.is_some();
    if running && !deleting && holds("Ready") && holds(conditions::RUNTIMED_READY) {
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

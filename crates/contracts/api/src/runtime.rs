//! Runtime: a warm pool of pods.

use crate::{ArtifactStore, RunLimits, limits, namespaced_kind};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Runtime defines a warm execution pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// `kruntimes.io/v1alpha1`.
    #[serde(default)]
    pub api_version: type_tags::ApiVersion,
    /// `Runtime`.
    #[serde(default)]
    pub kind: type_tags::Kind,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The pool.
    pub spec: RuntimeSpec,
    /// How many of its pods are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RuntimeStatus>,
}
namespaced_kind!(Runtime, "Runtime", "runtimes");

/// A warm pool of pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSpec {
    /// Template of the pool's pods, a PodTemplateSpec of Kubernetes. Its first container is named `runtime` and holds the
    /// Runtime Server; the controller adds the sidecar `runtimed` and the volume `workspace`.
    pub template: PodTemplateSpec,
    /// Port of the Runtime Server in the pod.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// How many pods the pool has.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1))]
    pub replicas: i32,
    /// Image of the sidecar `runtimed`. Default: the controller's `--default-daemon-image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub daemon_image: Option<String>,
    /// What one pod can take at once. Default: 2 Runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// What each Run may use at most that says nothing else in its `spec.resources.limits`. A change replaces the pods.
    /// Example: `{memory: 512Mi, processes: 100, disk: 1Gi}`. Default: 512 processes, and what the pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_limits: Option<RunLimits>,
    /// How the Runs of one pod are kept apart. process: by the kernel; each sees its own files and processes and nothing of
    /// others; the condition Isolation says what the kernel lacks. none: not at all, for Runs that trust each other and need
    /// what is refused otherwise. A change replaces the pods. Default: process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Secrets of this namespace that Runs of this Runtime may use in `env[].valueFrom.secretKeyRef`. They are mounted
    /// into the sidecar runtimed alone, never into the Runtime Server; a Secret that does not exist yet may be named.
    /// A change replaces the pods. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::ALLOWED_ITEMS"))]
    pub allowed_secrets: Vec<String>,
    /// ConfigMaps of this namespace that Runs of this Runtime may use in `env[].valueFrom.configMapKeyRef`, mounted as
    /// `allowedSecrets` are. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = "limits::ALLOWED_ITEMS"))]
    pub allowed_config_maps: Vec<String>,
    /// How long Runs may go on in a pod that is to end, for a rollout, a drain of its node or a deletion: it takes no more
    /// of them and ends when the last has ended. What has not ended shortly before is killed, and tried again where its
    /// `retryPolicy` says so. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = "limits::DRAIN_SECONDS_MAX"))]
    pub drain_timeout_seconds: Option<i64>,
    /// Where files that Runs leave in `$KRUNTIME_ARTIFACTS_DIR` are kept. A change replaces
    /// the pods; what was kept before stays where it is. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_store: Option<ArtifactStore>,
    /// What becomes of the output of Runs. Default: as below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogSettings>,
    /// Whom the pods may reach, on a cluster that enforces NetworkPolicies: peers of a NetworkPolicy's egress rule. The API
    /// server and the cluster's DNS are always among them, addresses at which clouds hand out credentials never. Git
    /// sources need their server here. An empty list: nobody else. Default: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = "limits::EGRESS_ITEMS"))]
    pub egress: Option<Vec<NetworkPolicyPeer>>,
}

/// What becomes of the output of Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogSettings {
    /// Whether the output of each attempt is kept in `artifactStore` when it has ended, for `krt logs` when its pod is gone, until its
    /// Run is deleted. Without a store there is nothing to keep it in. A change replaces the pods. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<bool>,
}

/// How the Runs of one pod are kept apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// By the kernel.
    #[default]
    Process,
    /// Not at all.
    None,
}

/// What one pod of a Runtime can take at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Per-pod logical capacity: an integer per resource, including the built-in `runs`: how many Runs execute at once. Other
    /// names are yours; a Run takes its `spec.resources.requests` of them while it executes. Example: `{runs: "4", gpu: "1"}`.
    /// Default: `{runs: "2"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Quantity>,
}

/// How a Runtime stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeStatus {
    /// Pods that are ready to take Runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Conditions of the pool: `Ready`, `TemplateAccepted` and `Isolation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
}

fn default_port() -> i32 {
    crate::names::RUNTIME_PORT
}

fn default_replicas() -> i32 {
    1
}

//! Checks a Runtime into a pool that can be built. The CRD refuses most of this already; an object that was stored
//! before a rule existed must still not harm others.

use super::egress::{self, InvalidEgress};
use super::store::{self, Store};
use super::template::{self, Refusals};
use crate::capacity::{InvalidAmount, Resources};
use crate::run::limits::Limits;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kruntimes_api::{Isolation, Runtime, limits, names};
use kube::ResourceExt;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// What the controller's flags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Image of the sidecar where a Runtime names none.
    pub daemon_image: String,
    /// Where the API server listens: what a pod with narrowed egress must reach.
    pub api_server: BTreeSet<(IpAddr, u16)>,
    /// A pod that could not renew its Lease for so long kills what it executes.
    pub fence_after: Duration,
    /// Which cluster this is, for those that share a bucket; none that is known.
    pub cluster: Option<String>,
}

impl Settings {
    /// Of a cluster that is not known yet.
    #[must_use]
    pub const fn new(daemon_image: String, fence_after: Duration) -> Self {
        Self { daemon_image, api_server: BTreeSet::new(), fence_after, cluster: None }
    }
}

/// A pool that can be built.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidPool {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) replicas: i32,
    pub(super) port: i32,
    pub(super) daemon_image: String,
    /// What a pod has. `None` leaves the default to scheduler and runtimed.
    pub(super) capacity: Option<Resources>,
    pub(super) server: Container,
    pub(super) extras: Vec<Container>,
    pub(super) template: PodTemplateSpec,
    /// The ServiceAccount that the template names.
    pub(super) service_account: Option<String>,
    /// In the order of their names: another order in the Runtime is no other pod.
    pub(super) secrets: BTreeSet<String>,
    pub(super) config_maps: BTreeSet<String>,
    /// How long a pod that is to end waits for its Runs.
    pub(super) drain_seconds: i64,
    /// What a Run may use that says nothing else.
    pub(super) run_limits: Limits,
    /// How the Runs of a pod are kept apart.
    pub(super) isolation: Isolation,
    /// Whom the pods may reach; everybody where there is none.
    pub(super) egress: Option<Vec<NetworkPolicyPeer>>,
    pub(super) api_server: BTreeSet<(IpAddr, u16)>,
    pub(super) fence_after: Duration,
    pub(super) cluster: Option<String>,
    /// Where its artifacts are kept.
    pub(super) store: Option<Store>,
    /// Whether the logs of attempts that ended are kept there.
    pub(super) archive_logs: bool,
}

/// Why a Runtime has no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPool {
    /// The object is not a stored one.
    #[error("the Runtime has no namespace or UID")]
    NotStored,
    /// The template is not usable.
    #[error("spec.template.spec.containers: the first container must be named runtime")]
    NoServer,
    /// The template has what no pool can have.
    #[error(transparent)]
    Template(#[from] Refusals),
    /// A port that runtimed listens on.
    #[error("spec.port: {0} is runtimed's own; let the Runtime Server listen on another port")]
    Port(i32),
    /// The name does not fit into a label.
    #[error("metadata.name: at most {} characters", limits::RUNTIME_NAME_CHARS)]
    NameTooLong,
    /// The capacity can't be read.
    #[error(transparent)]
    Capacity(#[from] InvalidAmount),
    /// The egress can't be had.
    #[error(transparent)]
    Egress(#[from] InvalidEgress),
    /// A store that is none.
    #[error(
        "spec.artifactStore: the driver filesystem needs filesystem.volumeClaimName, a name of a PersistentVolumeClaim"
    )]
    ArtifactStore,
    /// A bucket that is none.
    #[error(
        "spec.artifactStore: the driver s3 needs s3.bucket, a name; s3.endpoint begins with http:// or https:// and has no path"
    )]
    Bucket,
    /// A name in `allowedSecrets` or `allowedConfigMaps` that no object can have.
    #[error("{field}: {name:?} is no name of a Secret or ConfigMap")]
    SourceName {
        /// The field.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// More Secrets or ConfigMaps than a pod is given.
    #[error("{field}: at most {} names", limits::ALLOWED_ITEMS)]
    TooManySources {
        /// The field.
        field: &'static str,
    },
}

/// Checks a Runtime.
///
/// # Errors
/// The first thing that keeps the pool from being built.
pub fn validate(runtime: &Runtime, settings: &Settings) -> Result<ValidPool, InvalidPool> {
    let (Some(namespace), Some(uid)) = (runtime.namespace(), runtime.uid()) else {
        return Err(InvalidPool::NotStored);
    };
    let name = runtime.name_any();
    if name.chars().count() > limits::RUNTIME_NAME_CHARS as usize {
        return Err(InvalidPool::NameTooLong);
    }
    let port = runtime.spec.port;
    if [names::METRICS_PORT, names::STATUS_PORT, names::HEALTH_PORT].map(i32::from).contains(&port)
    {
        return Err(InvalidPool::Port(port));
    }
    let secrets = names_of("spec.allowedSecrets", &runtime.spec.allowed_secrets)?;
    let context = template::Context { runtime: &name, port, secrets: &secrets };
    template::check(&serde_json::to_value(&runtime.spec.template).unwrap_or_default(), &context)?;
    let containers = runtime.spec.template.spec.as_ref().map(|spec| spec.containers.clone());
    let mut containers = containers.unwrap_or_default().into_iter();
    let server = containers
        .next()
        .filter(|first| first.name == names::RUNTIME_CONTAINER)
        .ok_or(InvalidPool::NoServer)?;
    let extras = containers.collect();
    let named = runtime.spec.capacity.as_ref().is_some_and(|named| !named.resources.is_empty());
    let capacity = named.then(|| Resources::of_runtime(&runtime.spec)).transpose()?;
    Ok(ValidPool {
        name,
        namespace,
        uid,
        replicas: runtime.spec.replicas.max(1),
        port,
        daemon_image: daemon_image(runtime, settings),
        capacity,
        server,
        extras,
        template: runtime.spec.template.clone(),
        service_account: runtime
            .spec
            .template
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone())
            .filter(|account| !account.is_empty()),
        drain_seconds: runtime
            .spec
            .drain_timeout_seconds
            .unwrap_or(limits::DRAIN_SECONDS)
            .clamp(1, limits::DRAIN_SECONDS_MAX),
        run_limits: runtime.spec.run_limits.as_ref().map(Limits::of).unwrap_or_default(),
        isolation: runtime.spec.isolation.unwrap_or_default(),
        egress: runtime.spec.egress.as_deref().map(egress::checked).transpose()?,
        api_server: settings.api_server.clone(),
        fence_after: settings.fence_after,
        cluster: settings.cluster.clone(),
        store: runtime.spec.artifact_store.as_ref().map(store::check).transpose()?,
        archive_logs: runtime.spec.logs.as_ref().and_then(|logs| logs.archive).unwrap_or(true),
        secrets,
        config_maps: names_of("spec.allowedConfigMaps", &runtime.spec.allowed_config_maps)?,
    })
}

fn daemon_image(runtime: &Runtime, settings: &Settings) -> String {
    let named = runtime.spec.daemon_image.clone().filter(|image| !image.is_empty());
    named.unwrap_or_else(|| settings.daemon_image.clone())
}

fn names_of(field: &'static str, list: &[String]) -> Result<BTreeSet<String>, InvalidPool> {
    if let Some(name) = list.iter().find(|name| !names::is_object_name(name)) {
        return Err(InvalidPool::SourceName { field, name: name.clone() });
    }
    let names: BTreeSet<String> = list.iter().cloned().collect();
    if names.len() > limits::ALLOWED_ITEMS as usize {
        return Err(InvalidPool::TooManySources { field });
    }
    Ok(names)
}

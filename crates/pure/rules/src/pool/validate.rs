//! Checks a Runtime into a pool that can be built. The CRD refuses most of this already; an object that was stored
//! before a rule existed must still not harm others.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use kruntimes_api::{Runtime, labels, limits, names};
use kube::ResourceExt;

/// What the controller's flags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Image of the sidecar where a Runtime names none.
    pub daemon_image: String,
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
    /// `None` leaves the default to scheduler and runtimed.
    pub(super) runs: Option<u32>,
    pub(super) server: Container,
    pub(super) extras: Vec<Container>,
    pub(super) template: PodTemplateSpec,
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
    /// The name does not fit into a label.
    #[error("metadata.name: at most {} characters", limits::RUNTIME_NAME_CHARS)]
    NameTooLong,
    /// The capacity is not a positive integer.
    #[error("spec.capacity.resources.runs: {0:?} is not a positive integer")]
    Capacity(String),
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
    let containers = runtime.spec.template.spec.as_ref().map(|spec| spec.containers.clone());
    let mut containers = containers.unwrap_or_default().into_iter();
    let server = containers
        .next()
        .filter(|first| first.name == names::RUNTIME_CONTAINER)
        .ok_or(InvalidPool::NoServer)?;
    let extras = containers.filter(|extra| extra.name != names::RUNTIMED_CONTAINER).collect();
    Ok(ValidPool {
        name,
        namespace,
        uid,
        replicas: runtime.spec.replicas.max(1),
        port: runtime.spec.port,
        daemon_image: runtime
            .spec
            .daemon_image
            .clone()
            .filter(|image| !image.is_empty())
            .unwrap_or_else(|| settings.daemon_image.clone()),
        runs: runs(runtime)?,
        server,
        extras,
        template: runtime.spec.template.clone(),
    })
}

fn runs(runtime: &Runtime) -> Result<Option<u32>, InvalidPool> {
    let resources = runtime.spec.capacity.as_ref().map(|capacity| &capacity.resources);
    let Some(quantity) = resources.and_then(|resources| resources.get(labels::RUNS_RESOURCE))
    else {
        return Ok(None);
    };
    match quantity.0.parse::<u32>() {
        Ok(runs) if runs > 0 => Ok(Some(runs)),
        _ => Err(InvalidPool::Capacity(quantity.0.clone())),
    }
}

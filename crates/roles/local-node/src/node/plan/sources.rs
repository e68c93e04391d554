//! Volumes: an `emptyDir` is a directory of the pod, or whatever the machine has at its path; optional Secrets and
//! ConfigMaps become files for runtimed.
//!
//! Processes of one machine see one tree of files, so that nothing can be mounted at a path of a container's choice: the
//! paths that the controller gives runtimed are served in a directory of the pod, all others are refused.

use super::{Refusal, not_served, role};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use kruntimes_api::{SourceKind, names};

/// A Secret or ConfigMap that runtimed gets as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) struct Source {
    pub(in crate::node) kind: SourceKind,
    /// Its place among the sources.
    pub(in crate::node) directory: &'static str,
    /// A name that is safe as a part of a path.
    pub(in crate::node) name: String,
}

/// The sources of a pod.
pub(super) fn sources(spec: &PodSpec) -> Result<Vec<Source>, Refusal> {
    let first = spec.containers.first().map(|container| container.name.as_str());
    let mut sources = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        // The home gives runtimed a token of its own.
        let is_token = volume.name == names::TOKEN_VOLUME && volume.projected.is_some();
        if volume.empty_dir.is_some() || is_token || is_artifacts(spec, volume) {
            continue;
        }
        let refuse = |what| not_served(first.unwrap_or_default(), what);
        let source = source(volume).ok_or_else(|| {
            refuse("volumes other than emptyDir, and whole optional Secrets and ConfigMaps")
        })?;
        let mut mounted = false;
        for container in &spec.containers {
            mounted |= is_mounted(container, volume, &source)?;
        }
        if mounted && !sources.contains(&source) {
            sources.push(source);
        }
    }
    Ok(sources)
}

/// Whether it is the volume for artifacts as the controller makes it: no container but runtimed has it.
fn is_artifacts(spec: &PodSpec, volume: &Volume) -> bool {
    let at_its_place = |container: &Container| {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.filter(|mount| mount.name == volume.name).all(|mount| {
            is_runtimed(container)
                && mount.mount_path == names::ARTIFACTS_PATH
                && mount.sub_path.is_none()
        })
    };
    claim_of(volume).is_some() && spec.containers.iter().all(at_its_place)
}

fn claim_of(volume: &Volume) -> Option<&str> {
    let claim = volume.persistent_volume_claim.as_ref()?.claim_name.as_str();
    let usable = volume.name == names::ARTIFACTS_VOLUME && names::is_object_name(claim);
    usable.then_some(claim)
}

/// The claim of the volume for artifacts, for the runtimed that mounts it.
pub(super) fn artifact_claim(pod: &Pod, container: &Container) -> Option<String> {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts
        .find(|mount| mount.name == names::ARTIFACTS_VOLUME)
        .filter(|_| is_runtimed(container))?;
    let mut volumes = pod.spec.as_ref()?.volumes.iter().flatten();
    volumes.find_map(claim_of).map(str::to_owned)
}

fn is_runtimed(container: &Container) -> bool {
    role(container.image.as_deref().unwrap_or_default()) == Some("runtimed")
}

fn source(volume: &Volume) -> Option<Source> {
    let (kind, name, optional, items) = match (&volume.secret, &volume.config_map) {
        (Some(secret), None) => {
            let name = secret.secret_name.clone().unwrap_or_default();
            (SourceKind::Secret, name, secret.optional, &secret.items)
        }
        (None, Some(map)) => (SourceKind::ConfigMap, map.name.clone(), map.optional, &map.items),
        (None, None) | (Some(_), Some(_)) => return None,
    };
    let whole = items.as_ref().is_none_or(Vec::is_empty);
    let usable = optional == Some(true) && whole && names::is_object_name(&name);
    // What Runs may use lies apart from what opens a bucket.
    let opens_bucket = volume.name == names::CREDENTIALS_VOLUME;
    let directory = if opens_bucket { names::CREDENTIALS_DIRECTORY } else { kind.directory() };
    usable.then_some(Source { kind, directory, name })
}

/// Whether this is the runtimed that has the volume; an error where another container mounts it, or at another path.
fn is_mounted(container: &Container, volume: &Volume, source: &Source) -> Result<bool, Refusal> {
    let mounts = container.volume_mounts.iter().flatten();
    let mounts: Vec<_> = mounts.filter(|mount| mount.name == volume.name).collect();
    let path = format!("{}/{}/{}", names::SOURCES_PATH, source.directory, source.name);
    let served = |mount: &&k8s_openapi::api::core::v1::VolumeMount| {
        is_runtimed(container) && mount.mount_path == path && mount.sub_path.is_none()
    };
    if !mounts.iter().all(served) {
        let what = "Secrets and ConfigMaps as files of a container, but for those that a Runtime allows its Runs";
        return Err(not_served(&container.name, what));
    }
    Ok(!mounts.is_empty())
}

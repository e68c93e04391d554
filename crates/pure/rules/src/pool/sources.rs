//! The Secrets and ConfigMaps that Runs of a pool may use: volumes that runtimed alone mounts, read-only.
//!
//! Each is optional, so that a pod starts without it; the API server gives nobody a right on Secrets for this. Invariant:
//! no other container mounts one of these volumes, whatever the Runtime's template says.

use super::ValidPool;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, SecretVolumeSource, Volume, VolumeMount,
};
use kruntimes_api::names;

/// Whether a volume's name is ours: a volume or a mount of the template with it is left out.
pub(super) fn is_reserved(volume: &str) -> bool {
    volume == names::CONTROL_VOLUME
        || volume.starts_with(names::SECRET_VOLUME_PREFIX)
        || volume.starts_with(names::CONFIG_MAP_VOLUME_PREFIX)
}

/// Takes reserved volumes from a container of the template.
pub(super) fn strip(container: &mut Container) {
    if let Some(mounts) = &mut container.volume_mounts {
        mounts.retain(|mount| !is_reserved(&mount.name));
    }
}

/// One volume for each name.
pub(super) fn volumes(pool: &ValidPool) -> Vec<Volume> {
    let secrets = pool.secrets.iter().enumerate().map(|(number, name)| Volume {
        name: format!("{}{number}", names::SECRET_VOLUME_PREFIX),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.clone()),
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let config_maps = pool.config_maps.iter().enumerate().map(|(number, name)| Volume {
        name: format!("{}{number}", names::CONFIG_MAP_VOLUME_PREFIX),
        config_map: Some(ConfigMapVolumeSource {
            name: name.clone(),
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    });
    secrets.chain(config_maps).collect()
}

/// Where runtimed has them: `/etc/kruntimes/secrets/<name>`, `/etc/kruntimes/configmaps/<name>`.
pub(super) fn mounts(pool: &ValidPool) -> Vec<VolumeMount> {
    let of = |prefix: &str, directory: &str, number: usize, name: &str| VolumeMount {
        name: format!("{prefix}{number}"),
        mount_path: format!("{}/{directory}/{name}", names::SOURCES_PATH),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let secrets = pool.secrets.iter().enumerate();
    let secrets = secrets.map(|(number, name)| {
        of(names::SECRET_VOLUME_PREFIX, names::SECRETS_DIRECTORY, number, name)
    });
    let config_maps = pool.config_maps.iter().enumerate();
    let config_maps = config_maps.map(|(number, name)| {
        of(names::CONFIG_MAP_VOLUME_PREFIX, names::CONFIG_MAPS_DIRECTORY, number, name)
    });
    secrets.chain(config_maps).collect()
}

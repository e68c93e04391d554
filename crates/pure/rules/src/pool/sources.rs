//! The Secrets and ConfigMaps that Runs of a pool may use: volumes that runtimed alone mounts, read-only.
//!
//! Each is optional, so that a pod starts without it; the API server gives nobody a right on Secrets for this. Invariant:
//! no other container mounts one of these volumes: a template with their names is refused.

use super::ValidPool;
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, SecretVolumeSource, Volume, VolumeMount};
use kruntimes_api::SourceKind;

/// One volume for each name.
pub(super) fn volumes(pool: &ValidPool) -> Vec<Volume> {
    let volume = |(kind, volume, name): (SourceKind, String, &String)| match kind {
        SourceKind::Secret => Volume {
            name: volume,
            secret: Some(SecretVolumeSource {
                secret_name: Some(name.clone()),
                optional: Some(true),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        SourceKind::ConfigMap => Volume {
            name: volume,
            config_map: Some(ConfigMapVolumeSource {
                name: name.clone(),
                optional: Some(true),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
    };
    allowed(pool).map(volume).collect()
}

/// Where runtimed has them: `/etc/kruntimes/secrets/<name>`, `/etc/kruntimes/configmaps/<name>`.
pub(super) fn mounts(pool: &ValidPool) -> Vec<VolumeMount> {
    let mount = |(kind, volume, name): (SourceKind, String, &String)| VolumeMount {
        name: volume,
        mount_path: kind.mount_path(name),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    allowed(pool).map(mount).collect()
}

/// Each object with the name of its volume.
fn allowed(pool: &ValidPool) -> impl Iterator<Item = (SourceKind, String, &String)> {
    SourceKind::ALL.into_iter().flat_map(|kind| {
        let names = match kind {
            SourceKind::Secret => &pool.secrets,
            SourceKind::ConfigMap => &pool.config_maps,
        };
        let volume = move |number: usize| format!("{}{number}", kind.volume_prefix());
        names.iter().enumerate().map(move |(number, name)| (kind, volume(number), name))
    })
}

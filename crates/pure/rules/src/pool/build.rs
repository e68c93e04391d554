//! The Deployment of a pool: the user's template with the sidecar `runtimed`, its volumes, and what Pod Security
//! `restricted` asks for.

use super::metadata::{metadata, pod_labels};
use super::store::Store;
use super::{ValidPool, access, containers, sources};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource,
    KeyToPath, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kruntimes_api::{labels, names};

/// How long a service-account token of a pod is valid; the kubelet renews it before.
const TOKEN_SECONDS: i64 = 3600;

/// The Deployment that the pool consists of.
#[must_use]
pub fn deployment(pool: &ValidPool) -> Deployment {
    Deployment {
        metadata: metadata(pool),
        spec: Some(DeploymentSpec {
            replicas: Some(pool.replicas),
            selector: LabelSelector {
                match_labels: Some(pod_labels(pool)),
                ..LabelSelector::default()
            },
            template: template(pool),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn template(pool: &ValidPool) -> PodTemplateSpec {
    let mut template = pool.template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().extend(pod_labels(pool));
    if let Some(capacity) = &pool.capacity {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.extend(capacity.iter().map(|(name, amount)| {
            (format!("{}{name}", labels::CAPACITY_PREFIX), amount.to_string())
        }));
    }
    let spec = template.spec.get_or_insert_default();
    for container in spec.init_containers.iter_mut().flatten() {
        containers::confine(container);
    }
    let extras = pool.extras.iter().cloned().map(|mut container| {
        containers::confine(&mut container);
        container
    });
    secure(spec);
    let user = containers::user(pool, spec);
    spec.containers = std::iter::once(containers::server(pool))
        .chain(extras)
        .chain(std::iter::once(containers::runtimed(pool, &user)))
        .collect();
    let volumes = spec.volumes.get_or_insert_default();
    volumes.extend(
        [names::WORKSPACE_VOLUME, names::CONTROL_VOLUME, names::STATE_VOLUME].map(empty_dir),
    );
    volumes.push(api_access());
    volumes.extend(pool.store.as_ref().and_then(Store::volume));
    volumes.extend(sources::volumes(pool));
    spec.service_account_name = Some(access::account_name(pool));
    // No Run may read a token of the pod: runtimed gets one of its own.
    spec.automount_service_account_token = Some(false);
    spec.termination_grace_period_seconds = Some(pool.drain_seconds);
    // A Run's environment holds no addresses of the namespace's Services.
    spec.enable_service_links.get_or_insert(false);
    template
}

/// What holds for all containers unless the template says otherwise.
fn secure(spec: &mut PodSpec) {
    let context: &mut PodSecurityContext = spec.security_context.get_or_insert_default();
    context.run_as_non_root.get_or_insert(true);
    context.run_as_user.get_or_insert(names::POD_USER);
    context.run_as_group.get_or_insert(names::POD_USER);
    context.fs_group.get_or_insert(names::POD_USER);
    context.fs_group_change_policy.get_or_insert_with(|| "OnRootMismatch".to_owned());
    context.seccomp_profile.get_or_insert_with(containers::default_seccomp);
}

fn empty_dir(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// The token of the pod's ServiceAccount, bound to the pod, beside what a client needs to reach the API server.
fn api_access() -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(TOKEN_SECONDS),
        audience: None,
    };
    let authority = ConfigMapProjection {
        name: names::ROOT_CA.to_owned(),
        items: Some(vec![KeyToPath {
            key: "ca.crt".to_owned(),
            path: "ca.crt".to_owned(),
            mode: None,
        }]),
        optional: None,
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: "metadata.namespace".to_owned(),
            api_version: None,
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let namespace = DownwardAPIProjection { items: Some(vec![namespace]) };
    Volume {
        name: names::TOKEN_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: None,
            sources: Some(vec![
                VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                },
                VolumeProjection { config_map: Some(authority), ..VolumeProjection::default() },
                VolumeProjection { downward_api: Some(namespace), ..VolumeProjection::default() },
            ]),
        }),
        ..Volume::default()
    }
}

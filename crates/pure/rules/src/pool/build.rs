//! The Deployment of a pool: the user's template with the sidecar `runtimed` and what both containers share.

use super::{ValidPool, sources};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, ObjectFieldSelector, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecurityContext, TCPSocketAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kruntimes_api::{labels, names};
use kube::core::ObjectMeta;
use std::collections::BTreeMap;

/// The Deployment that the pool consists of.
#[must_use]
pub fn deployment(pool: &ValidPool) -> Deployment {
    let labels = pool_labels(pool);
    Deployment {
        metadata: ObjectMeta {
            name: Some(names::runtime_object(&pool.name)),
            namespace: Some(pool.namespace.clone()),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner(pool)]),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(pool.replicas),
            selector: LabelSelector { match_labels: Some(labels), ..LabelSelector::default() },
            template: template(pool),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pool_labels(pool: &ValidPool) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::RUNTIME.to_owned(), pool.name.clone()),
        (labels::APP.to_owned(), format!("{}{}", labels::APP_PREFIX, pool.name)),
    ])
}

fn owner(pool: &ValidPool) -> OwnerReference {
    OwnerReference {
        api_version: kruntimes_api::API_VERSION.to_owned(),
        kind: "Runtime".to_owned(),
        name: pool.name.clone(),
        uid: pool.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn template(pool: &ValidPool) -> PodTemplateSpec {
    let mut template = pool.template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().extend(pool_labels(pool));
    if let Some(capacity) = &pool.capacity {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.extend(capacity.iter().map(|(name, amount)| {
            (format!("{}{name}", labels::CAPACITY_PREFIX), amount.to_string())
        }));
    }
    let spec = template.spec.get_or_insert_default();
    for container in spec.init_containers.iter_mut().flatten() {
        sources::strip(container);
    }
    spec.containers = std::iter::once(server(pool))
        .chain(pool.extras.iter().cloned().map(without_reserved))
        .chain(std::iter::once(runtimed(pool)))
        .collect();
    // No Run may read a token of the pod: runtimed gets one of its own.
    spec.automount_service_account_token = Some(false);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| {
        volume.name != names::WORKSPACE_VOLUME && !sources::is_reserved(&volume.name)
    });
    volumes.extend([empty_dir(names::WORKSPACE_VOLUME), empty_dir(names::CONTROL_VOLUME)]);
    volumes.extend(sources::volumes(pool));
    template
}

fn without_reserved(mut container: Container) -> Container {
    sources::strip(&mut container);
    container
}

/// The Runtime Server's container: the user's, completed where the user said nothing.
fn server(pool: &ValidPool) -> Container {
    let mut server = without_reserved(pool.server.clone());
    let ports = server.ports.get_or_insert_default();
    ports.retain(|port| port.name.as_deref() != Some("grpc"));
    ports.push(port("grpc", pool.port));
    mount_shared(&mut server);
    let probe = |initial, period| Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(pool.port), host: None }),
        initial_delay_seconds: Some(initial),
        period_seconds: Some(period),
        ..Probe::default()
    };
    server.liveness_probe.get_or_insert_with(|| probe(5, 10));
    server.readiness_probe.get_or_insert_with(|| probe(1, 5));
    server.security_context.get_or_insert_with(restricted);
    let resources = server.resources.get_or_insert_default();
    resources.requests.get_or_insert_with(|| quantities("250m", "256Mi"));
    resources.limits.get_or_insert_with(|| quantities("2", "2Gi"));
    server
}

fn runtimed(pool: &ValidPool) -> Container {
    let mut arguments = vec![
        format!("--runtime-endpoint=127.0.0.1:{}", pool.port),
        format!("--status-addr=:{}", names::STATUS_PORT),
        format!("--runtime-name={}", pool.name),
    ];
    if let Some(capacity) = &pool.capacity {
        arguments.push(format!("--workers={}", capacity.slots()));
        let others = capacity.iter().filter(|(name, _)| *name != labels::RUNS_RESOURCE);
        arguments.extend(others.map(|(name, amount)| format!("--capacity={name}={amount}")));
    }
    let probe = |path: &str, initial, period| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(names::HEALTH_PORT)),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(initial),
        period_seconds: Some(period),
        ..Probe::default()
    };
    let mut container = Container {
        name: names::RUNTIMED_CONTAINER.to_owned(),
        image: Some(pool.daemon_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments),
        env: Some(vec![
            field("HOSTNAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_UID", "metadata.uid"),
        ]),
        ports: Some(vec![port("health", i32::from(names::HEALTH_PORT))]),
        liveness_probe: Some(probe("/healthz", 5, 10)),
        readiness_probe: Some(probe("/readyz", 1, 5)),
        security_context: Some(restricted()),
        resources: Some(ResourceRequirements {
            requests: Some(quantities("100m", "128Mi")),
            limits: Some(quantities("500m", "256Mi")),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    };
    mount_shared(&mut container);
    container.volume_mounts.get_or_insert_default().extend(sources::mounts(pool));
    container
}

fn mount_shared(container: &mut Container) {
    let mounts = container.volume_mounts.get_or_insert_default();
    for (volume, path) in [
        (names::WORKSPACE_VOLUME, names::WORKSPACE_PATH),
        (names::CONTROL_VOLUME, names::CONTROL_PATH),
    ] {
        mounts.retain(|mount| mount.name != volume);
        mounts.push(VolumeMount {
            name: volume.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        });
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        ..ContainerPort::default()
    }
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: None }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn empty_dir(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu.to_owned())),
        ("memory".to_owned(), Quantity(memory.to_owned())),
    ])
}

/// The restricted profile of the Pod Security Standards, with a read-only root.
fn restricted() -> SecurityContext {
    SecurityContext {
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}

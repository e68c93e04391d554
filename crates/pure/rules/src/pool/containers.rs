//! The containers of a pool's pods: the Runtime Server's, runtimed's, and what each needs to pass Pod Security
//! `restricted`.

use super::store::Store;
use super::{ValidPool, sources};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, LifecycleHandler,
    ObjectFieldSelector, PodSpec, Probe, ResourceRequirements, SeccompProfile, SecurityContext,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kruntimes_api::{Isolation, labels, names};
use std::collections::BTreeMap;

/// Who a container's processes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    user: Option<i64>,
    group: Option<i64>,
}

/// Who the Runtime Server is: runtimed must be the same, for the control token is readable by its owner alone, and so are
/// the workspaces that both write.
pub(super) fn user(pool: &ValidPool, pod: &PodSpec) -> User {
    let own = pool.server.security_context.as_ref();
    let shared = pod.security_context.as_ref();
    User {
        user: own
            .and_then(|own| own.run_as_user)
            .or_else(|| shared.and_then(|shared| shared.run_as_user)),
        group: own
            .and_then(|own| own.run_as_group)
            .or_else(|| shared.and_then(|shared| shared.run_as_group)),
    }
}

/// The Runtime Server's container: the user's, completed where the user said nothing.
pub(super) fn server(pool: &ValidPool) -> Container {
    let mut server = pool.server.clone();
    let ports = server.ports.get_or_insert_default();
    ports.retain(|port| port.name.as_deref() != Some("grpc"));
    ports.push(port("grpc", pool.port));
    mount(&mut server, names::WORKSPACE_VOLUME, names::WORKSPACE_PATH, Access::Writes);
    mount(&mut server, names::CONTROL_VOLUME, names::CONTROL_PATH, Access::Reads);
    tell_isolation(&mut server, pool.isolation);
    // The server listens on the pod's loopback address alone, where no kubelet can ask it: runtimed does.
    server.liveness_probe.get_or_insert_with(|| probe("/livez/runtime", 5, 10, Some(6)));
    server.readiness_probe.get_or_insert_with(|| probe("/readyz/runtime", 1, 5, None));
    // SIGTERM reaches all containers at once: this one's waits until its last Run has ended.
    server.lifecycle.get_or_insert_default().pre_stop =
        Some(LifecycleHandler { http_get: Some(get("/drain")), ..LifecycleHandler::default() });
    confine(&mut server);
    let context = server.security_context.get_or_insert_default();
    context.read_only_root_filesystem.get_or_insert(true);
    let resources = server.resources.get_or_insert_default();
    resources.requests.get_or_insert_with(|| quantities("250m", "256Mi"));
    resources.limits.get_or_insert_with(|| quantities("2", "2Gi"));
    server
}

/// Tells the server only what differs from its default; what the template says of it never counts.
fn tell_isolation(server: &mut Container, isolation: Isolation) {
    let variables = server.env.get_or_insert_default();
    variables.retain(|variable| variable.name != names::ISOLATION_VARIABLE);
    match isolation {
        Isolation::Process => {}
        Isolation::None => variables.push(EnvVar {
            name: names::ISOLATION_VARIABLE.to_owned(),
            value: Some("none".to_owned()),
            value_from: None,
        }),
    }
    if variables.is_empty() {
        server.env = None;
    }
}

pub(super) fn runtimed(pool: &ValidPool, user: &User) -> Container {
    let mut container = Container {
        name: names::RUNTIMED_CONTAINER.to_owned(),
        image: Some(pool.daemon_image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(pool)),
        env: Some(vec![
            field("HOSTNAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_UID", "metadata.uid"),
        ]),
        ports: Some(vec![port("health", i32::from(names::HEALTH_PORT))]),
        liveness_probe: Some(probe("/healthz", 5, 10, None)),
        readiness_probe: Some(probe("/readyz", 1, 5, None)),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: user.user,
            run_as_group: user.group,
            seccomp_profile: Some(default_seccomp()),
            ..SecurityContext::default()
        }),
        resources: Some(ResourceRequirements {
            requests: Some(quantities("100m", "128Mi")),
            limits: Some(quantities("500m", "256Mi")),
            ..ResourceRequirements::default()
        }),
        ..Container::default()
    };
    confine(&mut container);
    for (volume, path, access) in [
        (names::WORKSPACE_VOLUME, names::WORKSPACE_PATH, Access::Writes),
        (names::CONTROL_VOLUME, names::CONTROL_PATH, Access::Writes),
        (names::STATE_VOLUME, names::STATE_PATH, Access::Writes),
        (names::TOKEN_VOLUME, names::TOKEN_PATH, Access::Reads),
    ] {
        mount(&mut container, volume, path, access);
    }
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.extend(pool.store.as_ref().and_then(Store::mount));
    mounts.extend(sources::mounts(pool));
    container
}

fn arguments(pool: &ValidPool) -> Vec<String> {
    let mut arguments = vec![
        "serve".to_owned(),
        names::RUNTIMED_CONTAINER.to_owned(),
        format!("--runtime-endpoint=127.0.0.1:{}", pool.port),
        format!("--status-addr=:{}", names::STATUS_PORT),
        format!("--runtime-name={}", pool.name),
        format!("--drain-timeout-seconds={}", pool.drain_seconds),
        format!("--fence-after-seconds={}", pool.fence_after.as_secs()),
    ];
    let limits = pool.run_limits.iter();
    arguments.extend(limits.map(|(name, limit)| format!("--run-limit={name}={limit}")));
    if let Some(capacity) = &pool.capacity {
        arguments.push(format!("--workers={}", capacity.slots()));
        let others = capacity.iter().filter(|(name, _)| *name != labels::RUNS_RESOURCE);
        arguments.extend(others.map(|(name, amount)| format!("--capacity={name}={amount}")));
    }
    arguments.extend(pool.store.iter().flat_map(|store| store.arguments(pool.cluster.as_deref())));
    // Told only where it differs from the default: an update of kruntimes replaces no pods for it.
    if pool.store.is_some() && !pool.archive_logs {
        arguments.push("--archive-logs=false".to_owned());
    }
    arguments
}

/// What Pod Security `restricted` asks of each container, where its author left it open.
pub(super) fn confine(container: &mut Container) {
    let context = container.security_context.get_or_insert_default();
    context.allow_privilege_escalation.get_or_insert(false);
    let capabilities: &mut Capabilities = context.capabilities.get_or_insert_default();
    capabilities.drop = Some(vec!["ALL".to_owned()]);
}

pub(super) fn default_seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }
}

/// What a container does with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Reads,
    Writes,
}

fn mount(container: &mut Container, volume: &str, path: &str, access: Access) {
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.retain(|mount| mount.name != volume);
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: (access == Access::Reads).then_some(true),
        ..VolumeMount::default()
    });
}

/// A request to runtimed, which answers for both containers.
fn get(path: &str) -> HTTPGetAction {
    HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::Int(i32::from(names::HEALTH_PORT)),
        ..HTTPGetAction::default()
    }
}

fn probe(path: &str, initial: i32, period: i32, failures: Option<i32>) -> Probe {
    Probe {
        http_get: Some(get(path)),
        initial_delay_seconds: Some(initial),
        period_seconds: Some(period),
        failure_threshold: failures,
        ..Probe::default()
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

pub(super) fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu.to_owned())),
        ("memory".to_owned(), Quantity(memory.to_owned())),
    ])
}

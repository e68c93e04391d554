//! What a pod asks this node to run, or why the node can't: a pure reading of the pod's spec.
//!
//! Invariant: nothing is served in part: what a container needs and the local home lacks is a refusal that says so.

mod sources;

pub(super) use sources::Source;

use super::probe::{Check, Probe};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, Pod, PodSpec, Probe as ProbeSpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kruntimes_api::{labels, names, pods};
use std::time::Duration;

/// `terminationGracePeriodSeconds`, unless given.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A pod that this node can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodPlan {
    pub(super) containers: Vec<ContainerPlan>,
    /// What runtimed gets as files.
    pub(super) sources: Vec<Source>,
    pub(super) restart: RestartPolicy,
    pub(super) grace: Duration,
}

/// `restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerPlan {
    pub(super) name: String,
    pub(super) run: Program,
    pub(super) environment: Vec<(String, Value)>,
    pub(super) readiness: Option<Probe>,
    pub(super) liveness: Option<Probe>,
    /// What is asked before the process is told to end.
    pub(super) pre_stop: Option<Check>,
    /// Ports that the container names.
    pub(super) ports: Vec<u16>,
    /// The claim whose volume it has for artifacts.
    pub(super) artifact_claim: Option<String>,
}

/// What a container executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// A role of krt, with its arguments.
    Role { role: &'static str, args: Vec<String> },
    /// A command of the machine.
    Command { program: String, args: Vec<String> },
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    PodAddress,
}

/// Why a container can't run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) container: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Reads a pod.
pub(super) fn plan(pod: &Pod) -> Result<PodPlan, Refusal> {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    if let Some(first) = spec.init_containers.as_deref().and_then(<[Container]>::first) {
        return Err(not_served(&first.name, "init containers"));
    }
    let sources = sources::sources(spec)?;
    let containers = spec.containers.iter().map(|container| self::container(pod, container));
    let restart = match spec.restart_policy.as_deref() {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some(_) | None => RestartPolicy::Always,
    };
    let grace = spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
    Ok(PodPlan {
        containers: containers.collect::<Result<_, _>>()?,
        sources,
        restart,
        grace: Duration::from_secs(u64::try_from(grace).unwrap_or_default()),
    })
}

fn container(pod: &Pod, container: &Container) -> Result<ContainerPlan, Refusal> {
    let name = &container.name;
    if container.startup_probe.is_some() {
        return Err(not_served(name, "startup probes"));
    }
    if container.env_from.as_ref().is_some_and(|from| !from.is_empty()) {
        return Err(not_served(name, "envFrom"));
    }
    let variables = container.env.iter().flatten();
    let ports = container.ports.iter().flatten();
    Ok(ContainerPlan {
        name: name.clone(),
        run: program(pod, container)?,
        environment: variables
            .map(|variable| Ok((variable.name.clone(), value(pod, name, variable)?)))
            .collect::<Result<_, _>>()?,
        readiness: probe(container, container.readiness_probe.as_ref())?,
        liveness: probe(container, container.liveness_probe.as_ref())?,
        pre_stop: pre_stop(container)?,
        ports: ports.filter_map(|port| u16::try_from(port.container_port).ok()).collect(),
        artifact_claim: sources::artifact_claim(pod, container),
    })
}

/// The hook before the end, the only one that is served.
fn pre_stop(container: &Container) -> Result<Option<Check>, Refusal> {
    let refuse = || not_served(&container.name, "lifecycle hooks other than preStop.httpGet");
    let Some(lifecycle) = &container.lifecycle else { return Ok(None) };
    if lifecycle.post_start.is_some() || lifecycle.stop_signal.is_some() {
        return Err(refuse());
    }
    let Some(handler) = &lifecycle.pre_stop else { return Ok(None) };
    let probe = ProbeSpec { http_get: handler.http_get.clone(), ..ProbeSpec::default() };
    let hook = self::probe(container, Some(&probe)).map_err(|_| refuse())?;
    Ok(hook.map(|hook| hook.check))
}

fn program(pod: &Pod, container: &Container) -> Result<Program, Refusal> {
    let annotations = pod.metadata.annotations.as_ref();
    let command = annotations
        .filter(|_| container.name == names::RUNTIME_CONTAINER)
        .and_then(|annotations| annotations.get(labels::LOCAL_COMMAND));
    if let Some(command) = command {
        return local_command(&container.name, command);
    }
    let image = container.image.as_deref().unwrap_or_default();
    match role(image) {
        Some(role) => Ok(Program::Role { role, args: arguments(container, role) }),
        None => Err(Refusal {
            container: container.name.clone(),
            reason: pods::IMAGE_NOT_SERVED_LOCALLY,
            message: format!(
                "the local home starts no images, and \"{image}\" is none that krt stands in for: name the command \
                 of the container \"{}\" in the annotation {} of the pod template, as a JSON array of strings, or \
                 use a cluster",
                names::RUNTIME_CONTAINER,
                labels::LOCAL_COMMAND,
            ),
        }),
    }
}

/// The arguments of a role. The image of all roles is told which one it is.
fn arguments(container: &Container, role: &str) -> Vec<String> {
    let args = container.args.as_deref().unwrap_or_default();
    args.strip_prefix(&["serve".to_owned(), role.to_owned()]).unwrap_or(args).to_vec()
}

fn local_command(container: &str, command: &str) -> Result<Program, Refusal> {
    let words: Option<Vec<String>> = serde_json::from_str(command).ok();
    let usable = words.filter(|words| {
        words.first().is_some_and(|program| !program.is_empty())
            && words.iter().all(|word| !word.contains('\0'))
    });
    let Some(mut words) = usable else {
        return Err(Refusal {
            container: container.to_owned(),
            reason: pods::INVALID_LOCAL_COMMAND,
            message: format!(
                "the annotation {} must be a JSON array of strings, the program first: for example \
                 [\"python3\", \"server.py\"]",
                labels::LOCAL_COMMAND
            ),
        });
    };
    let program = words.remove(0);
    Ok(Program::Command { program, args: words })
}

/// The role of krt that an image stands for, by the last part of its name.
fn role(image: &str) -> Option<&'static str> {
    let image = image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split(':').next().unwrap_or_default();
    if name.ends_with("bash-runtime") {
        Some("runtime-bash")
    } else if name.ends_with("python-runtime") {
        Some("runtime-python")
    } else if name.ends_with("runtimed") || name == "kruntimes" {
        Some("runtimed")
    } else {
        None
    }
}

fn value(pod: &Pod, container: &str, variable: &EnvVar) -> Result<Value, Refusal> {
    if let Some(text) = &variable.value {
        return usable(container, variable, text.clone());
    }
    let Some(source) = &variable.value_from else { return Ok(Value::Text(String::new())) };
    let EnvVarSource { field_ref: Some(field), .. } = source else {
        return Err(not_served(container, "env.valueFrom other than fieldRef"));
    };
    match field.field_path.as_str() {
        "status.podIP" | "status.podIPs" => Ok(Value::PodAddress),
        path => match field_value(pod, path) {
            Some(text) => usable(container, variable, text),
            None => Err(not_served(container, &format!("the fieldRef {path}"))),
        },
    }
}

fn usable(container: &str, variable: &EnvVar, text: String) -> Result<Value, Refusal> {
    let name = &variable.name;
    if text.contains('\0') || name.is_empty() || name.contains(['=', '\0']) {
        return Err(Refusal {
            container: container.to_owned(),
            reason: pods::CREATE_CONTAINER_CONFIG_ERROR,
            message: format!(
                "the environment variable {name:?} has a name or value that no process can have"
            ),
        });
    }
    Ok(Value::Text(text))
}

fn field_value(pod: &Pod, path: &str) -> Option<String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    let text = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => Some(super::NODE_NAME.to_owned()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" => Some(super::HOST_ADDRESS.to_string()),
        _ => {
            let (map, key) = match (keyed("metadata.labels['"), keyed("metadata.annotations['")) {
                (Some(key), _) => (metadata.labels.as_ref(), key),
                (None, Some(key)) => (metadata.annotations.as_ref(), key),
                (None, None) => return None,
            };
            map.and_then(|map| map.get(key).cloned())
        }
    };
    Some(text.unwrap_or_default())
}

fn probe(container: &Container, spec: Option<&ProbeSpec>) -> Result<Option<Probe>, Refusal> {
    let Some(spec) = spec else { return Ok(None) };
    let refuse = |what: &str| Err(not_served(&container.name, what));
    let check = if let Some(http) = &spec.http_get {
        if http.scheme.as_deref().is_some_and(|scheme| scheme != "HTTP") || http.host.is_some() {
            return refuse("httpGet probes with TLS or another host");
        }
        let path = http.path.clone().unwrap_or_else(|| "/".to_owned());
        port(container, &http.port).map(|port| Check::Http { port, path })
    } else if let Some(tcp) = &spec.tcp_socket {
        port(container, &tcp.port).map(|port| Check::Tcp { port })
    } else {
        return refuse("exec and grpc probes");
    };
    let Some(check) = check else {
        return refuse("a probe of a port that the container does not name");
    };
    let seconds = |value: Option<i32>, default: u64| {
        let value = value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default);
        Duration::from_secs(value)
    };
    let count = |value: Option<i32>, default: u32| {
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1)
    };
    Ok(Some(Probe {
        check,
        delay: seconds(spec.initial_delay_seconds, 0),
        period: seconds(spec.period_seconds, 10).max(Duration::from_secs(1)),
        timeout: seconds(spec.timeout_seconds, 1).max(Duration::from_secs(1)),
        failures: count(spec.failure_threshold, 3),
        successes: count(spec.success_threshold, 1),
    }))
}

fn port(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn not_served(container: &str, what: &str) -> Refusal {
    Refusal {
        container: container.to_owned(),
        reason: pods::NOT_SERVED_LOCALLY,
        message: format!("the local home does not serve {what} yet: leave it out or use a cluster"),
    }
}

#[cfg(test)]
mod tests;

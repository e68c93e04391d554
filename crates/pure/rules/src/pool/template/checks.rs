//! What the table can't say of a value by listing what it may be. Each check says why a value is refused, and what to do.

use super::Context;
use kruntimes_api::{labels, names};
use serde_json::Value;

type Verdict = Result<(), &'static str>;

/// Legacy annotations that stand for fields of a security context.
const SECURITY_ANNOTATIONS: [&str; 2] =
    ["container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/"];
/// Where the Runtime Server's container has what kruntimes puts there, and where clients look for a token.
const RESERVED_PATHS: [&str; 3] =
    [names::WORKSPACE_PATH, names::CONTROL_PATH, "/var/run/secrets/kubernetes.io"];
/// Annotations of a pod, all together.
const ALL_ANNOTATIONS: &str = "metadata.annotations";

fn verdict(fits: bool, remedy: &'static str) -> Verdict {
    if fits { Ok(()) } else { Err(remedy) }
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value[field].as_str().filter(|text| !text.is_empty())
}

pub(super) fn labels(context: &Context<'_>, value: &Value) -> Verdict {
    let mut all = value.as_object().into_iter().flatten();
    let app = format!("{}{}", labels::APP_PREFIX, context.runtime);
    let fits = all.all(|(key, value)| match key.as_str() {
        labels::RUNTIME => value == context.runtime,
        labels::APP => *value == app,
        other => !other.starts_with(labels::RESERVED_PREFIX),
    });
    verdict(fits, "runtime, app and kruntimes.io/ are the controller's to set; leave them out")
}

pub(super) fn annotations(_: &Context<'_>, value: &Value) -> Verdict {
    let mut keys = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let reserved =
        |key: &str| key.starts_with(labels::RESERVED_PREFIX) && key != labels::LOCAL_COMMAND;
    if keys.clone().any(reserved) {
        return Err("kruntimes.io/ annotations are the controller's to set; leave them out");
    }
    let security = |key: &str| SECURITY_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix));
    verdict(!keys.any(security), "write appArmorProfile or seccompProfile of a securityContext")
}

pub(super) fn containers(_: &Context<'_>, value: &Value) -> Verdict {
    let any = value.as_array().is_some_and(|list| !list.is_empty());
    verdict(any, "the first container holds the Runtime Server: add one named runtime")
}

pub(super) fn container_name(_: &Context<'_>, value: &Value) -> Verdict {
    let free = ![names::RUNTIME_CONTAINER, names::RUNTIMED_CONTAINER]
        .contains(&value.as_str().unwrap_or_default());
    verdict(free, "runtime is the first container and runtimed the controller's; take another name")
}

pub(super) fn user(_: &Context<'_>, value: &Value) -> Verdict {
    verdict(
        value.as_i64().is_some_and(|user| user > 0),
        "no container of a Runtime runs as root; name another user",
    )
}

/// A Secret by its name, in any of the three forms in which a template names one.
pub(super) fn secret(context: &Context<'_>, value: &Value) -> Verdict {
    let name = text(value, "name").or_else(|| text(value, "secretName"));
    let shared = name.is_some_and(|name| context.secrets.contains(name));
    verdict(
        !shared,
        "spec.allowedSecrets promises that runtimed alone has it; take it out of one of the two",
    )
}

pub(super) fn field_path(_: &Context<'_>, value: &Value) -> Verdict {
    let path = value.as_str().unwrap_or_default();
    let control = path == ALL_ANNOTATIONS || path.contains(labels::CONTROL_TOKEN);
    verdict(
        !control,
        "an annotation of the pod is its control token; name one annotation by its key",
    )
}

pub(super) fn host_port(_: &Context<'_>, value: &Value) -> Verdict {
    verdict(
        value.as_i64() == Some(0),
        "a Run must not reach the node that it runs on; leave it out",
    )
}

fn is_of_runtimed(port: i64) -> bool {
    [names::STATUS_PORT, names::HEALTH_PORT, names::METRICS_PORT].map(i64::from).contains(&port)
}

const RUNTIMEDS_PORTS: &str = "9090, 9093, 9094 and the name health are runtimed's; take another";

pub(super) fn port(context: &Context<'_>, value: &Value) -> Verdict {
    let number = value["containerPort"].as_i64().unwrap_or_default();
    let name = value["name"].as_str().unwrap_or_default();
    if is_of_runtimed(number) || name == "health" {
        return Err(RUNTIMEDS_PORTS);
    }
    let free = number != i64::from(context.port) && name != "grpc";
    verdict(free, "spec.port and the name grpc are the Runtime Server's; take another")
}

pub(super) fn server_port(context: &Context<'_>, value: &Value) -> Verdict {
    let number = value["containerPort"].as_i64().unwrap_or_default();
    let name = value["name"].as_str().unwrap_or_default();
    if is_of_runtimed(number) || name == "health" {
        return Err(RUNTIMEDS_PORTS);
    }
    let fits = name != "grpc" || number == i64::from(context.port);
    verdict(fits, "the port named grpc is spec.port of the Runtime; leave it out")
}

pub(super) fn volume_name(_: &Context<'_>, value: &Value) -> Verdict {
    let name = value.as_str().unwrap_or_default();
    let free = name != names::WORKSPACE_VOLUME && !is_reserved_volume(name);
    verdict(
        free,
        "workspace, artifact-store and kruntimes-… are the controller's volumes; take another name",
    )
}

/// The workspace may be mounted; what else the controller adds is runtimed's, and the Runtime Server's own.
pub(super) fn mounted_volume(_: &Context<'_>, value: &Value) -> Verdict {
    let free = !is_reserved_volume(value.as_str().unwrap_or_default());
    verdict(free, "this volume is runtimed's; mount another")
}

fn is_reserved_volume(name: &str) -> bool {
    name.starts_with(names::VOLUME_PREFIX) || name == names::ARTIFACTS_VOLUME
}

pub(super) fn path(_: &Context<'_>, value: &Value) -> Verdict {
    verdict(is_plain(value), "write an absolute path without ..")
}

fn is_plain(path: &Value) -> bool {
    let path = path.as_str().unwrap_or_default();
    path.starts_with('/') && !path.split('/').any(|part| part == "..")
}

/// Nothing of the user's stands over, below or around what the controller mounts.
pub(super) fn server_mount(_: &Context<'_>, value: &Value) -> Verdict {
    if !is_plain(&value["mountPath"]) {
        // The path's own check says so.
        return Ok(());
    }
    let path = canonical(value["mountPath"].as_str().unwrap_or_default());
    if value["name"] == names::WORKSPACE_VOLUME {
        let whole = ["subPath", "subPathExpr"].iter().all(|field| text(value, field).is_none());
        let fits = path == names::WORKSPACE_PATH && whole && value["readOnly"] != true;
        return verdict(fits, "the workspace is mounted at /workspace as a whole; leave it out");
    }
    let within = |inner: &str, outer: &str| {
        inner == outer || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
    };
    let clash = RESERVED_PATHS
        .iter()
        .any(|reserved| within(&path, reserved) || within(reserved, &path) || path == "/");
    verdict(!clash, "kruntimes mounts here itself; take another path")
}

/// Without what says nothing; `/run` is where `/var/run` leads to in most images.
fn canonical(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let path: String = parts.map(|part| format!("/{part}")).collect();
    match path.strip_prefix("/run") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("/var/run{rest}"),
        _ if path.is_empty() => "/".to_owned(),
        _ => path,
    }
}

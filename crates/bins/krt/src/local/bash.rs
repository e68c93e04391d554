//! The ready-made Runtime `bash` of a local home.

use crate::failure::Failure;
use crate::objects;
use kruntimes_api::{API_VERSION, Runtime};
use kube::{Api, Client};
use serde_json::json;

/// Its name.
pub(super) const NAME: &str = "bash";
/// Runs of one pod at once, per processor: most Runs wait more than they compute.
const RUNS_PER_PROCESSOR: usize = 4;
/// And never fewer or more than these.
const RUNS: std::ops::RangeInclusive<usize> = 8..=64;

/// Makes it where it is missing; one that its user has changed stays.
pub(super) async fn ensure(client: &Client, namespace: &str, replicas: i32) -> Result<(), Failure> {
    let runtimes: Api<Runtime> = Api::namespaced(client.clone(), namespace);
    if runtimes.get_opt(NAME).await?.is_some() {
        return Ok(());
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = (processors * RUNS_PER_PROCESSOR).clamp(*RUNS.start(), *RUNS.end());
    let runtime = json!({
        "apiVersion": API_VERSION,
        "kind": "Runtime",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": replicas,
            "capacity": {"resources": {"runs": runs.to_string()}},
            "template": {"spec": {"containers": [{
                "name": kruntimes_api::names::RUNTIME_CONTAINER,
                "image": "kruntimes-bash-runtime:latest",
                "args": ["--port=9091", "--work-dir=/workspace"],
            }]}},
        },
    });
    objects::create(client, namespace, "runtimes", &runtime).await?;
    Ok(())
}

//! The ready-made Runtimes of a local home: `bash`, and `python` where this machine has one.

use crate::failure::Failure;
use crate::objects;
use kruntimes_api::{API_VERSION, Runtime};
use kube::{Api, Client};
use serde_json::json;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReadyMade {
    Bash,
    Python,
}

/// Runs of one pod at once, per processor: most Runs wait more than they compute.
const RUNS_PER_PROCESSOR: usize = 4;
/// And never fewer or more than these.
const RUNS: std::ops::RangeInclusive<usize> = 8..=64;

impl ReadyMade {
    /// What a Run names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Python => "python",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Bash, Self::Python].into_iter().find(|one| one.name() == name)
    }

    /// Why this machine can't serve it.
    pub(crate) fn missing(self, search_path: &str) -> Option<String> {
        match self {
            // A home without it says so in the state of its pods.
            Self::Bash => None,
            Self::Python => kruntimes_languages::python::look(search_path).err(),
        }
    }
}

/// Makes it where it is missing; one that its user has changed stays.
pub(super) async fn ensure(
    client: &Client,
    namespace: &str,
    which: ReadyMade,
    replicas: i32,
) -> Result<(), Failure> {
    let runtimes: Api<Runtime> = Api::namespaced(client.clone(), namespace);
    let name = which.name();
    if runtimes.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let runs = (processors * RUNS_PER_PROCESSOR).clamp(*RUNS.start(), *RUNS.end());
    let runtime = json!({
        "apiVersion": API_VERSION,
        "kind": "Runtime",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "capacity": {"resources": {"runs": runs.to_string()}},
            "artifactStore": {
                "driver": "filesystem", "filesystem": {"volumeClaimName": "artifacts"},
            },
            "template": {"spec": {"containers": [{
                "name": kruntimes_api::names::RUNTIME_CONTAINER,
                "image": format!("kruntimes-{name}-runtime:latest"),
                "args": ["--port=9091", "--work-dir=/workspace"],
            }]}},
        },
    });
    objects::create(client, namespace, "runtimes", &runtime).await?;
    Ok(())
}

//! Who may do what on a cluster: the rights of each part, of people, and of tokens that were stolen.
//!
//! The cases need the release `kruntimes` in `kruntimes-system`; what they make is in a namespace of their own.

mod people;
pub(super) mod roles;
mod thief;
mod token;

use super::test::{Case, World};
use crate::suite::Tools;
use anyhow::Context;
use std::future::Future;

/// All cases, in order.
pub(super) const CASES: [(&str, Case); 5] = [
    ("rights of the parts", roles::are_the_table),
    ("a stolen token", thief::steals),
    ("scheduler and controller keep to their rows", thief::keeps_rows),
    ("roles of people", people::may),
    ("a submitter", people::submits),
];

/// Where the charts were installed.
const SYSTEM: &str = "kruntimes-system";

/// Runs what talks to the API server by itself.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(work)
}

/// Does `work` in a namespace that has a pool of two pods, and removes it.
fn in_namespace(
    world: &World,
    name: &str,
    work: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let tools = &world.tools;
    let (_, image) = world.images()?;
    tools.kubectl(&format!("create namespace {name}"))?;
    let done = (|| {
        tools.kubectl(&format!(
            "label namespace {name} pod-security.kubernetes.io/enforce=restricted"
        ))?;
        apply(tools, name, &POOL.replace("IMAGE", &image))?;
        tools.kubectl(&format!(
            "wait -n {name} --for=condition=Ready runtime/bash --timeout=180s"
        ))?;
        work(name)
    })();
    // A pod lets its Runs end before it does: with them gone it has nothing to wait for.
    tools.kubectl(&format!("delete runs -n {name} --all --timeout=60s"))?;
    // Kubernetes deletes the pods first, and looks again after half of their grace (300 s) if they had not ended.
    let removed = tools.kubectl(&format!("delete namespace {name} --timeout=240s"));
    done?;
    removed.map(drop)
}

const POOL: &str = "
apiVersion: kruntimes.io/v1alpha1
kind: Runtime
metadata: {name: bash}
spec:
  replicas: 2
  template:
    spec:
      containers:
        - name: runtime
          image: IMAGE
          args: [--port=9091, --work-dir=/workspace]
          resources: {requests: {cpu: 10m, memory: 64Mi}}
";

/// Creates what the manifest says.
fn apply(tools: &Tools, namespace: &str, manifest: &str) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("manifest.yaml");
    std::fs::write(&path, manifest)?;
    tools.kubectl(&format!("apply -n {namespace} -f {}", path.display()))?;
    Ok(())
}

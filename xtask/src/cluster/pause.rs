//! The image that holds a pod's namespaces: Kubernetes' own ten lines of C, linked statically.

use super::command::output;
use super::up::Tools;
use crate::images::archive::{self, Image, Layer};
use anyhow::Context;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its name in the cluster.
pub(super) const NAME: &str = "localhost/pause:e2e";

/// Builds it once and imports it.
pub(super) fn import(tools: &Tools) -> anyhow::Result<()> {
    let archive = tools.kubernetes.pause_source().with_extension("tar");
    if !archive.exists() {
        build(tools.kubernetes.pause_source(), &archive)?;
    }
    import_archive(tools, &archive)
}

/// Hands an archive to the cluster's containerd.
pub(super) fn import_archive(tools: &Tools, archive: &Path) -> anyhow::Result<()> {
    output(ctr(tools).args(["images", "import"]).arg(archive)).map(drop)
}

/// containerd's own tool, in the namespace of the kubelet.
pub(super) fn ctr(tools: &Tools) -> Command {
    let mut command = Command::new(tools.debian.program("ctr"));
    command.arg("--address").arg(tools.place.containerd_socket()).args(["--namespace", "k8s.io"]);
    command
}

fn build(source: &Path, archive: &Path) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("root");
    fs::create_dir_all(&root)?;
    output(
        Command::new("cc")
            .args(["-Os", "-static", "-DVERSION=e2e", "-o"])
            .arg(root.join("pause"))
            .arg(source),
    )?;
    let layer = directory.path().join("layer.tar");
    archive::tar(&root, &layer)?;
    let config = json!({"Entrypoint": ["/pause"], "User": "65535:65535"});
    let image = Image { name: NAME.to_owned(), config, layers: vec![Layer::of(layer)?] };
    let partial: PathBuf = archive.with_extension("partial");
    archive::write(&image, &partial)?;
    fs::rename(&partial, archive).context("keep the image")
}

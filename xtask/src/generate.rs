//! `cargo xtask generate`: the CRDs from the types, the document of reasons from their table, the gRPC code from the
//! protos.

use crate::cargo::cargo;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Writes everything that is generated and committed.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = root();
    std::fs::create_dir_all(root.join("api/crds")).context("create api/crds")?;
    for definition in kruntimes_api::crd::definitions() {
        let path = root.join("api/crds").join(&definition.file);
        std::fs::write(&path, kruntimes_api::crd::yaml(&definition.object))
            .with_context(|| format!("write {}", path.display()))?;
    }
    std::fs::write(root.join("docs/reasons.md"), kruntimes_api::explain::markdown())
        .context("write docs/reasons.md")?;
    generate_protos(&root)
}

/// Builds and runs the protobuf compiler only when a proto differs from what the committed code came from: it takes
/// minutes to build. Delete `SOURCES` to generate anew after a change of the generator itself.
fn generate_protos(root: &Path) -> anyhow::Result<()> {
    let generated = root.join("crates/contracts/proto/src/generated");
    let sources = kruntimes_proto::sources::digests(&root.join("api"))?;
    if std::fs::read_to_string(generated.join("SOURCES")).is_ok_and(|known| known == sources) {
        return Ok(());
    }
    let status = cargo()
        .args(["run", "--quiet", "--manifest-path"])
        .arg(root.join("tools/protogen/Cargo.toml"))
        .arg("--")
        .arg(root.join("api"))
        .arg(&generated)
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "tools/protogen failed");
    std::fs::write(generated.join("SOURCES"), sources)?;
    Ok(())
}

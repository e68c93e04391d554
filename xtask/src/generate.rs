//! `cargo xtask generate`: the CRDs and their reference from the types, the document of reasons from their table, krt's
//! reference from its commands, the gRPC code from the protos.

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
    crds(&root.join("api/crds"), kruntimes_api::crd::yaml)?;
    crds(&root.join("charts/kruntimes/templates/crds"), kruntimes_api::crd::template)?;
    std::fs::write(root.join("docs/reasons.md"), kruntimes_api::explain::markdown())
        .context("write docs/reasons.md")?;
    std::fs::write(root.join("docs/api.md"), kruntimes_api::crd::reference::markdown())
        .context("write docs/api.md")?;
    generate_protos(&root)?;
    configuration(&root)
}

fn crds(directory: &Path, text: fn(&serde_json::Value) -> String) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("create {}", directory.display()))?;
    for definition in kruntimes_api::crd::definitions() {
        let path = directory.join(&definition.file);
        std::fs::write(&path, text(&definition.object))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
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

/// Replaces what follows the marker in `docs/configuration.md` by what krt says of itself.
fn configuration(root: &Path) -> anyhow::Result<()> {
    const MARKER: &str = "<!-- krt reference -->\n";
    let krt = crate::home::build(crate::home::Build::Dev)?;
    let printed =
        std::process::Command::new(&krt).arg("reference").output().context("run krt reference")?;
    ensure!(printed.status.success(), "krt reference failed");
    let path = root.join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).context("read docs/configuration.md")?;
    let (head, _) = page
        .split_once(MARKER)
        .context("docs/configuration.md has no line `<!-- krt reference -->`")?;
    let reference = String::from_utf8(printed.stdout)?;
    std::fs::write(&path, format!("{head}{MARKER}{reference}"))
        .context("write docs/configuration.md")
}

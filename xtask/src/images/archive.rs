//! An image as one file that Docker, Podman and `ctr images import` take: an OCI layout with the index of Docker's own
//! format beside it. The same layers and settings give the same bytes.

use crate::cluster::command::output;
use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// What containerd takes the full name from.
const NAME: &str = "io.containerd.image.name";

/// What an image is made of.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// Its full name with the tag.
    pub(crate) name: String,
    /// `config` of the image, as the OCI specification has it.
    pub(crate) config: Value,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// A tar file.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    path: PathBuf,
    digest: String,
    size: u64,
}

impl Layer {
    /// A file whose digest is computed here.
    pub(crate) fn of(path: PathBuf) -> anyhow::Result<Self> {
        let digest = digest(&path)?;
        Self::known(path, digest)
    }

    /// A file whose digest is known.
    pub(crate) fn known(path: PathBuf, digest: String) -> anyhow::Result<Self> {
        let size = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
        Ok(Self { path, digest, size })
    }

    /// SHA-256, in hex.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// The manifest's digest, which names the image for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageDigest(pub(crate) String);

/// Writes the image to a file.
pub(crate) fn write(image: &Image, to: &Path) -> anyhow::Result<ImageDigest> {
    let layout = tempfile::tempdir_in(to.parent().context("no folder")?)?;
    let blobs = layout.path().join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    for layer in &image.layers {
        let blob = blobs.join(&layer.digest);
        // A link does where both are on one filesystem.
        if fs::hard_link(&layer.path, &blob).is_err() {
            fs::copy(&layer.path, &blob).with_context(|| layer.path.display().to_string())?;
        }
    }
    let layers = &image.layers;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": image.config,
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect::<Vec<_>>(),
        },
    });
    let (config, config_size) = blob(&blobs, &config)?;
    let (manifest, manifest_size) = blob(
        &blobs,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config, config_size),
            "layers": layers.iter().map(|layer| descriptor(LAYER, &layer.digest, layer.size)).collect::<Vec<_>>(),
        }),
    )?;
    let mut entry = descriptor(MANIFEST, &manifest, manifest_size);
    entry["annotations"] = json!({NAME: image.name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let docker = json!([{
        "Config": format!("blobs/sha256/{config}"),
        "RepoTags": [image.name],
        "Layers": layers.iter().map(|layer| format!("blobs/sha256/{}", layer.digest)).collect::<Vec<_>>(),
    }]);
    fs::write(layout.path().join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(layout.path().join("manifest.json"), serde_json::to_vec(&docker)?)?;
    fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar(layout.path(), to)?;
    Ok(ImageDigest(format!("sha256:{manifest}")))
}

/// A directory as a tar that depends on names and contents only: sorted, one time, root's.
pub(crate) fn tar(directory: &Path, to: &Path) -> anyhow::Result<()> {
    let sorted = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    output(
        Command::new("tar")
            .args(sorted)
            .args(["--format=gnu", "--create", "--file"])
            .arg(to)
            .arg("--directory")
            .arg(directory)
            .args(
                fs::read_dir(directory)?
                    .flatten()
                    .map(|entry| entry.file_name())
                    .collect::<std::collections::BTreeSet<_>>(),
            ),
    )
    .map(drop)
}

/// SHA-256 of a file, in hex.
pub(crate) fn digest(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

fn blob(blobs: &Path, value: &Value) -> anyhow::Result<(String, u64)> {
    let bytes = serde_json::to_vec(value)?;
    let name = hex(&Sha256::digest(&bytes));
    fs::write(blobs.join(&name), &bytes)?;
    Ok((name, bytes.len() as u64))
}

fn descriptor(kind: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, Layer, digest, tar, write};
    use serde_json::json;
    use std::fs;

    /// Built twice in different directories, at different times: the same digest and the same bytes.
    #[test]
    fn the_same_layers_give_the_same_bytes() {
        let built = ["b", "a"].map(|first| {
            let directory = tempfile::tempdir().unwrap();
            let root = directory.path().join("root");
            fs::create_dir_all(root.join("usr/bin")).unwrap();
            for name in [first, "a", "b"] {
                fs::write(root.join("usr/bin").join(name), name).unwrap();
            }
            let touched = fs::File::options().write(true).open(root.join("usr/bin/a")).unwrap();
            touched
                .set_modified(
                    std::time::UNIX_EPOCH + std::time::Duration::from_secs(first.len() as u64),
                )
                .unwrap();
            let layer = directory.path().join("layer.tar");
            tar(&root, &layer).unwrap();
            let image = Image {
                name: "localhost/x:1".into(),
                config: json!({"Entrypoint": ["/usr/bin/a"]}),
                layers: vec![Layer::of(layer).unwrap()],
            };
            let archive = directory.path().join("x.tar");
            (write(&image, &archive).unwrap(), digest(&archive).unwrap())
        });
        assert_eq!(built[0], built[1]);
    }
}

//! `cargo xtask images`: the images without a container engine, from the same files that engines use.

pub(crate) mod archive;
pub(crate) mod base;
pub(crate) mod containerfile;
mod library;

use crate::cluster::place::Place;
use crate::generate::root;
use crate::home;
use anyhow::{Context, ensure};
pub(crate) use archive::{Image, ImageDigest, Layer};
use base::Base;
pub(crate) use base::Freshness;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What is built: the Containerfile, which is the name of the image and of its file too, and its lists of packages.
const IMAGES: [(&str, &[&str]); 3] = [
    ("kruntimes", &base::PACKAGES),
    ("bash-runtime", &base::PACKAGES),
    ("python-runtime", &["packages", "python-packages"]),
];
const BINARY: &str = "usr/local/bin/krt";

/// One image that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// Its full name.
    pub(crate) name: String,
    /// Its file.
    pub(crate) archive: PathBuf,
    /// Its manifest's digest.
    pub(crate) digest: ImageDigest,
}

/// Builds the images with the release binary, and writes them to a directory.
pub(crate) fn run(to: &Path, freshness: Freshness) -> anyhow::Result<()> {
    let krt = home::build(home::Build::Release)?;
    let version = env!("CARGO_PKG_VERSION");
    let named = |name: &str| format!("ghcr.io/kruntimes/{name}:{version}");
    for built in build(&krt, to, named, freshness)? {
        println!("{} {} {}", built.archive.display(), built.name, built.digest.0);
    }
    Ok(())
}

/// Builds all images around one binary.
pub(crate) fn build(
    krt: &Path,
    to: &Path,
    named: impl Fn(&str) -> String,
    freshness: Freshness,
) -> anyhow::Result<Vec<Built>> {
    ensure!(rustix::process::geteuid().is_root(), "images need root: their files are root's");
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let place = Place::find()?;
    let bases = bases(&place, freshness)?;
    let binary = fs::read(krt)?;
    for base in &bases {
        println!("   Debian's packages are listed in {}", base.versions().display());
        library::check(&binary, &fs::read_to_string(base.versions())?)?;
    }
    let scratch = tempfile::tempdir()?;
    let layer = scratch.path().join("krt.tar");
    binary_layer(krt, &layer)?;
    let layer = Layer::of(layer)?;
    let mut all = Vec::new();
    for ((name, _), base) in IMAGES.iter().zip(&bases) {
        let path = root().join(format!("images/{name}.Containerfile"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let image = Image {
            name: named(name),
            config: containerfile::config(&text).with_context(|| path.display().to_string())?,
            layers: vec![base.layer()?, layer.clone()],
        };
        let archive = archive_of(to, &image.name);
        let digest = archive::write(&image, &archive)?;
        all.push(Built { name: image.name, archive, digest });
    }
    Ok(all)
}

/// The file of an image: the last part of its name, without the tag.
pub(crate) fn archive_of(directory: &Path, name: &str) -> PathBuf {
    let last = name.rsplit('/').next().unwrap_or(name);
    directory.join(format!("{}.tar", last.split(':').next().unwrap_or(last)))
}

/// What images are built from, whole: the same key, the same images.
pub(crate) fn key(krt: &Path) -> anyhow::Result<String> {
    let mut key = format!("{}\n", archive::digest(krt)?);
    let bases = bases(&Place::find()?, Freshness::Cached)?;
    for ((name, _), base) in IMAGES.iter().zip(&bases) {
        key.push_str(base.layer()?.digest());
        key.push_str(&fs::read_to_string(root().join(format!("images/{name}.Containerfile")))?);
    }
    Ok(key)
}

/// The base of each image; those with the same packages are built once.
fn bases(place: &Place, freshness: Freshness) -> anyhow::Result<Vec<Base>> {
    let settings = root().join("images/base");
    let mut bases: Vec<Base> = Vec::new();
    for (at, (_, lists)) in IMAGES.iter().enumerate() {
        let same = IMAGES.iter().take(at).position(|(_, others)| others == lists);
        let base = match same {
            Some(same) => bases[same].clone(),
            None => base::prepare(place, &settings, lists, freshness)?,
        };
        bases.push(base);
    }
    Ok(bases)
}

fn binary_layer(krt: &Path, layer: &Path) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join(BINARY);
    fs::create_dir_all(file.parent().context("no folder")?)?;
    fs::copy(krt, &file).with_context(|| format!("copy {}", krt.display()))?;
    for folder in file.ancestors().skip(1).take_while(|folder| *folder != directory.path()) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    archive::tar(directory.path(), layer)
}

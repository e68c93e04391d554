//! The Debian below the images: built once for each list of packages, kept in the cache.

use super::archive::{Layer, digest};
use crate::cluster::command::output;
use crate::cluster::place::Place;
use anyhow::Context;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Newer than the C library of most machines that build krt; a build that it can't run is refused.
const SUITE: &str = "trixie";

/// What every image has.
pub(crate) const PACKAGES: [&str; 1] = ["packages"];
const TAR: &str = "base.tar";
const DIGEST: &str = "base.sha256";

/// Whether a base that was built before will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// As it was built when its list was new.
    Cached,
    /// With what Debian has today.
    Fresh,
}

/// The layer, and the file that lists the versions in it.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    directory: PathBuf,
}

impl Base {
    /// The layer, whose digest was noted when it was built.
    pub(crate) fn layer(&self) -> anyhow::Result<Layer> {
        let noted = self.directory.join(DIGEST);
        let digest = fs::read_to_string(&noted).with_context(|| noted.display().to_string())?;
        Layer::known(self.directory.join(TAR), digest)
    }

    /// `package version`, a line each.
    pub(crate) fn versions(&self) -> PathBuf {
        self.directory.join("versions")
    }
}

/// The base for the files in `images/base`, with the packages in those of `lists`.
pub(crate) fn prepare(
    place: &Place,
    settings: &Path,
    lists: &[&str],
    freshness: Freshness,
) -> anyhow::Result<Base> {
    let base = Base { directory: place.cache(&format!("base-{}", key(settings, lists)?)) };
    if base.directory.exists() && freshness == Freshness::Cached {
        return Ok(base);
    }
    println!("   building Debian {SUITE}: {}", lists.join(", "));
    let partial = base.directory.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    build(settings, lists, &partial)?;
    fs::write(partial.join(DIGEST), digest(&partial.join(TAR))?)?;
    if base.directory.exists() {
        fs::remove_dir_all(&base.directory)?;
    }
    fs::rename(&partial, &base.directory).context("keep the base")?;
    Ok(base)
}

/// Everything that the base depends on but the packages' versions.
fn key(settings: &Path, lists: &[&str]) -> anyhow::Result<String> {
    let mut hash = Sha256::new();
    hash.update(SUITE);
    for name in ["dpkg.cfg", "group", "passwd"].iter().chain(lists) {
        hash.update(digest(&settings.join(name))?);
    }
    Ok(hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// `SOURCE_DATE_EPOCH` makes mmdebstrap sort the tar, clamp all times and leave out what differs between two builds.
pub(crate) fn build(settings: &Path, lists: &[&str], into: &Path) -> anyhow::Result<()> {
    let settings = settings.canonicalize()?;
    let read = |list: &&str| fs::read_to_string(settings.join(list));
    let packages = lists.iter().map(read).collect::<Result<Vec<_>, _>>()?.concat();
    let options = fs::read_to_string(settings.join("dpkg.cfg"))?;
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=apt", "--quiet"]);
    command.arg(format!("--include={}", packages.split_whitespace().collect::<Vec<_>>().join(",")));
    command.args(options.lines().map(|line| format!("--dpkgopt={line}")));
    for name in ["passwd", "group"] {
        let lines = settings.join(name);
        command.arg(format!("--customize-hook=cat '{}' >> \"$1/etc/{name}\"", lines.display()));
    }
    command.arg(format!(
        "--customize-hook=chroot \"$1\" dpkg-query --show > '{}'",
        into.join("versions").display()
    ));
    // Caches of programs, which the next user of them makes anew.
    command.arg("--customize-hook=rm -rf \"$1\"/var/cache/ldconfig \"$1\"/var/cache/debconf/*-old \"$1\"/var/lib/dpkg/*-old");
    command.arg(SUITE).arg(into.join(TAR)).env("SOURCE_DATE_EPOCH", "0");
    output(&mut command).map(drop)
}

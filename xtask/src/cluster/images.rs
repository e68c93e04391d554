//! `cargo xtask e2e images`: the images of this checkout, handed to the cluster's containerd.
//!
//! They hold the development build without its debug information: it is there already, where a release build costs
//! minutes, and no case here measures anything.

use super::command::output;
use super::pause::{ctr, import_archive};
use super::up::Tools;
use crate::home;
use crate::images::{self, Built, Freshness, ImageDigest};
use anyhow::Context;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a component of this checkout is called in the cluster.
pub(super) fn named(name: &str) -> String {
    format!("localhost/{name}:e2e")
}

/// Builds and imports them, but for those that the cluster has.
pub(super) fn import(tools: &Tools) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let krt = scratch.path().join("krt");
    strip(&home::build(home::Build::Dev)?, &krt)?;
    let directory = tools.place.cache("images");
    let known = output(ctr(tools).args(["images", "list"]))?;
    for built in built(&krt, &directory)? {
        let there = known.lines().any(|line| {
            line.starts_with(&format!("{} ", built.name)) && line.contains(&built.digest.0)
        });
        if there {
            println!("   {} is there: {}", built.name, built.digest.0);
            continue;
        }
        import_archive(tools, &built.archive)?;
        println!("   {} {}", built.name, built.digest.0);
    }
    Ok(())
}

/// The images around a binary; those of the last time when nothing differs.
fn built(krt: &Path, directory: &Path) -> anyhow::Result<Vec<Built>> {
    let (key, noted) = (images::key(krt)?, directory.join("key"));
    let list = directory.join("list.json");
    if fs::read_to_string(&noted).is_ok_and(|last| last == key) {
        return Ok(serde_json::from_slice::<Vec<[String; 2]>>(&fs::read(list)?)?
            .into_iter()
            .map(|[name, digest]| Built {
                archive: images::archive_of(directory, &name),
                name,
                digest: ImageDigest(digest),
            })
            .collect());
    }
    if noted.exists() {
        fs::remove_file(&noted)?;
    }
    let all = images::build(krt, directory, named, Freshness::Cached)?;
    let facts: Vec<[&str; 2]> =
        all.iter().map(|built| [built.name.as_str(), built.digest.0.as_str()]).collect();
    fs::write(list, serde_json::to_vec(&facts)?)?;
    fs::write(noted, key)?;
    Ok(all)
}

/// What changes with the images: a mark for pods that must be made anew with them.
pub(super) fn revision(tools: &Tools) -> anyhow::Result<String> {
    let listed = output(ctr(tools).args(["images", "list"]))?;
    let name = named("kruntimes");
    let line = listed.lines().find(|line| line.split_whitespace().next() == Some(&name));
    let digest = line.and_then(|line| line.split_whitespace().nth(2));
    digest
        .map(str::to_owned)
        .with_context(|| format!("the cluster has no {name}: `cargo xtask e2e images`"))
}

/// A copy without debug information.
pub(super) fn strip(from: &Path, to: &Path) -> anyhow::Result<()> {
    output(Command::new("strip").arg("--strip-all").arg("-o").arg(to).arg(from))
        .map(drop)
        .context("strip krt")
}

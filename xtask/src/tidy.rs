//! `cargo xtask tidy`: what no compiler checks.
//!
//! Layers point one way, files are short and say what they are, ARCHITECTURE.md names files that exist, and no
//! field that is listed as not served is read anywhere.

use crate::generate::root;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const LAYERS: [&str; 5] = ["contracts", "pure", "io", "roles", "bins"];
const MAX_LINES: usize = 400;
/// Fields that the CRD refuses, and how Rust code would read them.
const UNSERVED: [(&str, &str); 0] = [];

/// Checks everything and reports all findings at once.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut findings = layers()?;
    let files = sources()?;
    ensure!(files.len() > 20, "tidy found only {} source files", files.len());
    for file in &files {
        findings.extend(check_file(file)?);
    }
    findings.extend(architecture()?);
    if !findings.is_empty() {
        bail!("tidy:\n  {}", findings.join("\n  "));
    }
    println!("tidy: {} files are fine", files.len());
    Ok(())
}

/// Dependencies go down the layers; roles never import each other.
fn layers() -> anyhow::Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let layer_of = |name: &str| {
        let package = packages.iter().find(|package| package["name"] == name)?;
        let manifest = package["manifest_path"].as_str()?;
        LAYERS.iter().position(|layer| manifest.contains(&format!("/crates/{layer}/")))
    };
    let mut findings = Vec::new();
    let mut checked = 0;
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(layer) = layer_of(name) else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let Some(below) = layer_of(target).filter(|_| dependency["kind"] != "dev") else {
                continue;
            };
            checked += 1;
            let sideways = below == layer && LAYERS[layer] == "roles";
            if below > layer || sideways {
                findings.push(format!("{name} must not depend on {target}"));
            }
        }
    }
    ensure!(checked > 10, "tidy found only {checked} dependencies between layers");
    Ok(findings)
}

fn sources() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()?;
    ensure!(output.status.success(), "git ls-files failed");
    let listed = String::from_utf8(output.stdout)?;
    let files = listed.lines().filter(|path| !path.contains("/generated/")).map(PathBuf::from);
    Ok(files.filter(|path| root().join(path).exists()).collect())
}

fn check_file(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join(path))?;
    let shown = path.display();
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines >= MAX_LINES {
        findings.push(format!("{shown} has {lines} lines, the limit is {MAX_LINES}"));
    }
    let docs = text.lines().take_while(|line| line.starts_with("//!")).count();
    if docs == 0 {
        findings.push(format!("{shown} does not open with //!"));
    }
    if docs > 10 {
        findings.push(format!("{shown} opens with {docs} lines of //!, the limit is 10"));
    }
    let place = shown.to_string();
    let writes_reasons =
        !["contracts/", "xtask/", "/tests", "tests.rs", "pure/objects/", "apiserver/"]
            .iter()
            .any(|part| place.contains(part));
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    for line in code.lines().filter(|line| writes_reasons && has_reason_literal(line)) {
        findings.push(format!(
            "{shown} writes a reason that crates/contracts/api does not explain: {}",
            line.trim()
        ));
    }
    let reads_api = !["contracts/", "xtask/", "/tests/"].iter().any(|part| place.contains(part));
    for (field, accessor) in UNSERVED.iter().filter(|_| reads_api) {
        if text.contains(accessor) {
            findings.push(format!(
                "{shown} reads {field}: take it off the list in crates/contracts/api/src/crd/unserved.rs"
            ));
        }
    }
    Ok(findings)
}

/// A field or variable `reason` that gets its name here, and not from the table of reasons. (`#[expect]` has a `reason`
/// of its own, which is a sentence.)
fn has_reason_literal(line: &str) -> bool {
    ["reason: \"", "reason: Some(\"", "reason = \"", "\"reason\": \""].iter().any(|start| {
        let name = line.split_once(start).and_then(|(_, rest)| rest.split('"').next());
        name.is_some_and(|name| {
            name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.chars().all(|c| c.is_ascii_alphanumeric())
        })
    })
}

/// Every path in ARCHITECTURE.md exists.
fn architecture() -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md"))?;
    let paths = text.split('`').skip(1).step_by(2).filter(|code| {
        code.contains('/') && code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    });
    let paths: Vec<&str> = paths.collect();
    ensure!(paths.len() > 10, "tidy found only {} paths in ARCHITECTURE.md", paths.len());
    let missing = paths.iter().filter(|path| !root().join(path).exists());
    Ok(missing.map(|path| format!("ARCHITECTURE.md names {path}, which does not exist")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn reasons_come_from_their_table() {
        for line in
            ["reason: \"PodGone\",", "let reason = \"X\";", "json!({\"reason\": \"Ready\"})"]
        {
            assert!(super::has_reason_literal(line), "{line}");
        }
        for line in ["reason: pods::ERROR,", "reason = \"the lock is short\"", "reason.as_str()"] {
            assert!(!super::has_reason_literal(line), "{line}");
        }
    }

    #[test]
    fn the_checkout_is_tidy() {
        super::run().unwrap();
    }
}

//! `cargo xtask ci`: what must pass before a change lands, with the seconds of each stage.

use crate::cargo::cargo;
use crate::generate::root;
use anyhow::{Context, ensure};
use std::time::Instant;

/// The stages in order; the test runner's own lines come last.
const STAGES: [(&str, &[&str]); 6] = [
    ("fmt", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ("hello", &["run", "--", "run", "--local", "-f", "examples/hello.yaml"]),
    ("tidy", &["run", "--quiet", "--package", "xtask", "--", "tidy"]),
    ("e2e local", &["run", "--quiet", "--package", "xtask", "--", "e2e", "local"]),
    ("test", &["test", "--workspace"]),
];

/// Runs every stage; the first failure ends it.
pub(crate) fn run() -> anyhow::Result<()> {
    for (name, arguments) in STAGES {
        let started = Instant::now();
        println!("== {name}: cargo {}", arguments.join(" "));
        let status = cargo()
            .args(arguments)
            .current_dir(root())
            .status()
            .with_context(|| format!("start cargo for {name}"))?;
        ensure!(status.success(), "{name} failed: cargo {}", arguments.join(" "));
        println!("== {name}: {} s", started.elapsed().as_secs());
    }
    Ok(())
}

//! `cargo xtask sim`: builds the simulation with its own profile and runs it.

use crate::cargo::cargo;
use crate::generate::root;
use anyhow::ensure;

/// Hands the words over to the simulation.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let status = cargo()
        .args(["run", "--quiet", "--profile", "sim", "--package", "kruntimes-sim", "--"])
        .args(words)
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "the simulation has failed");
    Ok(())
}

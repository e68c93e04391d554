//! `cargo xtask soak kill`: the API server killed 200 times at random points among 16 writers.
//!
//! The test itself stands with the API server (`tests/durability.rs`), where `cargo test` runs 20 rounds of it.

use crate::cargo::cargo;
use crate::generate::root;
use anyhow::ensure;

const ROUNDS: u32 = 200;

pub(crate) fn run() -> anyhow::Result<()> {
    let status = cargo()
        .args(["test", "--workspace", "--test", "durability"])
        .current_dir(root())
        .env("KRUNTIMES_TEST_DURABILITY_ROUNDS", ROUNDS.to_string())
        .status()?;
    ensure!(status.success(), "soak kill: see above");
    println!("soak: killed {ROUNDS} times, no acknowledged write was lost and none was half there");
    Ok(())
}

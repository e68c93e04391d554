//! `cargo xtask ci`: what must pass before a change lands, with the seconds of each stage.

use crate::cargo::cargo;
use crate::generate::root;
use anyhow::{Context, ensure};
use std::time::Instant;

/// The stages in order; the test runner's own lines come last.
const STAGES: [(&str, &[&str]); 12] = [
    ("fmt", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ("hello", &["run", "--", "run", "--local", "-f", "examples/hello.yaml"]),
    ("tidy", &["run", "--quiet", "--package", "xtask", "--", "tidy"]),
    ("sim", &["run", "--quiet", "--package", "xtask", "--", "sim", "--seeds", "1000"]),
    ("e2e local", &["run", "--quiet", "--package", "xtask", "--", "e2e", "local"]),
    ("e2e kits", &["run", "--quiet", "--package", "xtask", "--", "e2e", "kits"]),
    ("e2e crashes", &["run", "--quiet", "--package", "xtask", "--", "e2e", "crashes"]),
    ("e2e faults", &["run", "--quiet", "--package", "xtask", "--", "e2e", "faults"]),
    ("e2e artifacts", &["run", "--quiet", "--package", "xtask", "--", "e2e", "artifacts"]),
    ("e2e cluster", &["run", "--quiet", "--package", "xtask", "--", "e2e", "all"]),
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

#[cfg(test)]
mod tests {
    use super::STAGES;
    use crate::generate::root;

    /// Commands of pages that no stage runs: `cargo xtask bench` does.
    const ELSEWHERE: [&str; 1] = ["cargo build --release"];

    /// The test of the pages leaves `sh ci` blocks to the stages.
    #[test]
    fn every_ci_block_of_a_page_is_a_stage() {
        let stages: Vec<String> = STAGES
            .iter()
            .map(|(_, arguments)| format!("cargo {}", arguments.join(" ")))
            .chain(ELSEWHERE.map(str::to_owned))
            .collect();
        let mut seen = Vec::new();
        for page in ["README.md", "docs/quickstart.md"] {
            let text = std::fs::read_to_string(root().join(page)).unwrap();
            for block in text.split("```sh ci\n").skip(1) {
                for command in block.split("```").next().unwrap_or_default().lines() {
                    assert!(
                        stages.iter().any(|stage| stage == command),
                        "{page}: `{command}` is no stage"
                    );
                    seen.push(command.to_owned());
                }
            }
        }
        for top in ["cargo run -- run --local -f examples/hello.yaml", "cargo test --workspace"] {
            assert!(seen.iter().any(|command| command == top), "README.md has no `{top}`");
        }
    }
}

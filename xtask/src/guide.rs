//! The blocks of `docs/custom-runtime.md` that need package registries, run as a reader in a checkout with a local home would.

use crate::cargo::program;
use crate::generate::root;
use crate::home::Home;
use crate::kits::step;
use anyhow::{Context, ensure};
use std::path::Path;

const PAGE: &str = "docs/custom-runtime.md";
const OPEN: &str = "\n```sh kits\n";
const TEXT: &str = "```text\n";
const CLOSE: &str = "\n```\n";

/// Commands and what they print.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    commands: &'a str,
    prints: &'a str,
}

/// Runs them in order, each in a bash of its own.
pub(crate) fn run(krt: &Path) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join(PAGE)).context("read the guide")?;
    let blocks = blocks(&page)?;
    ensure!(blocks.len() > 3, "{PAGE} has only {} blocks for the kits", blocks.len());
    let home = Home::start(krt)?;
    let folder = krt.parent().context("krt is in no folder")?;
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    for block in &blocks {
        let output = tempfile::NamedTempFile::new()?;
        let script =
            format!("set -euo pipefail; exec >'{}'\n{}", output.path().display(), block.commands);
        step(
            program("bash")
                .args(["-c", &script])
                .current_dir(root())
                .env("PATH", &path)
                .env("KUBECONFIG", home.kubeconfig()),
        )
        .with_context(|| format!("{PAGE}:\n{}", block.commands))?;
        let printed = std::fs::read_to_string(output.path())?;
        ensure!(
            printed.trim_end() == block.prints,
            "{PAGE}:\n{}\nmust print\n{}\nbut prints\n{printed}",
            block.commands,
            block.prints
        );
    }
    println!("{PAGE}: {} blocks do what they say", blocks.len());
    Ok(())
}

fn blocks(page: &str) -> anyhow::Result<Vec<Block<'_>>> {
    page.split(OPEN)
        .skip(1)
        .map(|rest| {
            let (commands, rest) = rest.split_once(CLOSE).context("a block has no end")?;
            let rest = rest.strip_prefix(TEXT).with_context(|| {
                format!("{PAGE}: no text block says what this prints:\n{commands}")
            })?;
            let (prints, _) = rest.split_once(CLOSE).context("a text block has no end")?;
            Ok(Block { commands, prints })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Block, blocks};

    #[test]
    fn a_block_and_what_it_prints() {
        let page = "a\n```sh kits\nb\nc\n```\n```text\nd\n```\n```sh\ne\n```\n";
        assert_eq!(blocks(page).unwrap(), [Block { commands: "b\nc", prints: "d" }]);
        assert!(blocks("\n```sh kits\nb\n```\nand\n").is_err());
    }
}

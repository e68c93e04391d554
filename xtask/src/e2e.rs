//! `cargo xtask e2e local`: kubectl against the local home, as its user would type it.

use crate::e2e_objects as objects;
use crate::generate::root;
use crate::home::{self, Home};
use crate::suite::{self, Case, Tools};
use anyhow::{Context, ensure};

/// What the local API server does beside what any home does.
const OWN: [(&str, Case); 5] = [
    ("patch --type=json", objects::json_patches),
    ("delete --cascade", objects::cascades),
    ("lists", objects::lists),
    ("get --chunk-size", objects::chunks),
    ("delete ns", objects::namespace_ends),
];

/// Runs every case against one home.
pub(crate) fn local() -> anyhow::Result<()> {
    let krt = home::build(home::Build::Dev)?;
    let home = Home::start(&krt)?;
    let tools = Tools::new(home.kubeconfig(), krt);
    for (name, case) in suite::CASES.into_iter().chain(OWN) {
        case(&tools).with_context(|| format!("e2e local, {name}"))?;
        println!("e2e local: {name} ok");
    }
    drop(home);
    objects::full_disk(tools.krt_path())?;
    println!("e2e local: a full disk ok");
    docs()?;
    println!("{} passed, 0 failed", suite::CASES.len() + OWN.len() + 2);
    Ok(())
}

/// The pages and examples with all their blocks, those that need kubectl included.
fn docs() -> anyhow::Result<()> {
    let status = crate::cargo::cargo()
        .args(["test", "--quiet", "--workspace", "--test", "docs"])
        .current_dir(root())
        .env("KRT_DOCS_KUBECTL", "1")
        .status()?;
    ensure!(status.success(), "e2e local, docs: see above");
    println!("e2e local: docs ok");
    Ok(())
}

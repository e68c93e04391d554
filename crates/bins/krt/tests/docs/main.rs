//! Every shell block of the README and `docs/`, and every example, run as a reader would run them.
//!
//! Blocks that need kubectl run where `KRT_DOCS_KUBECTL` is set, as `cargo xtask e2e local` does, blocks for a
//! cluster where `KRT_DOCS_CLUSTER` names a kubeconfig, as `cargo xtask e2e test` does; the others run always.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod examples;
mod expected;
mod page;
mod pages;
mod reference;
mod session;
mod user;

use std::path::{Path, PathBuf};

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

/// Whether blocks that need kubectl run too.
fn with_kubectl() -> bool {
    std::env::var_os("KRT_DOCS_KUBECTL").is_some()
}

/// The kubeconfig of a cluster's admin, where there is one: `cargo xtask e2e test` says so.
fn cluster() -> Option<PathBuf> {
    std::env::var_os("KRT_DOCS_CLUSTER").map(PathBuf::from)
}

/// Fails with all findings at once.
#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n\n"));
}

//! Cargo as a user would have started it.
//!
//! `cargo run` hands its package's variables to what it runs. A nested cargo that inherits them shows them to build
//! scripts (ring's watches `CARGO_PKG_NAME`), which then run again, and half of the graph is compiled anew.

use std::process::Command;

/// What `cargo run` adds to the environment of the program that it starts.
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html>
const ADDED: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// A cargo command without the variables of the cargo that started this tool.
pub(crate) fn cargo() -> Command {
    program("cargo")
}

/// A program that may start cargo, likewise.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    for (name, _) in std::env::vars_os() {
        let added = |name: &str| ADDED.iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(|name| added(name) || name == "OUT_DIR") {
            command.env_remove(&name);
        }
    }
    command
}

//! Programs that are run to their end: what they said is part of the error.

use anyhow::{Context, ensure};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs a program and returns what it printed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = shown(command);
    let output = run(command)?;
    ensure!(
        output.status.success(),
        "{shown}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("{shown} printed no text"))
}

/// Runs a program whose failure means that there was nothing to do.
pub(crate) fn attempt(command: &mut Command) -> anyhow::Result<Option<String>> {
    let output = run(command)?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let program = Path::new(command.get_program()).to_owned();
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}: is it installed?", program.display()))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

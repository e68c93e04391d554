//! `cargo xtask e2e kits`: the Python kit's own tests and types, then `krt runtime conformance` on every Runtime Server of
//! this repository, ours and the examples.
//!
//! Packages come from PyPI and npm, into `target/kits`. A rule may only be skipped where this file says so.

use crate::cargo::cargo;
use crate::generate::root;
use crate::home::{Build, build};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No step takes longer; `timeout` ends it.
const LIMIT: &str = "200";
const MYPY: &str = "mypy==2.4.1";

/// A server and what is known of it.
struct Subject {
    name: &'static str,
    command: String,
    works: String,
    /// Rules that it can't be tried for.
    skipped: &'static [&'static str],
}

/// Tries all.
pub(crate) fn run() -> anyhow::Result<()> {
    let krt = build(Build::Dev)?;
    let target = krt.parent().and_then(Path::parent).context("krt has no target directory")?;
    let kits = target.join("kits");
    std::fs::create_dir_all(&kits)?;
    let python = python(&kits)?;
    step(cargo().args(["build", "--quiet", "--package", "example-steps"]).current_dir(root()))?;
    node()?;
    let mut findings = Vec::new();
    for subject in subjects(&krt, &python) {
        findings.extend(conformance(&krt, &subject)?);
    }
    if !findings.is_empty() {
        bail!("conformance:\n  {}", findings.join("\n  "));
    }
    crate::guide::run(&krt)
}

fn subjects(krt: &Path, python: &Path) -> Vec<Subject> {
    let example = |path: &str| root().join("examples/custom").join(path);
    vec![
        Subject {
            name: "bash",
            command: format!("{} serve runtime-bash", quoted(krt)),
            works: "bash".to_owned(),
            skipped: &[],
        },
        Subject {
            name: "python",
            command: format!("{} serve runtime-python", quoted(krt)),
            works: "python".to_owned(),
            skipped: &[],
        },
        Subject {
            name: "the Rust example",
            command: quoted(&krt.with_file_name("example-steps")),
            works: example("rust/works.json").display().to_string(),
            // It does its work without processes, and prints text only.
            skipped: &["execute/no-twins", "cancel/tree", "end/left-behind", "output/bytes"],
        },
        Subject {
            name: "the Node.js example",
            command: format!("node {}", quoted(&example("node/dist/server.js"))),
            works: example("node/works.json").display().to_string(),
            // It leaves RuntimeEvents out.
            skipped: &["events/told", "events/output", "events/resume", "events/renew"],
        },
        Subject {
            name: "the Python example",
            command: format!("{} {}", quoted(python), quoted(&example("python/server.py"))),
            works: "command".to_owned(),
            skipped: &[],
        },
    ]
}

/// Installs the kit into an environment of its own, tests it, and returns the interpreter.
fn python(kits: &Path) -> anyhow::Result<PathBuf> {
    let environment = kits.join("python");
    let python = environment.join("bin/python");
    if !python.exists() {
        step(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    let kit = root().join("kits/python");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    step(Command::new(&python).args(pip).arg(MYPY))?;
    // Anew each time: the version does not change with the code.
    step(Command::new(&python).args(pip).args(["--force-reinstall", "--no-deps"]).arg(&kit))?;
    step(Command::new(&python).args(pip).arg(&kit))?;
    step(
        Command::new(&python).args(["-m", "unittest", "discover", "-s", "tests"]).current_dir(&kit),
    )?;
    let example = root().join("examples/custom/python");
    step(
        Command::new(&python)
            .args(["-m", "mypy", "--config-file", "pyproject.toml", "src"])
            .arg(example)
            .current_dir(&kit),
    )?;
    Ok(python)
}

/// Builds the Node.js example in its folder.
pub(crate) fn node() -> anyhow::Result<()> {
    let example = root().join("examples/custom/node");
    step(
        Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(&example),
    )?;
    step(Command::new("npm").args(["run", "--silent", "build"]).current_dir(&example))
}

/// What a server does against the rules.
fn conformance(krt: &Path, subject: &Subject) -> anyhow::Result<Vec<String>> {
    let name = subject.name;
    let output = Command::new(krt)
        .args(["runtime", "conformance", "-o", "json", "--works", &subject.works])
        .args(["--command", &subject.command])
        .output()
        .with_context(|| format!("start krt for {name}"))?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{name}: krt says {}", String::from_utf8_lossy(&output.stderr).trim())
    })?;
    let rules = report["rules"].as_array().context("no rules")?;
    ensure!(rules.len() > 40, "{name}: only {} rules were tried", rules.len());
    let mut findings = Vec::new();
    for line in rules {
        let text = |field: &str| line[field].as_str().unwrap_or_default();
        let (rule, result) = (text("rule"), text("result"));
        let expected = if subject.skipped.contains(&rule) { "skipped" } else { "pass" };
        if result != expected {
            findings.push(format!("{name}: {rule}: {result}, not {expected}: {}", text("why")));
        }
    }
    println!("{name}: {} rules, {} skipped", rules.len(), subject.skipped.len());
    Ok(findings)
}

/// Runs a command that must succeed, within the limit.
pub(crate) fn step(command: &mut Command) -> anyhow::Result<()> {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after", "5", LIMIT]).arg(command.get_program()).args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        limited.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let status = limited.status().with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{status}: {command:?}");
    Ok(())
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

//! A local home for the tools: the real binary in a directory of its own, stopped when dropped.

use crate::cargo::cargo;
use crate::generate::root;
use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which build of krt runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Build {
    /// What `cargo run` builds.
    Dev,
    /// What is measured.
    Release,
}

/// Builds krt and returns its path.
pub(crate) fn build(build: Build) -> anyhow::Result<PathBuf> {
    let (arguments, folder): (&[&str], &str) = match build {
        Build::Dev => (&["build", "--quiet"], "debug"),
        Build::Release => (&["build", "--quiet", "--release"], "release"),
    };
    let status = cargo().args(arguments).current_dir(root()).status()?;
    ensure!(status.success(), "krt did not build");
    let metadata = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"].as_str().context("no target directory")?;
    Ok(Path::new(target).join(folder).join("krt"))
}

/// A running `krt local up`.
#[derive(Debug)]
pub(crate) struct Home {
    child: Child,
    directory: tempfile::TempDir,
    /// From start to the line that says that it is ready.
    pub(crate) ready_after: Duration,
}

impl Home {
    /// Starts a home in a new directory.
    pub(crate) fn start(krt: &Path) -> anyhow::Result<Self> {
        Self::start_with(krt, &[], &[])
    }

    /// Starts a home in a new directory, with more environment and more flags.
    pub(crate) fn start_with(
        krt: &Path,
        environment: &[(&str, &Path)],
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        // As a user's own, it is not below `/tmp`, which each Run has for itself.
        let place = root().join("target/homes");
        std::fs::create_dir_all(&place)?;
        // As `/proc` shows the directories of processes.
        let directory = tempfile::tempdir_in(std::fs::canonicalize(place)?)?;
        let (child, ready_after) = spawn(krt, directory.path(), environment, flags)?;
        Ok(Self { child, directory, ready_after })
    }

    /// Waits until the main process has ended, then starts it again on the same directory.
    pub(crate) fn start_again(
        &mut self,
        krt: &Path,
        environment: &[(&str, &Path)],
    ) -> anyhow::Result<()> {
        self.child.wait()?;
        (self.child, self.ready_after) = spawn(krt, self.directory.path(), environment, &[])?;
        Ok(())
    }

    /// Whether the main process has ended.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The kubeconfig of the home.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Its data directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The main process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn spawn(
    krt: &Path,
    directory: &Path,
    environment: &[(&str, &Path)],
    flags: &[&str],
) -> anyhow::Result<(Child, Duration)> {
    let started = Instant::now();
    let mut child = Command::new(krt)
        .args(["local", "up", "--port", "0", "--data-dir"])
        .arg(directory)
        // What is measured and broken is bash, unless a flag says otherwise.
        .arg("--runtimes=bash")
        .args(flags)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", krt.display()))?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let ready =
        lines.find(|line| line.as_ref().map_or(true, |line| line.contains("export KUBECONFIG=")));
    if ready.transpose()?.is_none() {
        bail!("krt local up ended before it was ready: {}", child.wait()?);
    }
    std::thread::spawn(move || lines.for_each(drop));
    Ok((child, started.elapsed()))
}

impl Drop for Home {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        drop(self.child.wait());
    }
}

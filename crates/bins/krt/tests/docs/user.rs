//! A reader: a fresh HOME, krt on the PATH, and where it is asked for a local home that runs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// The environment of one page.
pub(crate) struct Reader {
    dir: TempDir,
    home: Option<Home>,
    /// Set where the reader has exported it.
    kubeconfig: Option<PathBuf>,
}

/// A `krt local up` that ends with this process, however that ends.
struct Home {
    child: Child,
    lifeline: Option<ChildStdin>,
    /// Open, so that the home can write.
    _stdout: BufReader<ChildStdout>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "tmp", "bin", "blocks", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        };
        link(Path::new(env!("CARGO_BIN_EXE_krt")), "bin/krt");
        link(&crate::root().join("examples"), "work/examples");
        link(&crate::root().join("charts"), "work/charts");
        Self { dir, home: None, kubeconfig: None }
    }

    /// A reader whose local home runs.
    pub(crate) fn at_home() -> Self {
        let mut reader = Self::new();
        let mut child = reader
            .command("krt")
            .args(["local", "up"])
            .env("KRUNTIMES_LIFELINE", "stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("export KUBECONFIG=") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "krt local up ended");
        }
        reader.home = Some(Home { child, lifeline, _stdout: stdout });
        reader
    }

    /// A reader whose local home runs and who has exported its KUBECONFIG.
    pub(crate) fn with_kubeconfig() -> Self {
        let mut reader = Self::at_home();
        reader.kubeconfig = Some(reader.path("home/.local/share/kruntimes/kubeconfig"));
        reader
    }

    /// The admin of a cluster, in a checkout.
    pub(crate) fn with_cluster(kubeconfig: &Path) -> Self {
        let mut reader = Self::new();
        reader.kubeconfig = Some(kubeconfig.to_owned());
        reader
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program with the reader's environment, in the reader's working directory.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut search = self.path("bin").into_os_string();
        if let Some(path) = std::env::var_os("PATH") {
            search.push(":");
            search.push(path);
        }
        let program = if program == "krt" { env!("CARGO_BIN_EXE_krt") } else { program };
        let mut command = Command::new(program);
        for name in ["KUBECONFIG", "XDG_DATA_HOME", "KRUNTIMES_LIFELINE", "KRUNTIMES_LOG"] {
            command.env_remove(name);
        }
        if let Some(path) = &self.kubeconfig {
            command.env("KUBECONFIG", path);
        }
        command
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("PATH", search)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        match self.home.take() {
            Some(mut home) => {
                drop(home.lifeline.take());
                drop(home.child.wait());
            }
            // What a page started in the background.
            None => drop(self.command("krt").args(["local", "down"]).output()),
        }
    }
}

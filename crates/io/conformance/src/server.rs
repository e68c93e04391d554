//! A server that the kit starts by a shell command, with a control token and a directory of its own, and stops again.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a server may take to end after SIGTERM.
pub(crate) const END_WITHIN: Duration = Duration::from_secs(5);
/// The last bytes of its log that are shown when it does not start.
const LOG_BYTES: usize = 2000;

/// Why there is no server to be tried.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither an endpoint nor a command.
    #[error("an endpoint is needed, or a command that starts the server")]
    NoServer,
    /// Not `HOST:PORT`.
    #[error("the endpoint {0:?} is not HOST:PORT")]
    Endpoint(String),
    /// Directories or processes are missing.
    #[error("can't start the server")]
    Start(#[source] io::Error),
    /// It ended at once.
    #[error("the server ended as it started: {0}")]
    Ended(String),
    /// Health is not answered.
    #[error("the server does not answer at {endpoint}: {why}")]
    Silent {
        /// Where it should be.
        endpoint: String,
        /// What came instead.
        why: String,
    },
}

/// The server's process and its places.
#[derive(Debug)]
pub(crate) struct Server {
    command: String,
    port: u16,
    directory: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Makes the places; nothing runs yet. Without a port a free one is taken.
    pub(crate) fn new(command: String, port: Option<u16>) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("krt-conformance-").tempdir()?;
        std::fs::create_dir(directory.path().join("workspace"))?;
        std::fs::create_dir(directory.path().join("control"))?;
        let token = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        std::fs::write(directory.path().join("control/token"), token)?;
        let port = match port {
            Some(port) => port,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
        };
        Ok(Self { command, port, directory, child: None })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    pub(crate) fn token(&self) -> io::Result<String> {
        let text = std::fs::read_to_string(self.directory.path().join("control/token"))?;
        Ok(text.trim().to_owned())
    }

    /// Starts the process; it may take a while to answer.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let log = File::create(self.log())?;
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec {} \"$@\"", self.command))
            .args(["sh", "--port", &self.port.to_string(), "--work-dir"])
            .arg(self.work_dir())
            .env("KRUNTIMES_CONTROL", self.directory.path().join("control"))
            .env("CONFORMANCE", "of the server")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// What it said last, if it has ended.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        let log = std::fs::read(self.log()).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES)..]);
        Some(format!("{status}: {}", tail.trim()))
    }

    /// Sends a signal to the process alone, as a kubelet does, and waits for its end; then its group is killed.
    pub(crate) async fn end(&mut self, signal: Signal) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = kill_process(pid, signal);
        }
        let ended = timeout(END_WITHIN, child.wait()).await.is_ok();
        if let Some(pid) = pid {
            // What it left in its group goes too.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        // The group is killed: this ends at once.
        let _ = timeout(END_WITHIN, child.wait()).await;
        ended
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.child.as_ref().and_then(Child::id);
        if let Some(pid) = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may be gone already.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

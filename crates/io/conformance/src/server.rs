//! A server that the kit starts by a shell command, with a control token and a directory of its own, and stops again.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a server may take to end after SIGTERM.
pub(crate) const END_WITHIN: Duration = Duration::from_secs(5);
/// The last bytes of its log that are shown when it does not start.
const LOG_BYTES: usize = 2000;
/// How long the rest of its log may take after its end.
const LOG_WITHIN: Duration = Duration::from_millis(500);

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
    log: Log,
}

/// The last bytes of what the server says, and the task that reads them.
#[derive(Debug, Default)]
struct Log {
    tail: Arc<Mutex<VecDeque<u8>>>,
    reader: Option<JoinHandle<()>>,
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
        Ok(Self { command, port, directory, child: None, log: Log::default() })
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
        let (log, writer) = io::pipe()?;
        self.log = Log::read(log.into())?;
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec {} \"$@\"", self.command))
            .args(["sh", "--port", &self.port.to_string(), "--work-dir"])
            .arg(self.work_dir())
            .env("KRUNTIMES_CONTROL", self.directory.path().join("control"))
            .env("CONFORMANCE", "of the server")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// What it said last, if it has ended.
    pub(crate) async fn has_ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        if let Some(reader) = &mut self.log.reader {
            // A process that it has left behind may keep the pipe open.
            let _ = timeout(LOG_WITHIN, reader).await;
        }
        let mut tail = self.log.tail.lock().unwrap_or_else(PoisonError::into_inner);
        Some(format!("{status}: {}", String::from_utf8_lossy(tail.make_contiguous()).trim()))
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
}

impl Log {
    fn read(pipe: OwnedFd) -> io::Result<Self> {
        let tail = Arc::default();
        let kept: Arc<Mutex<VecDeque<u8>>> = Arc::clone(&tail);
        let mut pipe = Receiver::from_owned_fd(pipe)?;
        let reader = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&buffer[..count]);
                let over = kept.len().saturating_sub(LOG_BYTES);
                kept.drain(..over);
            }
        });
        Ok(Self { tail, reader: Some(reader) })
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

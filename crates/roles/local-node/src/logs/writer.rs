//! Writes one container's output to files of bounded size.
//!
//! Invariant: what a container prints never blocks it for long and never fills the disk: two files of
//! [`FILE_LIMIT`] each for its current process, two for the one before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;

/// Bytes of one file.
pub(super) const FILE_LIMIT: u64 = 10 * 1024 * 1024;
/// Bytes of one read.
const CHUNK: usize = 64 * 1024;

/// Where a container's output stands.
#[derive(Debug)]
pub(crate) struct ContainerLog {
    directory: PathBuf,
    name: String,
    limit: u64,
    progress: watch::Sender<Progress>,
}

/// How far the output got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Counts the container's processes.
    pub(super) process: u32,
    /// Bytes that the current process has written.
    pub(super) written: u64,
    /// Bytes of these that stand before the current file.
    pub(super) file_start: u64,
    /// No more output will come, ever.
    pub(super) closed: bool,
}

impl ContainerLog {
    pub(super) fn new(directory: PathBuf, name: String, limit: u64) -> Arc<Self> {
        Arc::new(Self { directory, name, limit, progress: watch::Sender::default() })
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The current file of the current process.
    pub(super) fn current(&self) -> PathBuf {
        self.file("log")
    }

    /// The file before that.
    pub(super) fn rotated(&self) -> PathBuf {
        self.file("log.1")
    }

    /// Both files of the process before, older first.
    pub(super) fn previous(&self) -> [PathBuf; 2] {
        [self.file("previous.1"), self.file("previous")]
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("{}.{suffix}", self.name))
    }

    /// Says that no more output will come.
    pub(crate) fn close(&self) {
        self.progress.send_modify(|progress| progress.closed = true);
    }

    /// Copies one process's output until it ends. A full disk loses output, never the container.
    pub(crate) async fn copy(self: Arc<Self>, mut output: pipe::Receiver) {
        let mut file = self.begin().await;
        let mut buffer = vec![0_u8; CHUNK];
        loop {
            let count = match output.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            file = self.write(file, &buffer[..count]).await;
        }
    }

    async fn begin(&self) -> Option<File> {
        let [older, old] = self.previous();
        replace(&self.rotated(), &older).await;
        replace(&self.current(), &old).await;
        self.progress.send_modify(|progress| {
            *progress = Progress {
                process: progress.process.wrapping_add(1),
                closed: progress.closed,
                ..Progress::default()
            };
        });
        open(&self.current()).await
    }

    async fn write(&self, mut file: Option<File>, mut bytes: &[u8]) -> Option<File> {
        while !bytes.is_empty() {
            let progress = *self.progress.borrow();
            let room = self.limit - (progress.written - progress.file_start);
            if room == 0 {
                replace(&self.current(), &self.rotated()).await;
                file = open(&self.current()).await;
                self.progress.send_modify(|progress| progress.file_start = progress.written);
                continue;
            }
            let (now, later) = bytes.split_at(length(room).min(bytes.len()));
            if let Some(open) = &mut file {
                let written = async {
                    open.write_all(now).await?;
                    open.flush().await
                };
                if let Err(error) = written.await {
                    tracing::warn!(container = self.name, %error, "output of a container is lost");
                    return file;
                }
            }
            let count = u64::try_from(now.len()).unwrap_or(u64::MAX);
            self.progress.send_modify(|progress| progress.written += count);
            bytes = later;
        }
        file
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

async fn replace(from: &Path, to: &Path) {
    // Both may be missing; what stays is overwritten by the next turn.
    if tokio::fs::rename(from, to).await.is_err() {
        drop(tokio::fs::remove_file(to).await);
    }
}

async fn open(path: &Path) -> Option<File> {
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    match options.open(path).await {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "log file can't be opened");
            None
        }
    }
}

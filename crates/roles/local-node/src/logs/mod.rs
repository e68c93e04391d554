//! The output of containers: files that the node writes, and a reader for `pods/log`.

mod writer;

pub(crate) use writer::ContainerLog;

use futures::Stream;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes of one item of a log stream.
const ITEM_BYTES: usize = 64 * 1024;

/// Reads the logs of the home's pods; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PodLogs(Arc<Mutex<BTreeMap<Name, Arc<ContainerLog>>>>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    namespace: String,
    pod: String,
    container: String,
}

/// What to read of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only this many lines at the end of what there is.
    pub tail_lines: Option<u64>,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
    /// Goes on with what the container prints until its pod is gone.
    pub follow: bool,
    /// The output of the container's process before the current one.
    pub previous: bool,
}

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The pod has no container of this name, or it never started.
    #[error(
        "container \"{container}\" of pod \"{pod}\" has no log: it has not started on this node"
    )]
    NotFound {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The files can't be read.
    #[error("log can't be read")]
    Read(#[source] std::io::Error),
}

/// The bytes of a log, in order.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<Vec<u8>, std::io::Error>> + Send>>;

impl PodLogs {
    /// A reader of no logs; the node that it is given to adds those of its pods.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a container's log.
    pub async fn read(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        options: LogOptions,
    ) -> Result<LogStream, LogError> {
        let log = self.find(namespace, pod, container)?;
        let limit = options.limit_bytes.unwrap_or(u64::MAX);
        let mut cursor = Cursor { log, process: 0, next: 0, left: limit };
        let mut start = if options.previous {
            let mut bytes = Vec::new();
            for file in cursor.log.previous() {
                append(&mut bytes, &file, 0, u64::MAX).await.map_err(LogError::Read)?;
            }
            bytes
        } else {
            cursor.take_written().await.map_err(LogError::Read)?
        };
        if let Some(lines) = options.tail_lines {
            start.drain(..tail_start(&start, lines));
        }
        start.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        cursor.left = limit.saturating_sub(u64::try_from(start.len()).unwrap_or(u64::MAX));
        let items: Vec<_> = start.chunks(ITEM_BYTES).map(|chunk| Ok(chunk.to_vec())).collect();
        let start = futures::stream::iter(items);
        if options.follow && !options.previous {
            Ok(Box::pin(futures::StreamExt::chain(start, follow(cursor))))
        } else {
            Ok(Box::pin(start))
        }
    }

    fn find(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Arc<ContainerLog>, LogError> {
        let name = Name {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        };
        let missing =
            || LogError::NotFound { pod: pod.to_owned(), container: container.to_owned() };
        self.lock().get(&name).cloned().ok_or_else(missing)
    }

    /// The log of a container that is about to start; `directory` holds its files.
    pub(crate) fn add(
        &self,
        (namespace, pod): (&str, &str),
        container: &str,
        directory: PathBuf,
    ) -> Arc<ContainerLog> {
        let log = ContainerLog::new(directory, container.to_owned(), writer::FILE_LIMIT);
        let name = Name {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        };
        if let Some(old) = self.lock().insert(name, Arc::clone(&log)) {
            old.close();
        }
        log
    }

    /// Forgets a log that was added, unless another pod of the same name has one.
    pub(crate) fn remove(&self, log: &Arc<ContainerLog>) {
        log.close();
        self.lock().retain(|_, known| !Arc::ptr_eq(known, log));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Arc<ContainerLog>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Cursor {
    log: Arc<ContainerLog>,
    process: u32,
    /// The next byte of the process's output.
    next: u64,
    left: u64,
}

impl Cursor {
    /// What was written since the last call; read again when the files were moved meanwhile.
    async fn take_written(&mut self) -> std::io::Result<Vec<u8>> {
        let progress = self.log.subscribe();
        loop {
            let before = *progress.borrow();
            let (process, next) = (self.process, self.next);
            let bytes = self.take_until(before).await?;
            let after = *progress.borrow();
            if (after.process, after.file_start) == (before.process, before.file_start) {
                return Ok(bytes);
            }
            (self.process, self.next) = (process, next);
        }
    }

    async fn take_until(&mut self, progress: writer::Progress) -> std::io::Result<Vec<u8>> {
        if progress.process != self.process {
            self.process = progress.process;
            self.next = 0;
        }
        let mut bytes = Vec::new();
        if self.next < progress.file_start {
            let skip = self.next.saturating_sub(progress.file_start.saturating_sub(
                tokio::fs::metadata(self.log.rotated()).await.map_or(0, |file| file.len()),
            ));
            append(&mut bytes, &self.log.rotated(), skip, u64::MAX).await?;
        }
        let skip = self.next.saturating_sub(progress.file_start);
        let end = progress.written - progress.file_start;
        append(&mut bytes, &self.log.current(), skip, end.saturating_sub(skip)).await?;
        self.next = progress.written;
        Ok(bytes)
    }
}

/// What the container prints from here on.
fn follow(cursor: Cursor) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> {
    let changes = cursor.log.subscribe();
    futures::stream::try_unfold((cursor, changes), |(mut cursor, mut changes)| async move {
        loop {
            if cursor.left == 0 {
                return Ok(None);
            }
            let closed = changes.borrow_and_update().closed;
            let mut bytes = cursor.take_written().await?;
            if !bytes.is_empty() {
                bytes.truncate(usize::try_from(cursor.left).unwrap_or(usize::MAX));
                cursor.left -= u64::try_from(bytes.len()).unwrap_or(cursor.left);
                return Ok(Some((bytes, (cursor, changes))));
            }
            if closed || changes.changed().await.is_err() {
                return Ok(None);
            }
        }
    })
}

async fn append(bytes: &mut Vec<u8>, path: &Path, skip: u64, limit: u64) -> std::io::Result<()> {
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    file.seek(std::io::SeekFrom::Start(skip)).await?;
    file.take(limit).read_to_end(bytes).await?;
    Ok(())
}

/// Where the last `lines` lines begin.
fn tail_start(bytes: &[u8], lines: u64) -> usize {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if lines == 0 {
        return bytes.len();
    }
    let breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let nth = usize::try_from(lines - 1).unwrap_or(usize::MAX);
    breaks.map(|(index, _)| index + 1).nth(nth).unwrap_or(0)
}

#[cfg(test)]
mod tests;

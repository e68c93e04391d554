//! Logs of a role: to stderr or a file, one line an event, filtered by `KRUNTIMES_LOG` or the given default.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// Installs the process's log writer. A second call changes nothing.
pub fn install(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        // It would print to the same stderr and panic there: a full disk below a log file must stop nobody.
        .log_internal_errors(false)
        .finish();
    // The first subscriber stays: a test may have installed its own.
    drop(tracing::subscriber::set_global_default(subscriber));
}

/// Installs a log writer that appends to the file at `path`. When the file has grown to `limit_bytes`, what it holds
/// moves to `<path>.old`: both together never hold more than twice that and one line.
///
/// # Errors
/// The file can't be opened.
pub fn install_in_file(filter: &str, path: &Path, limit_bytes: u64) -> io::Result<()> {
    let writer = LogFile::open(path, limit_bytes)?;
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(())
}

/// A log file that stays small.
#[derive(Debug, Clone)]
struct LogFile {
    file: Arc<File>,
    old: PathBuf,
    path: PathBuf,
    limit_bytes: u64,
}

impl LogFile {
    fn open(path: &Path, limit_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        let (old, path) = (PathBuf::from(old), path.to_owned());
        Ok(Self { file: Arc::new(file), old, path, limit_bytes })
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.file.metadata()?.len() >= self.limit_bytes {
            // Whoever else has the file open, as stderr, goes on with the same one.
            std::fs::copy(&self.path, &self.old)?;
            self.file.set_len(0)?;
        }
        (&*self.file).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_keeps_the_last_lines_within_its_limit() {
        let path = std::env::temp_dir().join(format!("kruntimes-log-{}", std::process::id()));
        let mut log = LogFile::open(&path, 100).unwrap();
        for number in 0..100 {
            writeln!(log, "line {number}").unwrap();
        }
        let old = std::fs::read_to_string(&log.old).unwrap();
        let new = std::fs::read_to_string(&path).unwrap();
        for file in [&log.old, &path] {
            std::fs::remove_file(file).unwrap();
        }
        assert!(old.len() + new.len() <= 220, "{} {}", old.len(), new.len());
        assert!((old + &new).ends_with("line 98\nline 99\n"));
    }
}

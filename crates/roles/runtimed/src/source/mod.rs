//! Git sources, fetched by the git CLI into a directory that no Run can reach, then put into the workspace.
//!
//! git reads its hooks and settings from the directory that it works in, with runtimed's rights: a Run that could write
//! there would have them. So a source is whole before the first byte of it is in a workspace.

mod place;
mod process;

use kruntimes_api::limits;
use kruntimes_confine::Limits;
use kruntimes_daemon::remove_tree;
use kruntimes_rules::source::listing::{Listing, ListingError};
use kruntimes_rules::source::{
    GitSource, Step, explain, git, must_fetch_all, out_of_time, too_large,
};
use process::{Discard, Ended, Failure, Output};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub(crate) use place::place;

/// Fetches at once: each may take [`MEMORY_BYTES`] of the container's memory.
const AT_ONCE: usize = 4;
/// Memory of one git process.
const MEMORY_BYTES: u64 = 128 << 20;

/// Where git is looked for unless the environment says otherwise.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What the platform engineer says about sources.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceConfig {
    /// Seconds that fetching a Git source may take.
    #[arg(long, env = SourceConfig::TIMEOUT, default_value_t = limits::SOURCE_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub source_timeout_seconds: u64,
    /// Bytes that the files and the history of a Git source may have.
    #[arg(long, env = SourceConfig::MAX_BYTES, default_value_t = limits::SOURCE_BYTES, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub source_max_bytes: u64,
    /// PEM file with the certificate authorities of Git servers, instead of the system's.
    #[arg(long, env = SourceConfig::CA_BUNDLE, value_parser = path)]
    pub source_ca_bundle: Option<PathBuf>,
    /// Where git is found.
    #[arg(long, env = "PATH", default_value = SEARCH_PATH, hide = true)]
    pub source_search_path: String,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            source_timeout_seconds: limits::SOURCE_SECONDS,
            source_max_bytes: limits::SOURCE_BYTES,
            source_ca_bundle: None,
            source_search_path: SEARCH_PATH.to_owned(),
        }
    }
}

impl SourceConfig {
    /// Names [`Self::source_timeout_seconds`] in the environment.
    pub const TIMEOUT: &str = "KRUNTIMES_SOURCE_TIMEOUT_SECONDS";
    /// Names [`Self::source_max_bytes`] in the environment.
    pub const MAX_BYTES: &str = "KRUNTIMES_SOURCE_MAX_BYTES";
    /// Names [`Self::source_ca_bundle`] in the environment.
    pub const CA_BUNDLE: &str = "KRUNTIMES_SOURCE_CA_BUNDLE";
    /// All that a home passes on to its pods.
    pub const VARIABLES: [&str; 3] = [Self::TIMEOUT, Self::MAX_BYTES, Self::CA_BUNDLE];
}

/// An empty one is none: a variable may be set to nothing.
fn path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

/// Why a source was not fetched: a sentence for the status of its Run.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    Refused(String),
    #[error("git clone: not wanted any more")]
    Stopped,
    #[error("git clone: git is not installed in this pod")]
    NoGit,
    #[error("git clone: the repository has {0}")]
    Listing(ListingError),
    #[error("git clone: {what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

/// Fetches the sources of this pod.
#[derive(Debug)]
pub(crate) struct Sources {
    root: PathBuf,
    config: SourceConfig,
    slots: Semaphore,
}

/// A source that was fetched, in a directory that goes with this.
#[derive(Debug)]
pub(crate) struct Fetched {
    directory: PathBuf,
}

impl Sources {
    /// Fetches below `control`; what an earlier life left there is removed.
    pub(crate) fn open(control: &Path, config: SourceConfig) -> io::Result<Self> {
        let root = control.join("sources");
        remove_tree(&root)?;
        fs::create_dir_all(&root)?;
        Ok(Self { root, config, slots: Semaphore::new(AT_ONCE) })
    }

    /// Fetches `source` for the Run of that UID, until `stop`. When this fails nothing of it is left, file or process.
    pub(crate) async fn fetch(
        &self,
        uid: &str,
        source: &GitSource,
        stop: &Stop,
    ) -> Result<Fetched, FetchError> {
        let _slot = tokio::select! {
            slot = self.slots.acquire() => slot,
            () = stop.wait() => return Err(FetchError::Stopped),
        };
        let fetched = Fetched { directory: self.root.join(uid) };
        fs::create_dir(&fetched.directory)
            .map_err(|source| FetchError::Io { what: "mkdir", source })?;
        let limit = Duration::from_secs(self.config.source_timeout_seconds);
        let fetching = Fetching {
            source,
            directory: &fetched.directory,
            config: &self.config,
            until: Instant::now() + limit,
            stop,
        };
        match fetching.all().await {
            Ok(()) => Ok(fetched),
            Err(error) => {
                off_thread(move || drop(fetched)).await;
                Err(error)
            }
        }
    }
}

/// Says when a fetch is not wanted any more: when its other half is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Stop(pub(crate) watch::Receiver<()>);

impl Stop {
    /// Resolves when it is to stop.
    pub(crate) async fn wait(&self) {
        let mut dropped = self.0.clone();
        while dropped.changed().await.is_ok() {}
    }
}

/// Runs what takes its time on the disk; `None` when it panicked.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

impl Fetched {
    /// The directory that is to be put into the workspace.
    pub(crate) fn repository(&self) -> PathBuf {
        self.directory.join(git::DIRECTORY)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.directory) {
            // The next start of this pod's runtimed removes it.
            tracing::warn!(%error, "a fetched source could not be removed");
        }
    }
}

/// One fetch.
#[derive(Debug)]
struct Fetching<'a> {
    source: &'a GitSource,
    directory: &'a Path,
    config: &'a SourceConfig,
    until: Instant,
    stop: &'a Stop,
}

impl Fetching<'_> {
    async fn all(&self) -> Result<(), FetchError> {
        self.must(Step::Fetch, git::init()).await?;
        self.must(Step::Fetch, git::remember(self.source)).await?;
        self.transfer().await?;
        let history = self.size().await?;
        self.list(self.config.source_max_bytes.saturating_sub(history)).await?;
        self.must(Step::Checkout, git::checkout(self.source)).await?;
        // Attributes of the repository may have made its files longer than their listing said.
        self.size().await.map(drop)
    }

    async fn transfer(&self) -> Result<(), FetchError> {
        let ended = self.run(git::fetch(self.source), &mut Discard).await?;
        if ended.success || !must_fetch_all(self.source.revision(), &ended.printed) {
            return self.judge(Step::Fetch, &ended).await;
        }
        self.must(Step::Fetch, git::fetch_all(self.source)).await
    }

    async fn list(&self, bytes_left: u64) -> Result<(), FetchError> {
        let mut files = Files { listing: Listing::new(bytes_left), error: None };
        let ended = self.run(git::list(self.source), &mut files).await?;
        match files.error {
            None => self.judge(Step::Fetch, &ended).await,
            Some(ListingError::Bytes) => Err(self.too_large()),
            Some(error) => Err(FetchError::Listing(error)),
        }
    }

    async fn must(&self, step: Step, words: Vec<String>) -> Result<(), FetchError> {
        let ended = self.run(words, &mut Discard).await?;
        self.judge(step, &ended).await
    }

    async fn judge(&self, step: Step, ended: &Ended) -> Result<(), FetchError> {
        if ended.success {
            return Ok(());
        }
        // A file that reached the limit was cut there, and its writer killed.
        self.size().await?;
        let why = explain(step, self.source.revision(), &ended.printed, &ended.how);
        Err(FetchError::Refused(why))
    }

    /// Runs git, for what is left of the time.
    async fn run(&self, words: Vec<String>, output: &mut impl Output) -> Result<Ended, FetchError> {
        let config = self.config;
        let environment = git::environment(
            self.directory,
            &config.source_search_path,
            config.source_ca_bundle.as_deref().filter(|path| !path.as_os_str().is_empty()),
        );
        let command = process::Command {
            words,
            environment,
            directory: self.directory,
            // One byte more than allowed tells a file that is too large from one that just fits.
            limits: Limits { file_bytes: config.source_max_bytes + 1, memory_bytes: MEMORY_BYTES },
        };
        process::run(command, output, self.until, self.stop).await.map_err(
            |failure| match failure {
                Failure::Late => {
                    let limit = Duration::from_secs(config.source_timeout_seconds);
                    FetchError::Refused(out_of_time(limit))
                }
                Failure::Stopped => FetchError::Stopped,
                Failure::Missing => FetchError::NoGit,
                Failure::Io(source) => FetchError::Io { what: "git", source },
            },
        )
    }

    /// The bytes of all regular files so far; an error above the limit.
    async fn size(&self) -> Result<u64, FetchError> {
        let limit = self.config.source_max_bytes;
        let path = self.directory.join(git::DIRECTORY);
        match off_thread(move || place::size(&path, limit)).await {
            Some(Ok(Some(bytes))) => Ok(bytes),
            Some(Ok(None)) => Err(self.too_large()),
            Some(Err(source)) => Err(FetchError::Io { what: "the size can't be read", source }),
            None => Err(FetchError::Io { what: "the size", source: io::ErrorKind::Other.into() }),
        }
    }

    fn too_large(&self) -> FetchError {
        FetchError::Refused(too_large(self.config.source_max_bytes))
    }
}

/// Reads a listing until it is refused.
struct Files {
    listing: Listing,
    error: Option<ListingError>,
}

impl Output for Files {
    fn read(&mut self, piece: &[u8]) -> bool {
        self.error = self.listing.read(piece).err();
        self.error.is_none()
    }
}

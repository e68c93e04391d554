//! A store in a bucket: `[<prefix>/]namespaces/<namespace>/runs/<uid>/<name>`.
//!
//! Every request has a timeout and a bounded number of retries, and whoever waits for one can be told to stop. An object is
//! there whole or not at all; what a process that was killed has begun is invisible until it is aborted (`cut_off`).

pub(crate) mod credentials;
mod cut_off;
mod executor;
#[cfg(test)]
mod fake;
mod fault;
mod read;
pub(crate) mod sweep;
#[cfg(test)]
mod sweep_tests;
#[cfg(test)]
mod tests;
mod upload;

use crate::KeepError;
use crate::keep::Stop;
use crate::store::{Artifact, Place, UNWRITTEN};
use crate::volume::LOGS;
use credentials::Credentials;
use executor::executor;
use fault::Fault;
use futures::{StreamExt, TryStreamExt};
use kruntimes_api::S3Store;
use kruntimes_rules::artifact::{check_name, given, key_prefix};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use read::Object;
use std::collections::BTreeSet;
use std::future::{Future, ready};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval, sleep_until};
use upload::Upload;

/// Bytes of a part where the store says nothing.
const PART_BYTES: usize = 5 << 20;
/// Parts of one artifact at once where the store says nothing.
const PARTS_AT_ONCE: usize = 2;
/// MiB of all parts that are in memory at once.
const MEMORY_MIB: usize = 32;
/// How long the parts of an upload that is given up may take to go.
const ABANDONED_WITHIN: Duration = Duration::from_secs(10);
/// How often somebody who may have to stop is asked for it while the store does not answer.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// What bounds the use of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// One request. A part must have gone in it.
    pub(crate) request: Duration,
    /// No retry begins later than that after the first try.
    pub(crate) retries_within: Duration,
    /// The upload of one artifact, the removal of a Run's.
    pub(crate) whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(120),
            retries_within: Duration::from_secs(60),
            whole: Duration::from_mins(20),
        }
    }
}

/// A bucket with artifacts.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// What it is reached by, or why it can't be.
    client: Result<Arc<AmazonS3>, String>,
    name: String,
    prefix: Option<String>,
    part_bytes: usize,
    parts_at_once: usize,
    memory: Arc<Semaphore>,
    limits: Limits,
    options: Arc<ClientOptions>,
    /// What its objects say of whose they are.
    cluster: Option<String>,
}

impl Bucket {
    pub(crate) fn new(
        store: &S3Store,
        credentials: Credentials,
        limits: Limits,
        cluster: Option<String>,
    ) -> Self {
        let size = store.upload_part_size.and_then(|size| usize::try_from(size).ok());
        let options = options(store, &limits);
        let at_once = store.upload_concurrency.and_then(|count| usize::try_from(count).ok());
        Self {
            client: client(store, credentials, &limits, &options).map(Arc::new),
            name: store.bucket.clone(),
            prefix: given(&store.prefix).map(str::to_owned),
            part_bytes: size.map_or(PART_BYTES, |size| size.clamp(PART_BYTES, MEMORY_MIB << 20)),
            parts_at_once: at_once.unwrap_or(PARTS_AT_ONCE).max(1),
            memory: Arc::new(Semaphore::new(MEMORY_MIB)),
            limits,
            options: Arc::new(options),
            cluster,
        }
    }

    /// The same bucket, with what is kept of logs.
    pub(crate) fn logs(&self) -> Self {
        let prefix =
            self.prefix.as_ref().map_or_else(|| LOGS.to_owned(), |all| format!("{all}/{LOGS}"));
        Self { prefix: Some(prefix), ..self.clone() }
    }

    fn client(&self) -> io::Result<Arc<AmazonS3>> {
        self.client.clone().map_err(io::Error::other)
    }

    /// What all keys of a Run begin with.
    fn own(&self, place: Place<'_>) -> io::Result<Path> {
        for part in [place.namespace, place.run_uid] {
            check_name(part.as_bytes()).map_err(io::Error::other)?;
        }
        let prefix = key_prefix(self.prefix.as_deref(), place.namespace, place.run_uid);
        Path::parse(prefix).map_err(io::Error::other)
    }

    fn key(&self, place: Place<'_>, name: &str) -> io::Result<Path> {
        check_name(name.as_bytes()).map_err(io::Error::other)?;
        Path::parse(format!("{}/{name}", self.own(place)?)).map_err(io::Error::other)
    }

    pub(crate) fn put(
        &self,
        place: Place<'_>,
        artifact: Artifact<'_>,
        stop: &Stop,
        write: impl FnOnce(&mut dyn Write) -> Result<(), KeepError>,
    ) -> Result<(), KeepError> {
        let mut upload =
            Upload::new(self, place, artifact, stop).map_err(KeepError::store(UNWRITTEN))?;
        let written = write(&mut upload).and_then(|()| {
            upload.finish().map_err(|error| match stop.is_fired() {
                true => KeepError::Stopped,
                false => KeepError::store(UNWRITTEN)(error),
            })
        });
        if written.is_err() {
            upload.abandon();
        }
        written
    }

    pub(crate) fn open(&self, place: Place<'_>, name: &str, stop: &Stop) -> io::Result<Object> {
        let (client, key) = (self.client()?, self.key(place, name)?);
        let head = self.wait(Some(stop), self.deadline(), client.head(&key))?;
        Ok(Object::new(self.clone(), client, key, head.size, stop.clone()))
    }

    pub(crate) fn retain(
        &self,
        place: Place<'_>,
        names: &BTreeSet<String>,
        stop: &Stop,
    ) -> io::Result<()> {
        let (client, own) = (self.client()?, self.own(place)?);
        let stays: BTreeSet<Path> =
            names.iter().map(|name| self.key(place, name)).collect::<io::Result<_>>()?;
        let removing = async {
            let found = client.list(Some(&own)).map_ok(|object| object.location);
            let others = found.try_filter(move |key| ready(!stays.contains(key))).boxed();
            let removed = client.delete_stream(others).filter(|removed| {
                // Some stores say so of what is gone already: the others are removed all the same.
                ready(!matches!(removed, Err(object_store::Error::NotFound { .. })))
            });
            removed.try_for_each(|_| async { Ok(()) }).await
        };
        match self.wait(Some(stop), self.deadline(), removing) {
            // With the bucket all went that was in it.
            Err(error) if fault::is_without_bucket(&error) => Ok(()),
            removed => removed,
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.whole
    }

    /// For what only tidies up: somebody waits for the end of it.
    fn deadline_of_abandoning(&self) -> Instant {
        Instant::now() + self.limits.whole.min(ABANDONED_WITHIN)
    }

    /// Waits for an answer, until `deadline` and until it is to stop.
    fn wait<T>(
        &self,
        stop: Option<&Stop>,
        deadline: Instant,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        executor()?.block_on(async {
            tokio::select! {
                answer = answer => answer.map_err(|error| Fault::of(&self.name, &error).into()),
                () = stopped(stop) => Err(io::Error::other("stopped")),
                () = sleep_until(deadline) => Err(Fault::late(self.limits.whole).into()),
            }
        })
    }
}

async fn stopped(stop: Option<&Stop>) {
    let Some(stop) = stop else { return std::future::pending().await };
    let mut ticks = interval(ASKED_EVERY);
    while !stop.is_fired() {
        ticks.tick().await;
    }
}

fn endpoint(store: &S3Store) -> Option<&str> {
    given(&store.endpoint).map(|endpoint| endpoint.trim_end_matches('/'))
}

fn is_plain(store: &S3Store) -> bool {
    endpoint(store).is_some_and(|endpoint| endpoint.starts_with("http://"))
}

fn options(store: &S3Store, limits: &Limits) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(is_plain(store))
        .with_timeout(limits.request)
        .with_connect_timeout(limits.request.min(Duration::from_secs(10)))
}

fn client(
    store: &S3Store,
    credentials: Credentials,
    limits: &Limits,
    options: &ClientOptions,
) -> Result<AmazonS3, String> {
    let path_style = store.force_path_style == Some(true);
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(5),
        base: 2.0,
    };
    let retry = RetryConfig { backoff, max_retries: 3, retry_timeout: limits.retries_within };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&store.bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(options.clone())
        .with_retry(retry)
        // Others than AWS may not know it, and a Run has few artifacts.
        .with_disable_bulk_delete(true)
        // TLS guards what is sent as well as a signature of it does.
        .with_unsigned_payload(!is_plain(store));
    if let Some(endpoint) = endpoint(store) {
        builder = builder.with_endpoint(match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{}.{host}", store.bucket),
            Some(_) | None => endpoint.to_owned(),
        });
    }
    builder = credentials.give(builder)?;
    if let Some(region) = given(&store.region) {
        builder = builder.with_region(region);
    }
    builder.build().map_err(|error| error.to_string())
}

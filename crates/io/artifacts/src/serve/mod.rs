//! What Runs have left, given out over gRPC: artifacts by `artifact.v1.ArtifactService`, archived logs as `RuntimeEvents`.
//!
//! The Run is read live: what it does not refer to is not given out. What is read is held against size and digest, so that
//! no reader takes a broken artifact for a whole one.

mod logs;
mod token;

pub use logs::{ATTEMPT_METADATA, RUN_METADATA, awaited_attempt, wire};
pub use token::Token;

use crate::{Opened, Place, Stop, Store};
use futures::stream::BoxStream;
use kruntimes_api::{ArtifactRef, Run};
use kruntimes_proto::OFFSET_METADATA;
use kruntimes_proto::artifact::v1::artifact_service_server::ArtifactService;
use kruntimes_proto::artifact::v1::{ArtifactMetadata, DownloadRequest, DownloadResponse};
use kruntimes_rules::artifact;
use kube::Api;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Bytes of one frame.
const FRAME: usize = 65_536;
/// Frames that wait for a slow reader.
const AHEAD: usize = 4;
/// A reader that takes none for so long has gone.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// Readers at once: each takes a thread, and a file or a mebibyte of an object.
const AT_ONCE: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought {
    /// Something that the Run refers to.
    Artifact,
    /// The log of an attempt.
    Log,
}

/// Which Runs something is given out of, and where it is.
#[tonic::async_trait]
pub trait Shelf: std::fmt::Debug + Send + Sync + 'static {
    /// The Runs of a namespace.
    ///
    /// # Errors
    /// Nothing of it is given out here.
    fn runs(&self, namespace: &str) -> Result<Api<Run>, Status>;

    /// Whether something of this Run is given out here.
    ///
    /// # Errors
    /// It is not.
    fn admit(&self, run: &Run) -> Result<(), Status>;

    /// The store that has what this Run has left.
    ///
    /// # Errors
    /// It is none that is given out from here.
    async fn store(&self, run: &Run, sought: Sought) -> Result<Store, Status>;
}

/// Gives it out, to who has the token. Without one, to all who reach it.
#[derive(Debug, Clone)]
pub struct Handout {
    shelf: Arc<dyn Shelf>,
    token: Option<Token>,
    slots: Arc<Semaphore>,
}

impl Handout {
    /// To a few at once.
    #[must_use]
    pub fn new(shelf: Arc<dyn Shelf>, token: Option<Token>) -> Self {
        Self { shelf, token, slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.token.as_ref().map_or(Ok(()), |token| token.check(request))
    }

    async fn find(&self, namespace: &str, name: &str) -> Result<Run, Status> {
        let found = self.shelf.runs(namespace)?.get_opt(name).await;
        let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
        let run = found.ok_or_else(|| Status::not_found(format!("there is no Run {name}")))?;
        self.shelf.admit(&run)?;
        Ok(run)
    }

    fn slot(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            let why =
                format!("{AT_ONCE} downloads are under way through this pod: try again later");
            Status::resource_exhausted(why)
        })
    }
}

/// Has `send` offer what it has, in a thread of its own, to whoever reads the stream.
fn stream_of<T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    send: impl FnOnce(&dyn Fn(T) -> bool) -> Result<(), Status> + Send + 'static,
) -> BoxStream<'static, Result<T, Status>> {
    let (sender, frames) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    spawn_blocking(move || {
        let offer = |frame| runtime.block_on(sender.send_timeout(frame, TAKEN_WITHIN)).is_ok();
        if let Err(status) = send(&|frame| offer(Ok(frame))) {
            // Who does not listen any more needs no answer.
            offer(Err(status));
        }
        drop(slot);
    });
    Box::pin(ReceiverStream::new(frames))
}

#[tonic::async_trait]
impl ArtifactService for Handout {
    type DownloadStream = BoxStream<'static, Result<DownloadResponse, Status>>;

    async fn download(
        &self,
        request: Request<DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        self.check(&request)?;
        let offset = offset(&request)?;
        let DownloadRequest { namespace, run_name, artifact_name } = request.into_inner();
        for (field, value) in
            [("namespace", &namespace), ("run_name", &run_name), ("artifact_name", &artifact_name)]
        {
            if value.is_empty() {
                return Err(Status::invalid_argument(format!("{field} must be given")));
            }
        }
        let run = self.find(&namespace, &run_name).await?;
        let found = reference(&run, &artifact_name)?;
        let store = self.shelf.store(&run, Sought::Artifact).await?;
        if offset > u64::try_from(found.size_bytes).unwrap_or_default() {
            return Err(Status::invalid_argument("the offset is behind the end of the artifact"));
        }
        let slot = self.slot()?;
        let uid = run.metadata.uid.unwrap_or_default();
        let opened = spawn_blocking(move || {
            store.open(Place::of(&namespace, &uid), &artifact_name, &Stop::default())
        });
        let opened = opened.await.map_err(|error| Status::internal(error.to_string()))?;
        let opened = opened.map_err(|error| {
            Status::internal(format!("the artifact can't be read from its store: {error}"))
        })?;
        let frames = stream_of(slot, move |offer| send(opened, &found, offset, offer));
        let mut response = Response::new(frames);
        response.metadata_mut().insert(OFFSET_METADATA, offset.into());
        Ok(response)
    }
}

/// Where the first frame begins: one who has the beginning already says so.
fn offset(request: &Request<DownloadRequest>) -> Result<u64, Status> {
    let Some(value) = request.metadata().get(OFFSET_METADATA) else { return Ok(0) };
    value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Status::invalid_argument(format!("metadata {OFFSET_METADATA} must be a number of bytes"))
    })
}

fn reference(run: &Run, name: &str) -> Result<ArtifactRef, Status> {
    let refs = run.status.iter().flat_map(|status| &status.artifact_refs);
    let found = refs.into_iter().find(|artifact| artifact.name == name).cloned();
    found.ok_or_else(|| Status::not_found(format!("the Run has no artifact {name:?}")))
}

fn send(
    opened: Opened,
    artifact: &ArtifactRef,
    offset: u64,
    offer: &dyn Fn(DownloadResponse) -> bool,
) -> Result<(), Status> {
    let broken = |what: &str| Status::data_loss(format!("{:?} is broken: {what}", artifact.name));
    let unreadable =
        |error: std::io::Error| Status::internal(format!("the artifact can't be read: {error}"));
    let size = u64::try_from(artifact.size_bytes).unwrap_or_default();
    if opened.size != size {
        return Err(broken("its size is not what was kept"));
    }
    let metadata = ArtifactMetadata {
        name: artifact.name.clone(),
        r#type: artifact.kind.as_str().to_owned(),
        content_type: artifact.content_type.clone().unwrap_or_default(),
        size_bytes: artifact.size_bytes,
        digest: artifact.digest.clone().unwrap_or_default(),
    };
    if !offer(DownloadResponse { metadata: Some(metadata), data: Vec::new() }) {
        return Ok(());
    }
    let mut hash = artifact::Hash::new();
    let mut source = opened.bytes.take(size);
    let (mut held, mut position): (Option<Vec<u8>>, u64) = (None, 0);
    loop {
        let mut data = vec![0; FRAME];
        let length = fill(&mut source, &mut data).map_err(unreadable)?;
        data.truncate(length);
        hash.update(&data);
        if length == 0 {
            break;
        }
        let known = offset.saturating_sub(position).min(length as u64);
        position += length as u64;
        data.drain(..usize::try_from(known).unwrap_or(length));
        if data.is_empty() {
            continue;
        }
        // The last frame waits for the digest: without it nobody has the whole.
        if let Some(data) = held.replace(data)
            && !offer(DownloadResponse { metadata: None, data })
        {
            return Ok(());
        }
    }
    if artifact.digest.as_deref() != Some(hash.finish().as_str()) {
        return Err(broken("its digest is not what was kept"));
    }
    if let Some(data) = held {
        offer(DownloadResponse { metadata: None, data });
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

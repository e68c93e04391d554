//! Port 9093: the artifacts of the Runs of this pod's Runtime, from its store, whichever pod has executed them.
//!
//! The Run is read live: what it does not refer to is not given out. What is read is held against size and digest, so that
//! no reader takes a broken artifact for a whole one.

use crate::artifacts::Artifacts;
use crate::token::Token;
use futures::stream::BoxStream;
use kruntimes_api::{ArtifactRef, Run};
use kruntimes_artifacts::{Opened, Place, Stop};
use kruntimes_proto::artifact::v1::artifact_service_server::ArtifactService;
use kruntimes_proto::artifact::v1::{ArtifactMetadata, DownloadRequest, DownloadResponse};
use kruntimes_rules::artifact;
use kube::Api;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
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
pub(crate) const AT_ONCE: usize = 16;

/// What is served.
#[derive(Debug, Clone)]
pub(crate) struct Downloads {
    pub(crate) runs: Api<Run>,
    pub(crate) namespace: String,
    pub(crate) runtime: String,
    pub(crate) artifacts: Option<Artifacts>,
    pub(crate) token: Token,
    pub(crate) slots: Arc<Semaphore>,
}

#[tonic::async_trait]
impl ArtifactService for Downloads {
    type DownloadStream = BoxStream<'static, Result<DownloadResponse, Status>>;

    async fn download(
        &self,
        request: Request<DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        self.token.check(&request)?;
        let DownloadRequest { namespace, run_name, artifact_name } = request.into_inner();
        for (field, value) in
            [("namespace", &namespace), ("run_name", &run_name), ("artifact_name", &artifact_name)]
        {
            if value.is_empty() {
                return Err(Status::invalid_argument(format!("{field} must be given")));
            }
        }
        let artifacts = self.artifacts.clone().ok_or_else(|| {
            Status::failed_precondition("the Runtime of this pod has no artifact store")
        })?;
        if namespace != self.namespace {
            return Err(Status::permission_denied("this pod serves its own namespace alone"));
        }
        let run = self.find(&run_name).await?;
        let found = self.check(&run, &artifact_name, &artifacts)?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            let why =
                format!("{AT_ONCE} downloads are under way through this pod: try again later");
            Status::resource_exhausted(why)
        })?;
        let uid = run.metadata.uid.unwrap_or_default();
        let (sender, frames) = mpsc::channel(AHEAD);
        let name = artifact_name.clone();
        let opened = spawn_blocking(move || {
            artifacts.store.open(Place::of(&namespace, &uid), &name, &Stop::default())
        });
        let opened = opened.await.map_err(|error| Status::internal(error.to_string()))?;
        let opened = opened.map_err(|error| {
            Status::internal(format!("the artifact can't be read from its store: {error}"))
        })?;
        let runtime = Handle::current();
        spawn_blocking(move || {
            let offer = |frame| {
                let taken = sender.send_timeout(frame, TAKEN_WITHIN);
                runtime.block_on(taken).is_ok()
            };
            if let Err(status) = send(opened, &found, offer) {
                // Who does not listen any more needs no answer.
                offer(Err(status));
            }
            drop(slot);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(frames))))
    }
}

impl Downloads {
    async fn find(&self, name: &str) -> Result<Run, Status> {
        let found = self.runs.get_opt(name).await;
        let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
        let run = found.ok_or_else(|| Status::not_found(format!("there is no Run {name}")))?;
        if run.spec.runtime != self.runtime {
            return Err(Status::permission_denied(format!("{name} is no Run of this Runtime")));
        }
        Ok(run)
    }

    fn check(&self, run: &Run, name: &str, artifacts: &Artifacts) -> Result<ArtifactRef, Status> {
        let status = run.status.as_ref();
        let refs = status.into_iter().flat_map(|status| &status.artifact_refs);
        let found = refs.into_iter().find(|artifact| artifact.name == name).cloned();
        let found =
            found.ok_or_else(|| Status::not_found(format!("the Run has no artifact {name:?}")))?;
        if status.and_then(|status| status.artifact_store.as_ref()) != Some(&artifacts.named) {
            return Err(Status::failed_precondition(
                "the artifact is in another store than the Runtime has now",
            ));
        }
        Ok(found)
    }
}

fn send(
    opened: Opened,
    artifact: &ArtifactRef,
    offer: impl Fn(Result<DownloadResponse, Status>) -> bool,
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
    let listens = |frame| offer(Ok(frame));
    if !listens(DownloadResponse { metadata: Some(metadata), data: Vec::new() }) {
        return Ok(());
    }
    let mut hash = artifact::Hash::new();
    let mut source = opened.bytes.take(size);
    let mut held: Option<Vec<u8>> = None;
    loop {
        let mut data = vec![0; FRAME];
        let length = fill(&mut source, &mut data).map_err(unreadable)?;
        data.truncate(length);
        hash.update(&data);
        if length == 0 {
            break;
        }
        // The last frame waits for the digest: without it nobody has the whole.
        if let Some(data) = held.replace(data)
            && !listens(DownloadResponse { metadata: None, data })
        {
            return Ok(());
        }
    }
    if artifact.digest.as_deref() != Some(hash.finish().as_str()) {
        return Err(broken("its digest is not what was kept"));
    }
    if let Some(data) = held {
        listens(DownloadResponse { metadata: None, data });
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

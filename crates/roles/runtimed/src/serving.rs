//! Port 9093: the status and the output of the newest attempt of each Run, from the spool, also after its end.
//!
//! `artifact.v1.ArtifactService`, `executor.v1.Runtime` with Status alone, and `RuntimeEvents.Watch` of one Run, named by metadata `kruntimes-run`;
//! with `kruntimes-attempt` of no attempt before that one; with `kruntimes-archive` from the store, of the attempt itself.

use crate::spool::{Frame, Log, Next, Reader, Spool, Stage, Stream};
use futures::stream::BoxStream;
use jiff::Timestamp;
use kruntimes_artifacts::serve::{Handout, RUN_METADATA, Token, awaited_attempt, wire};
use kruntimes_proto::ARCHIVE_METADATA;
use kruntimes_proto::artifact::v1::artifact_service_server::ArtifactServiceServer;
use kruntimes_proto::executor::v1::execution_event::Event as Wire;
use kruntimes_proto::executor::v1::runtime_events_server::{RuntimeEvents, RuntimeEventsServer};
use kruntimes_proto::executor::v1::runtime_server::{Runtime, RuntimeServer};
use kruntimes_proto::executor::v1::{
    CancelRequest, CancelResponse, ExecuteRequest, ExecuteResponse, ExecutionEvent,
    ExecutionStarted, ExecutionState, ForgetRequest, ForgetResponse, HealthRequest, HealthResponse,
    ListRequest, ListResponse, RenewRequest, RenewResponse, StatusRequest, StatusResponse,
    WatchRequest,
};
use kruntimes_rules::run::outcome::Outcome;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Streams of one connection at once.
const STREAMS: u32 = 256;

/// What port 9093 serves.
#[derive(Debug, Clone)]
struct Logs {
    spool: Spool,
    token: Token,
    handout: Handout,
}

/// Serves for ever. Readers that follow a Run are cut when this is dropped: their pod is gone.
pub(crate) async fn serve(listener: TcpListener, spool: Spool, token: Token, handout: Handout) {
    let logs = Logs { spool, token, handout: handout.clone() };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .add_service(RuntimeServer::new(logs.clone()))
        .add_service(RuntimeEventsServer::new(logs))
        .add_service(ArtifactServiceServer::new(handout))
        .serve_with_incoming(incoming);
    if let Err(error) = served.await {
        tracing::error!(%error, "the server of logs failed");
    }
}

impl Logs {
    fn find(&self, uid: &str) -> Result<Arc<Log>, Status> {
        self.spool.find(uid).ok_or_else(|| Status::not_found("no such Run on this pod"))
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("runtimed serves Status and Watch alone"))
}

#[tonic::async_trait]
impl Runtime for Logs {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.token.check(&request)?;
        let id = request.into_inner().id;
        let log = self.find(&id)?;
        let (stdout, stderr) = contents(&log).map_err(|error| unreadable(&error))?;
        let exit = log.exit();
        let state = match (&exit, log.stage()) {
            (Some(exit), _) if Outcome::from_exit(exit, None) == Outcome::succeeded() => {
                ExecutionState::Succeeded
            }
            (Some(_), _) | (None, Stage::Ended) => ExecutionState::Failed,
            (None, Stage::Started) => ExecutionState::Running,
            (None, Stage::Waiting) => ExecutionState::Pending,
        };
        let exit = exit.unwrap_or_default();
        Ok(Response::new(StatusResponse {
            id,
            state: state.into(),
            exit_code: if exit.signal > 0 { -1 } else { exit.exit_code },
            stdout,
            stderr,
            error_message: exit.error_message,
        }))
    }

    async fn execute(
        &self,
        _: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        not_here()
    }
    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        not_here()
    }
    async fn cancel(&self, _: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        not_here()
    }
    async fn forget(&self, _: Request<ForgetRequest>) -> Result<Response<ForgetResponse>, Status> {
        not_here()
    }
    async fn health(&self, _: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        not_here()
    }
}

#[tonic::async_trait]
impl RuntimeEvents for Logs {
    type WatchStream = BoxStream<'static, Result<ExecutionEvent, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if request.metadata().contains_key(ARCHIVE_METADATA) {
            return self.handout.archived(&request).await;
        }
        self.token.check(&request)?;
        let named = request.metadata().get(RUN_METADATA).and_then(|value| value.to_str().ok());
        let uid = named.ok_or_else(|| {
            Status::invalid_argument(format!("metadata {RUN_METADATA} must hold a Run's UID"))
        })?;
        let log = self.find(uid)?;
        if log.is_before(awaited_attempt(&request)?) {
            return Err(Status::not_found("the attempt has not begun on this pod"));
        }
        let resume_after = request.get_ref().resume_after;
        let follow =
            Follow { uid: uid.to_owned(), reader: log.reader(), sequence: 0, started: false };
        let events = futures::stream::unfold(follow, |mut follow| async {
            let event = follow.next().await.transpose()?;
            Some((event, follow))
        });
        let events = futures::StreamExt::filter(events, move |event| {
            let old = event.as_ref().is_ok_and(|event| event.sequence <= resume_after);
            std::future::ready(!old)
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        not_here()
    }
}

struct Follow {
    uid: String,
    reader: Reader,
    sequence: i64,
    started: bool,
}

impl Follow {
    async fn next(&mut self) -> Result<Option<ExecutionEvent>, Status> {
        loop {
            if !self.started && self.reader.stage() != Stage::Waiting {
                self.started = true;
                let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
                return Ok(Some(self.event((now, Wire::Started(ExecutionStarted {})))));
            }
            match self.reader.try_next().map_err(|error| unreadable(&error))? {
                Next::Frame(frame) => return Ok(Some(self.event(wire(frame)))),
                Next::End => return Ok(None),
                Next::Later => self.reader.wait().await,
            }
        }
    }

    fn event(&mut self, (time, event): (i64, Wire)) -> ExecutionEvent {
        self.sequence += 1;
        ExecutionEvent {
            sequence: self.sequence,
            id: self.uid.clone(),
            time_unix_nano: time,
            event: Some(event),
        }
    }
}

/// Both streams as text. What is no UTF-8 is replaced; each is at most as long as what is kept of a stream.
fn contents(log: &Arc<Log>) -> std::io::Result<(String, String)> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut reader = log.reader();
    while let Next::Frame(frame) = reader.try_next()? {
        match frame {
            Frame::Output { stream: Stream::Stdout, data, .. } => stdout.extend(data),
            Frame::Output { stream: Stream::Stderr, data, .. } => stderr.extend(data),
            Frame::Exited { .. } => {}
        }
    }
    Ok((text(&stdout), text(&stderr)))
}

fn text(bytes: &[u8]) -> String {
    let limit = usize::try_from(crate::spool::STREAM_BYTES).unwrap_or(usize::MAX);
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let end = (0..=limit.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    text.truncate(end.unwrap_or(0));
    text
}

fn unreadable(error: &std::io::Error) -> Status {
    Status::internal(format!("the log can't be read: {error}"))
}

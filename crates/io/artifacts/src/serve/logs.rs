//! Archived logs as the events that a pod shows of a live Run: who reads them needs to know of one form alone.

use super::{Handout, Sought, stream_of};
use crate::frame::Frame;
use crate::{Place, Stop, open_log};
use futures::stream::BoxStream;
use kruntimes_proto::ARCHIVE_METADATA;
use kruntimes_proto::executor::v1::execution_event::Event as Wire;
use kruntimes_proto::executor::v1::runtime_events_server::RuntimeEvents;
use kruntimes_proto::executor::v1::{
    ExecutionEvent, ExecutionExited, ExecutionOutput, RenewRequest, RenewResponse, WatchRequest,
};
use tokio::task::spawn_blocking;
use tonic::{Request, Response, Status};

/// Metadata that names the Run of a Watch by its UID.
pub const RUN_METADATA: &str = "kruntimes-run";
/// Metadata with the number of the attempt that is awaited: a reader may be here before the attempt is.
pub const ATTEMPT_METADATA: &str = "kruntimes-attempt";

type Events = BoxStream<'static, Result<ExecutionEvent, Status>>;

impl Handout {
    /// What is kept of the attempt that the request names. Metadata of it: the Run's namespace and name, UID and attempt.
    ///
    /// # Errors
    /// It is not given out, or nothing is kept of it.
    pub async fn archived(
        &self,
        request: &Request<WatchRequest>,
    ) -> Result<Response<Events>, Status> {
        self.check(request)?;
        let text = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let named = text(ARCHIVE_METADATA).and_then(|named| named.split_once('/'));
        let (Some((namespace, name)), Some(uid)) = (named, text(RUN_METADATA)) else {
            return Err(Status::invalid_argument(format!(
                "metadata {ARCHIVE_METADATA} must be NAMESPACE/NAME of a Run, and {RUN_METADATA} its UID"
            )));
        };
        let attempt = awaited_attempt(request)?;
        let run = self.find(namespace, name).await?;
        if run.metadata.uid.as_deref() != Some(uid) {
            return Err(Status::not_found("another Run has that name"));
        }
        let store = self.shelf.store(&run, Sought::Log).await?.logs();
        let slot = self.slot()?;
        let (namespace, uid) = (namespace.to_owned(), uid.to_owned());
        let own = uid.clone();
        let opened = spawn_blocking(move || {
            open_log(&store, Place::of(&namespace, &own), attempt, &Stop::default())
        });
        let opened = opened.await.map_err(|error| Status::internal(error.to_string()))?;
        let unreadable =
            |error: std::io::Error| Status::internal(format!("the log can't be read: {error}"));
        let mut log = opened.map_err(unreadable)?.ok_or_else(|| {
            Status::not_found(format!("nothing is kept of what attempt {attempt} has written"))
        })?;
        let events = stream_of(slot, move |offer| {
            let mut sequence = 0;
            while let Some(frame) = log.next_frame().map_err(unreadable)? {
                sequence += 1;
                let (time_unix_nano, event) = wire(frame);
                let event = Some(event);
                if !offer(ExecutionEvent { sequence, id: uid.clone(), time_unix_nano, event }) {
                    break;
                }
            }
            Ok(())
        });
        Ok(Response::new(events))
    }
}

/// Where no pod is: archived logs alone.
#[tonic::async_trait]
impl RuntimeEvents for Handout {
    type WatchStream = Events;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Events>, Status> {
        self.archived(&request).await
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("archived logs are served here alone"))
    }
}

/// The attempt that a request names, or 0.
///
/// # Errors
/// It is no number.
pub fn awaited_attempt<T>(request: &Request<T>) -> Result<i32, Status> {
    let Some(value) = request.metadata().get(ATTEMPT_METADATA) else { return Ok(0) };
    value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Status::invalid_argument(format!("metadata {ATTEMPT_METADATA} must be a number"))
    })
}

/// A frame as an event, with its time.
#[must_use]
pub fn wire(frame: Frame) -> (i64, Wire) {
    match frame {
        Frame::Output { stream, offset, time, data } => {
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            (time, Wire::Output(ExecutionOutput { stream: stream.wire(), offset, data }))
        }
        Frame::Exited { exit, dropped, time } => {
            let exited = ExecutionExited {
                exit_code: exit.exit_code,
                signal: exit.signal,
                error_message: exit.error_message,
                dropped_bytes: i64::try_from(dropped).unwrap_or(i64::MAX),
            };
            (time, Wire::Exited(exited))
        }
    }
}

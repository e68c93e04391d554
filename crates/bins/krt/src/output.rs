//! A Run's output, live from runtimed in its pod: bytes as they were written, from the start, each once.
//!
//! The stream ends with the execution, also after the Run's end, as long as the pod keeps the output. A broken
//! connection is made anew and goes on at the offset that was reached.

use crate::pod_channel::{self, ChannelError, PodChannel};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::RunStatus;
use kruntimes_proto::TOKEN_METADATA;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{ExecutionExited, ExecutionOutput, WatchRequest};
use kube::Api;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status, Streaming};

/// gRPC metadata key: only the events of the Run with this UID.
pub(crate) const RUN_METADATA: &str = "kruntimes-run";
/// Metadata with the number of the attempt of a Watch.
pub(crate) const ATTEMPT_METADATA: &str = "kruntimes-attempt";
/// First wait before another try, doubled up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The pod does not exist, or another one has its name.
    #[error("pod {0} is gone and its output with it")]
    PodGone(String),
    /// runtimed does not stream.
    #[error("the runtimed of pod {0} does not stream output")]
    Unsupported(String),
    /// runtimed no longer holds it.
    #[error("pod {0} no longer holds the output of this Run")]
    Forgotten(String),
    /// The API server or runtimed can't be asked.
    #[error("{0}")]
    Other(String),
}

/// What a stream is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name of the pod.
    pub(crate) pod: String,
    /// UID of the pod, when the Run names one.
    pub(crate) pod_uid: Option<String>,
    /// UID of the Run.
    pub(crate) run_uid: String,
    /// Number of the attempt: its pod may still hold the output of the one before.
    pub(crate) attempt: i32,
}

impl Target {
    /// The newest attempt of a Run that has a pod.
    pub(crate) fn of(run_uid: &str, status: &RunStatus) -> Option<Self> {
        Some(Self {
            pod: status.assigned_pod.clone().filter(|pod| !pod.is_empty())?,
            pod_uid: status.assigned_pod_uid.clone(),
            run_uid: run_uid.to_owned(),
            attempt: status.attempt.unwrap_or(0),
        })
    }
}

/// One event for whoever prints.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The pod answers.
    Connected,
    /// What was written.
    Output(Bytes),
    /// The execution ended.
    Exited(ExecutionExited),
}

/// Bytes that a Run wrote.
#[derive(Debug)]
pub(crate) struct Bytes {
    /// stdout (1) or stderr (2).
    pub(crate) stream: i32,
    /// When the Runtime Server read them.
    pub(crate) time: Timestamp,
    pub(crate) data: Vec<u8>,
}

/// Reads the output of one attempt.
#[derive(Debug)]
pub(crate) struct Reader {
    pods: Api<Pod>,
    target: Target,
    stream: Option<Streaming<kruntimes_proto::executor::v1::ExecutionEvent>>,
    /// Offsets of the next bytes of stdout and stderr.
    offsets: [i64; 2],
    wait: Duration,
    patience: Patience,
}

/// What to do while runtimed does not know the Run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Ask again: the assignment may still be on its way.
    Retry,
    /// Say so.
    Once,
}

impl Reader {
    /// A reader that connects when it is asked.
    pub(crate) fn new(pods: Api<Pod>, target: Target, patience: Patience) -> Self {
        Self { pods, target, stream: None, offsets: [0; 2], wait: FIRST_WAIT, patience }
    }

    /// Whether nothing was read yet.
    pub(crate) fn is_at_the_beginning(&self) -> bool {
        self.offsets == [0; 2]
    }

    /// The next piece; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, OutputError> {
        loop {
            let answer = match &mut self.stream {
                None => match self.connect().await {
                    Ok(()) => return Ok(Some(Piece::Connected)),
                    Err(error) => Err(error),
                },
                Some(stream) => match stream.message().await {
                    Ok(None) => return Ok(None),
                    Ok(Some(event)) if event.id != self.target.run_uid => Ok(()),
                    Ok(Some(event)) => {
                        self.wait = FIRST_WAIT;
                        match event.event {
                            Some(Event::Output(output)) => match self.fresh(&output) {
                                Some(data) => {
                                    let (stream, time) =
                                        (output.stream, time(event.time_unix_nano));
                                    return Ok(Some(Piece::Output(Bytes { stream, time, data })));
                                }
                                None => Ok(()),
                            },
                            Some(Event::Exited(exited)) => return Ok(Some(Piece::Exited(exited))),
                            Some(Event::Started(_)) | None => Ok(()),
                        }
                    }
                    Err(status) => Err(self.judge(&status)),
                },
            };
            match answer {
                Ok(()) => {}
                Err(Some(error)) => return Err(error),
                Err(None) => {
                    self.stream = None;
                    tokio::time::sleep(self.wait).await;
                    self.wait = (self.wait * 2).min(LAST_WAIT);
                }
            }
        }
    }

    /// The part of `output` that was not seen yet.
    fn fresh(&mut self, output: &ExecutionOutput) -> Option<Vec<u8>> {
        let next = match output.stream {
            1 => &mut self.offsets[0],
            2 => &mut self.offsets[1],
            _ => return None,
        };
        let seen = usize::try_from((*next - output.offset).max(0)).unwrap_or(usize::MAX);
        if seen >= output.data.len() {
            return None;
        }
        *next = output.offset + i64::try_from(output.data.len()).unwrap_or(i64::MAX);
        Some(output.data[seen..].to_vec())
    }

    /// `None` asks for another try.
    fn judge(&self, status: &Status) -> Option<OutputError> {
        let pod = || self.target.pod.clone();
        if status.code() == Code::Unimplemented {
            Some(OutputError::Unsupported(pod()))
        } else if status.code() == Code::NotFound && self.patience == Patience::Once {
            Some(OutputError::Forgotten(pod()))
        } else {
            None
        }
    }

    async fn connect(&mut self) -> Result<(), Option<OutputError>> {
        let Target { pod, pod_uid, .. } = &self.target;
        let PodChannel { channel, token } =
            pod_channel::connect(&self.pods, pod, pod_uid.as_deref()).await.map_err(|error| {
                match error {
                    ChannelError::Gone => Some(OutputError::PodGone(pod.clone())),
                    ChannelError::Refused(why) => Some(OutputError::Other(why)),
                    ChannelError::NotNow => None,
                }
            })?;
        let mut request = Request::new(WatchRequest { resume_after: 0 });
        let run: MetadataValue<Ascii> = self
            .target
            .run_uid
            .parse()
            .map_err(|_| Some(OutputError::Other("the Run's UID is not text".to_owned())))?;
        request.metadata_mut().insert(TOKEN_METADATA, token);
        request.metadata_mut().insert(RUN_METADATA, run);
        request.metadata_mut().insert(ATTEMPT_METADATA, self.target.attempt.into());
        let response = RuntimeEventsClient::new(channel)
            .watch(request)
            .await
            .map_err(|status| self.judge(&status))?;
        self.stream = Some(response.into_inner());
        Ok(())
    }
}

impl OutputError {
    /// Whether the pod has nothing more to say of it.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::PodGone(_) | Self::Unsupported(_) | Self::Forgotten(_) => true,
            Self::Other(_) => false,
        }
    }
}

/// The time of an event.
pub(crate) fn time(unix_nano: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_nano)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What people are told of bytes that no pod has kept.
pub(crate) fn thrown_away(bytes: i64) -> String {
    format!("{bytes} bytes of output were thrown away: a Run keeps the first 1 MiB of each stream")
}

/// stdout and stderr; a stream that was closed takes no more and is no error.
#[derive(Debug)]
pub(crate) struct Sink {
    stdout: Option<tokio::io::Stdout>,
    stderr: Option<tokio::io::Stderr>,
}

impl Sink {
    /// This process's own.
    pub(crate) fn new() -> Self {
        Self { stdout: Some(tokio::io::stdout()), stderr: Some(tokio::io::stderr()) }
    }

    /// Writes to stdout (1) or stderr (2) and flushes.
    pub(crate) async fn write(&mut self, stream: i32, data: &[u8]) {
        if stream == 1 {
            put(&mut self.stdout, data).await;
        } else {
            put(&mut self.stderr, data).await;
        }
    }
}

async fn put<W: AsyncWrite + Unpin>(sink: &mut Option<W>, data: &[u8]) {
    if let Some(writer) = sink
        && (writer.write_all(data).await.is_err() || writer.flush().await.is_err())
    {
        *sink = None;
    }
}

//! Bodies: bounded reading, and the one type of all responses.
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use kruntimes_objects::status::Failure;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The largest request body that is read.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// Bodies up to here count for nothing.
const SMALL_BODY: usize = 128 * 1024;
/// How many larger bodies are held at a time: with what is made of them, some 100 MiB each at the very worst.
const MAX_LARGE_BODIES: usize = 8;
/// How long a body may take.
const TIME: Duration = Duration::from_secs(30);

/// Why a streamed response broke off.
pub(crate) type StreamError = Box<dyn std::error::Error + Send + Sync>;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>;

/// A response body: complete, or a stream (watches and logs).
pub struct Body(Kind);

enum Kind {
    Full(Option<Bytes>),
    Stream(Chunks),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Full(bytes) => {
                f.debug_tuple("Full").field(&bytes.as_ref().map(Bytes::len)).finish()
            }
            Kind::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl Body {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(Some(bytes.into())))
    }

    pub(crate) fn stream(
        chunks: impl Stream<Item = Result<Bytes, StreamError>> + Send + 'static,
    ) -> Self {
        Self(Kind::Stream(Box::pin(chunks)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Stream(chunks) => chunks.as_mut().poll_next(context).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// Memory for the large bodies of all requests together.
#[derive(Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LARGE_BODIES)))
    }
}

/// A request body, with its part of the budget until the request is done.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) bytes: Bytes,
    _part: Option<OwnedSemaphorePermit>,
}

/// Reads a request body, never more than the limit, nor longer than its time.
pub(crate) async fn read<B>(body: B, budget: &Budget) -> Result<Read, Failure>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: fmt::Display,
{
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    timeout(TIME, read_all(body, budget)).await.unwrap_or_else(|_| {
        let seconds = TIME.as_secs();
        Err(Failure::plain(
            504,
            "Timeout",
            format!("Timeout: the request body did not arrive within {seconds} seconds"),
        ))
    })
}

async fn read_all<B>(body: B, budget: &Budget) -> Result<Read, Failure>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: fmt::Display,
{
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    let mut part = None;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|e| Failure::bad_request(format!("the request body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = read.len() + data.len();
        if length > MAX_BODY {
            return Err(too_large());
        }
        if length > SMALL_BODY && part.is_none() {
            part = Some(budget.large_body()?);
        }
        read.extend_from_slice(&data);
    }
    Ok(Read { bytes: read.freeze(), _part: part })
}

impl Budget {
    fn large_body(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            Failure::plain(
                429,
                "TooManyRequests",
                format!(
                    "the server reads {MAX_LARGE_BODIES} request bodies over {SMALL_BODY} bytes at a time; please try again later"
                ),
            )
        })
    }
}

fn too_large() -> Failure {
    Failure::too_large(format!("Request entity too large: limit is {MAX_BODY}"))
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let first = Ok::<_, StreamError>(Frame::data(Bytes::from_static(b"{")));
        let endless = stream::iter([first]).chain(stream::pending());
        let begun = tokio::time::Instant::now();
        let refused = read(StreamBody::new(endless), &Budget::default()).await.unwrap_err();
        assert_eq!((refused.code, refused.reason), (504, "Timeout"));
        assert_eq!(begun.elapsed(), TIME);
    }

    #[tokio::test]
    async fn so_many_large_bodies_are_held_at_a_time() {
        let budget = Budget::default();
        let body = |length: usize| Full::new(Bytes::from(vec![b' '; length]));
        let mut held = Vec::new();
        for _ in 0..MAX_LARGE_BODIES {
            held.push(read(body(SMALL_BODY + 1), &budget).await.unwrap());
        }
        let refused = read(body(SMALL_BODY + 1), &budget).await.unwrap_err();
        assert_eq!((refused.code, refused.reason), (429, "TooManyRequests"));
        assert!(read(body(SMALL_BODY), &budget).await.is_ok(), "small ones pass");
        held.pop();
        assert!(read(body(SMALL_BODY + 1), &budget).await.is_ok());
    }
}

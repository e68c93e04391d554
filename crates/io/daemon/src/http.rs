//! A small HTTP/1.1 server for health and metrics: bounded in connections, headers and time.

use crate::Shutdown;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections that are served at once.
const CONNECTIONS: usize = 64;
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// What is being asked at the shutdown is answered within this.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Answers every request with `answer` until the shutdown, one on each connection.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    mut shutdown: Shutdown,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: others must end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let answered = answer(request);
            async { Ok::<_, Infallible>(answered.await) }
        });
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).keep_alive(false);
            // A client that goes away is none of our business.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
            drop(slot);
        });
    }
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    drop(tokio::time::timeout(LAST_ANSWERS_WITHIN, slots.acquire_many(all)).await);
}

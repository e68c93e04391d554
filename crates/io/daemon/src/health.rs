//! Health over HTTP: `GET` of a few paths, each answered by a check.

use crate::Shutdown;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections that are served at once.
const CONNECTIONS: usize = 64;
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// What a check says: fine, or why not.
pub type Verdict = Result<(), String>;

/// Answers for a path; none when there is no such check.
pub trait Checks: Send + Sync + 'static {
    /// Runs the check of `path`.
    fn check(&self, path: &str) -> Option<Pin<Box<dyn Future<Output = Verdict> + Send + '_>>>;
}

/// Serves `checks` until the shutdown: 200 `ok`, or 503 with the reason.
pub async fn serve<C: Checks>(listener: TcpListener, checks: Arc<C>, mut shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: others must end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let checks = Arc::clone(&checks);
        let service = service_fn(move |request| answer(Arc::clone(&checks), request));
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
            // A client that goes away is none of our business.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
            drop(slot);
        });
    }
}

async fn answer<C: Checks>(
    checks: Arc<C>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = if request.method() != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, "only GET is served".to_owned())
    } else if let Some(check) = checks.check(request.uri().path()) {
        match check.await {
            Ok(()) => (StatusCode::OK, "ok".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    } else {
        (StatusCode::NOT_FOUND, "no such check".to_owned())
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    struct Two;

    impl Checks for Two {
        fn check(&self, path: &str) -> Option<Pin<Box<dyn Future<Output = Verdict> + Send + '_>>> {
            match path {
                "/healthz" => Some(Box::pin(async { Ok(()) })),
                "/readyz" => Some(Box::pin(async { Err("not yet".to_owned()) })),
                _ => None,
            }
        }
    }

    async fn get(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_check_is_answered_with_its_verdict() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (trigger, shutdown) = Shutdown::new();
        let server = tokio::spawn(serve(listener, Arc::new(Two), shutdown));
        let cases = [
            ("GET /healthz", "200", "ok"),
            ("GET /readyz", "503", "not yet"),
            ("GET /x", "404", "no such check"),
            ("POST /healthz", "405", "only GET is served"),
        ];
        for (request, status, body) in cases {
            let answer = get(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
            assert!(answer.ends_with(body), "{request}: {answer}");
        }
        trigger.fire();
        server.await.unwrap();
    }
}

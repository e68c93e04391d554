//! Health over HTTP: `GET` of a few paths, each answered by a check.

use crate::Shutdown;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What a check says: fine, or why not.
pub type Verdict = Result<(), String>;

/// Answers for a path; none when there is no such check.
pub trait Checks: Send + Sync + 'static {
    /// Runs the check of `path`.
    fn check(&self, path: &str) -> Option<Pin<Box<dyn Future<Output = Verdict> + Send + '_>>>;
}

/// Serves `checks` until the shutdown: 200 `ok`, or 503 with the reason.
pub async fn serve<C: Checks>(listener: TcpListener, checks: Arc<C>, shutdown: Shutdown) {
    crate::http::serve(listener, shutdown, move |request| answer(Arc::clone(&checks), request))
        .await;
}

async fn answer<C: Checks>(checks: Arc<C>, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
    response
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

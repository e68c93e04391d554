//! A layer that refuses what it does not know, as no server may.

use http_body_util::{BodyExt, Full};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

/// What the kit puts into a field that does not exist yet.
const TEXT: &[u8] = b"of a later version";

#[derive(Clone)]
pub(crate) struct Strict<S> {
    pub(crate) inner: S,
    pub(crate) fault: &'static str,
}

type Answer = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Strict<S>
where
    S: Service<http::Request<Body>, Response = Answer, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut inner = self.inner.clone();
        if self.fault != "compatible/fields" {
            return Box::pin(inner.call(request));
        }
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            if bytes.windows(TEXT.len()).any(|window| window == TEXT) {
                return Ok(Status::invalid_argument("a field is unknown").into_http());
            }
            inner.call(http::Request::from_parts(parts, Body::new(Full::new(bytes)))).await
        })
    }
}

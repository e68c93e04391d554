//! Metrics over HTTP: `GET /metrics` in the text format of OpenMetrics 1.0.
//!
//! Invariant: no label is a name that users choose without end, such as a Run's.

use crate::Shutdown;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::net::TcpListener;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry that says which build this is.
#[must_use]
pub fn registry(version: &'static str) -> Registry {
    let mut registry = Registry::with_prefix("kruntimes");
    registry.register("build", "The build of this process", Info::new([("version", version)]));
    registry
}

/// Serves `registry` until the shutdown.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, shutdown: Shutdown) {
    crate::http::serve(listener, shutdown, move |request| {
        std::future::ready(answer(&registry, &request))
    })
    .await;
}

fn answer(registry: &Registry, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = String::new();
    let status = if request.method() != Method::GET {
        StatusCode::METHOD_NOT_ALLOWED
    } else if request.uri().path() != "/metrics" {
        StatusCode::NOT_FOUND
    } else if encode(&mut text, registry).is_err() {
        text.clear();
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    response
}

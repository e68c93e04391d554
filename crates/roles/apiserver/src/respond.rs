//! Responses.
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use kruntimes_objects::status::Failure;
use serde_json::Value;

use crate::body::Body;

const WARNING: HeaderName = HeaderName::from_static("warning");

/// The bytes of a stored object, shared.
pub(crate) fn shared(json: &Arc<[u8]>) -> Bytes {
    Bytes::from_owner(json.clone())
}

/// A JSON response.
pub(crate) fn json(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "application/json", Body::full(body))
}

/// A response with its own media type.
pub(crate) fn with_type(code: u16, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// A JSON response from a value.
pub(crate) fn value(code: u16, value: &Value) -> Response<Body> {
    json(code, value.to_string())
}

/// A failure as its Status.
pub(crate) fn failure(failure: &Failure) -> Response<Body> {
    let mut response = value(failure.code, &failure.to_value());
    if matches!(failure.code, 429 | 504) {
        response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}

/// How many bytes of warnings one response carries, and one warning has, as kube-apiserver has it.
const MAX_WARNINGS: usize = 4 * 1024;
const MAX_WARNING: usize = 256;

/// Adds warnings, as `Warning: 299 - "…"` headers; those beyond the limit are left out, for headers are not for thousands.
pub(crate) fn warn(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    let mut left = MAX_WARNINGS;
    for warning in warnings {
        let warning = &warning[..warning.floor_char_boundary(MAX_WARNING)];
        left = match left.checked_sub(warning.len()) {
            Some(left) => left,
            None => break,
        };
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

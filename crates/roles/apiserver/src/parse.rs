//! Request bodies as objects: JSON or YAML, duplicates named.
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use kruntimes_objects::status::Failure;
use kruntimes_objects::{json, protobuf, yaml};
use serde_json::Value;

/// The media type of a body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Parses an object, and names its duplicate fields.
pub(crate) fn object(headers: &HeaderMap, body: &Bytes) -> Result<(Value, Vec<String>), Failure> {
    match media_type(headers).as_str() {
        "" | "application/json" => as_json(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => as_yaml(body),
        protobuf::MEDIA_TYPE => Ok((protobuf::decode(body)?, Vec::new())),
        other => Err(Failure::unsupported_media(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml; got {other}"
        ))),
    }
}

/// Parses JSON.
pub(crate) fn as_json(body: &Bytes) -> Result<(Value, Vec<String>), Failure> {
    json::parse(body).map_err(|e| {
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type object): {e}"
        ))
    })
}

fn as_yaml(body: &Bytes) -> Result<(Value, Vec<String>), Failure> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Failure::bad_request("the YAML body is not UTF-8"))?;
    yaml::parse(text)
        .map_err(|e| Failure::bad_request(format!("the YAML body cannot be read: {e}")))
}

//! All that the test cluster's etcd holds, by its JSON gateway.

use super::components::ETCD;
use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// From the first key to the last: a zero byte as both ends (etcd API reference, "Range").
const ALL: &str = r#"{"key":"AA==","range_end":"AA=="}"#;

/// Every key with its value.
pub(super) fn all() -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let address = ETCD.trim_start_matches("http://");
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    write!(stream, "POST /v3/kv/range HTTP/1.0\r\nContent-Length: {}\r\n\r\n{ALL}", ALL.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("etcd answers without a body")?;
    ensure!(head.contains(" 200 "), "etcd answers {head}");
    let answer: Value = serde_json::from_str(body)?;
    let pairs = answer["kvs"].as_array().context("etcd holds nothing")?;
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
    pairs.iter().map(|pair| Ok((bytes(&pair["key"])?, bytes(&pair["value"])?))).collect()
}

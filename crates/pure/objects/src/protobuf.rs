//! Protobuf bodies of the few kinds that kubectl itself creates (`create namespace`, `configmap`, `secret`,
//! `serviceaccount`), read by a table of their fields; everything else is refused by name.
use serde_json::{Map, Value, json};

use crate::builtin::base64;
use crate::status::Failure;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
const MAX_DEPTH: usize = 16;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Int,
    Time,
    Message(&'static [Field]),
    Texts,
    Messages(&'static [Field]),
    TextMap,
    BytesMap,
}

type Field = (u64, &'static str, Kind);

const OWNER: &[Field] = &[
    (5, "apiVersion", Kind::Text),
    (1, "kind", Kind::Text),
    (3, "name", Kind::Text),
    (4, "uid", Kind::Text),
    (6, "controller", Kind::Bool),
    (7, "blockOwnerDeletion", Kind::Bool),
];
const METADATA: &[Field] = &[
    (1, "name", Kind::Text),
    (2, "generateName", Kind::Text),
    (3, "namespace", Kind::Text),
    (5, "uid", Kind::Text),
    (6, "resourceVersion", Kind::Text),
    (8, "creationTimestamp", Kind::Time),
    (11, "labels", Kind::TextMap),
    (12, "annotations", Kind::TextMap),
    (13, "ownerReferences", Kind::Messages(OWNER)),
    (14, "finalizers", Kind::Texts),
];
const NAMESPACE: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (2, "spec", Kind::Message(&[(1, "finalizers", Kind::Texts)])),
    (3, "status", Kind::Message(&[(1, "phase", Kind::Text)])),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (2, "data", Kind::TextMap),
    (3, "binaryData", Kind::BytesMap),
    (4, "immutable", Kind::Bool),
];
const SECRET: &[Field] = &[
    (1, "metadata", Kind::Message(METADATA)),
    (2, "data", Kind::BytesMap),
    (3, "type", Kind::Text),
    (4, "stringData", Kind::TextMap),
    (5, "immutable", Kind::Bool),
];
const SERVICE_ACCOUNT: &[Field] =
    &[(1, "metadata", Kind::Message(METADATA)), (4, "automountServiceAccountToken", Kind::Bool)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Kind::Int),
    (
        2,
        "preconditions",
        Kind::Message(&[(1, "uid", Kind::Text), (2, "resourceVersion", Kind::Text)]),
    ),
    (3, "orphanDependents", Kind::Bool),
    (4, "propagationPolicy", Kind::Text),
    (5, "dryRun", Kind::Texts),
];
const ENVELOPE: &[Field] =
    &[(1, "typeMeta", Kind::Message(&[(1, "apiVersion", Kind::Text), (2, "kind", Kind::Text)]))];

/// Decodes an object.
pub fn decode(body: &[u8]) -> Result<Value, Failure> {
    let malformed = || Failure::bad_request("the protobuf body is malformed");
    let body = body.strip_prefix(MAGIC).ok_or_else(malformed)?;
    let envelope = message(body, ENVELOPE, 0).ok_or_else(malformed)?;
    let text = |key: &str| envelope["typeMeta"][key].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let fields = match (version.as_str(), kind.as_str()) {
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Secret") => SECRET,
        ("v1", "ServiceAccount") => SERVICE_ACCOUNT,
        (_, "DeleteOptions") => DELETE_OPTIONS,
        _ => {
            return Err(Failure::unsupported_media(format!(
                "the body of the request was in an unknown format - {kind} ({version}) is not served as {MEDIA_TYPE}; accepted media types include: application/json, application/yaml"
            )));
        }
    };
    let mut raw = None;
    each(body, |number, wire| {
        if let (2, Wire::Bytes(bytes)) = (number, wire) {
            raw = Some(bytes);
        }
        Some(())
    })
    .ok_or_else(malformed)?;
    let mut object = message(raw.unwrap_or_default(), fields, 0).ok_or_else(malformed)?;
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    Ok(object)
}

enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// Calls `visit` for each field; `None` for malformed input or when `visit` says so.
fn each<'b>(mut rest: &'b [u8], mut visit: impl FnMut(u64, Wire<'b>) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut rest)?),
            1 => Wire::Bytes(take(&mut rest, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Wire::Bytes(take(&mut rest, length)?)
            }
            5 => Wire::Bytes(take(&mut rest, 4)?),
            _ => return None,
        };
        visit(tag >> 3, wire)?;
    }
    Some(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn message(bytes: &[u8], fields: &[Field], depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut object = Map::new();
    each(bytes, |number, wire| {
        let Some((_, name, kind)) = fields.iter().find(|(n, _, _)| *n == number) else {
            return Some(());
        };
        match (kind, wire) {
            (Kind::Text, Wire::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).ok()?;
                if !text.is_empty() {
                    object.insert((*name).to_owned(), json!(text));
                }
            }
            (Kind::Bool, Wire::Number(n)) => {
                object.insert((*name).to_owned(), json!(n != 0));
            }
            (Kind::Int, Wire::Number(n)) => {
                object.insert((*name).to_owned(), json!(n.cast_signed()));
            }
            (Kind::Message(fields), Wire::Bytes(bytes)) => {
                object.insert((*name).to_owned(), message(bytes, fields, depth + 1)?);
            }
            (Kind::Texts, Wire::Bytes(bytes)) => {
                push(&mut object, name, json!(std::str::from_utf8(bytes).ok()?))?;
            }
            (Kind::Messages(fields), Wire::Bytes(bytes)) => {
                push(&mut object, name, message(bytes, fields, depth + 1)?)?;
            }
            (Kind::TextMap, Wire::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                insert(&mut object, name, key, json!(std::str::from_utf8(value).ok()?))?;
            }
            (Kind::BytesMap, Wire::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                insert(&mut object, name, key, json!(base64(value)))?;
            }
            // The server sets times itself.
            (Kind::Time, Wire::Bytes(_)) => {}
            (_, Wire::Number(_) | Wire::Bytes(_)) => return None,
        }
        Some(())
    })?;
    Some(Value::Object(object))
}

fn push(object: &mut Map<String, Value>, name: &str, value: Value) -> Option<()> {
    let list = object.entry(name).or_insert_with(|| json!([]));
    list.as_array_mut()?.push(value);
    Some(())
}

fn insert(object: &mut Map<String, Value>, name: &str, key: String, value: Value) -> Option<()> {
    let map = object.entry(name).or_insert_with(|| json!({}));
    map.as_object_mut()?.insert(key, value);
    Some(())
}

fn entry(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (mut key, mut value) = (None, None);
    each(bytes, |number, wire| {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => key = Some(std::str::from_utf8(bytes).ok()?.to_owned()),
            (2, Wire::Bytes(bytes)) => value = Some(bytes),
            _ => {}
        }
        Some(())
    })?;
    Some((key.unwrap_or_default(), value.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
        let types = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &types), field(2, raw)].concat()
    }

    #[test]
    fn a_secret_is_read_and_a_pod_refused() {
        let label = [field(1, b"a"), field(2, b"b")].concat();
        let metadata = [field(1, b"n"), field(11, &label)].concat();
        let data = [field(1, b"k"), field(2, b"foobar")].concat();
        let raw = [field(1, &metadata), field(2, &data), vec![5 << 3, 1]].concat();
        assert_eq!(
            decode(&envelope("Secret", &raw)).unwrap(),
            json!({ "apiVersion": "v1", "kind": "Secret", "immutable": true,
                "metadata": { "name": "n", "labels": { "a": "b" } }, "data": { "k": "Zm9vYmFy" } })
        );
        let refused = decode(&envelope("Pod", &raw)).unwrap_err();
        assert_eq!(refused.code, 415);
        assert!(refused.message.contains("Pod (v1)"));
        for malformed in [&b"k8s"[..], b"k8s\0\x0a\xff", b"", b"{}"] {
            assert_eq!(decode(malformed).unwrap_err().code, 400);
        }
    }
}

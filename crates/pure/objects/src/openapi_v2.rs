//! OpenAPI v2 in protobuf, as far as kubectl and Helm ask for it: which kinds take `fieldValidation`. kubectl before 1.33
//! reads it for every `v1` List, which has no path of its own in OpenAPI v3.
//!
//! Field numbers are those of `openapi.v2.Document` (gnostic), the form in which Kubernetes serves it.
use crate::registry::Registry;
use crate::resource::Resource;

/// The media type.
pub const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2`.
pub fn document(registry: &Registry) -> Vec<u8> {
    let mut paths = Vec::new();
    for (group, versions) in registry.groups() {
        for (version, resources) in versions {
            let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
            for res in resources {
                let scope = if res.namespaced { "/namespaces/{namespace}" } else { "" };
                let path = format!("{root}/{version}{scope}/{}/{{name}}", res.plural);
                let item = field(8, &operation(res));
                paths.extend(field(2, &[text(1, &path), field(2, &item)].concat()));
            }
        }
    }
    let info = [text(1, "kruntimes"), text(2, "v1.34.0")].concat();
    [text(1, "2.0"), field(2, &info), field(8, &paths)].concat()
}

/// A patch that takes the parameter.
fn operation(res: &Resource) -> Vec<u8> {
    let query = [text(2, "query"), text(4, "fieldValidation")].concat();
    // ParametersItem.parameter, Parameter.non_body_parameter, its query_parameter_sub_schema.
    let parameter = field(1, &field(2, &field(3, &query)));
    let kind = format!("group: \"{}\"\nkind: {}\nversion: {}\n", res.group, res.kind, res.version);
    let extension =
        [text(1, "x-kubernetes-group-version-kind"), field(2, &text(2, &kind))].concat();
    [field(8, &parameter), field(13, &extension)].concat()
}

fn text(number: u8, text: &str) -> Vec<u8> {
    field(number, text.as_bytes())
}

/// A field of bytes; numbers below 16 take one byte with their wire type.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_varints() {
        assert_eq!(field(1, b"ab"), b"\x0a\x02ab");
        assert_eq!(field(15, &[0; 127])[..2], [0x7a, 127]);
        assert_eq!(field(2, &[0; 128])[..3], [0x12, 0x80, 1]);
        assert_eq!(field(2, &[0; 300])[..3], [0x12, 0xac, 2]);
    }
}

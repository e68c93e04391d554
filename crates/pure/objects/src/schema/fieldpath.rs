//! The `fieldPath` of a rule: `.spec.args`, `.labels['a.b']`.
use super::node::Node;
use super::path::Path;

/// The path as errors print it, if it leads through the schema.
pub(super) fn normalize(text: &str, node: &Node) -> Result<String, String> {
    let mut path = Path::default();
    let mut at = node;
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            if end == 0 {
                return Err("unexpected end of JSON path".to_owned());
            }
            (after[..end].to_owned(), &after[end..])
        } else if let Some(after) = rest.strip_prefix('[') {
            quoted(after)?
        } else {
            let token = &rest[..rest[1..].find(['.', '[', ']']).map_or(rest.len(), |end| end + 1)];
            return Err(format!("expected [ or . but got: {token}"));
        };
        let missing = || "does not refer to a valid field".to_owned();
        if at.properties.is_empty() {
            at = at.additional.schema().ok_or_else(missing)?;
            path.key(&name);
        } else {
            at = at.properties.get(&name).ok_or_else(missing)?;
            path.field(&name);
        }
        rest = after;
    }
    Ok(path.as_str().to_owned())
}

/// After `[`: the text between single quotes, and what follows the closing bracket.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let body = text
        .strip_prefix('\'')
        .ok_or_else(|| format!("expected single quoted string but got {text}"))?;
    let mut out = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let after = &body[at + 1..];
                let after =
                    after.strip_prefix(']').ok_or_else(|| format!("expected ] but got {after}"))?;
                return Ok((out, after));
            }
            '\\' => out.push(match chars.next().map(|(_, c)| c) {
                Some('a') => '\u{7}',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\u{b}',
                Some(c @ ('\'' | '\\')) => c,
                _ => return Err("invalid string literal: invalid escape char".to_owned()),
            }),
            other => out.push(other),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}

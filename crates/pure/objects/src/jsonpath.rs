//! The simple JSONPath of printer columns: keys, indexes, quoted keys and equality filters.
use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    All,
    Where(String, String),
}

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JSONPath {path:?} is not served: {why}")]
pub struct JsonPathError {
    path: String,
    why: &'static str,
}

impl JsonPath {
    /// Parses `.a.b[0]`, `.a['b']`, `.a[*].b` and `.a[?(@.type=="Ready")].b`, with or without braces around.
    pub fn parse(source: &str) -> Result<Self, JsonPathError> {
        let fail = |why| JsonPathError { path: source.to_owned(), why };
        let mut rest = source.trim_start_matches('{').trim_end_matches('}');
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let end = closing(after).ok_or_else(|| fail("missing ]"))?;
                steps.push(bracket(&after[..end]).ok_or_else(|| fail("unknown bracket"))?);
                rest = &after[end + 1..];
            } else {
                let after = rest.strip_prefix('.').ok_or_else(|| fail("expected . or ["))?;
                let (key, left) = plain_key(after);
                if key.is_empty() && !left.starts_with('[') {
                    return Err(fail("empty key"));
                }
                if !key.is_empty() {
                    steps.push(if key == "*" { Step::All } else { Step::Key(key) });
                }
                rest = left;
            }
        }
        Ok(Self(steps))
    }

    /// The first value that the path leads to.
    pub fn first<'a>(&self, root: &'a Value) -> Option<&'a Value> {
        walk(&self.0, root)
    }
}

fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    if inner == "*" {
        return Some(Step::All);
    }
    if let Ok(index) = inner.parse() {
        return Some(Step::Index(index));
    }
    if let Some(key) = unquote(inner) {
        return Some(Step::Key(key));
    }
    let filter = inner.strip_prefix("?(@.")?.strip_suffix(')')?;
    let (key, value) = filter.split_once("==")?;
    Some(Step::Where(key.trim().to_owned(), unquote(value.trim())?))
}

fn unquote(text: &str) -> Option<String> {
    let inner = text
        .strip_prefix('\'')
        .and_then(|t| t.strip_suffix('\''))
        .or_else(|| text.strip_prefix('"').and_then(|t| t.strip_suffix('"')))?;
    Some(inner.to_owned())
}

fn plain_key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    key.push(escaped);
                }
            }
            '.' | '[' => return (key, &text[at..]),
            _ => key.push(c),
        }
    }
    (key, "")
}

fn walk<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match step {
        Step::Key(key) => walk(rest, value.get(key)?),
        Step::Index(index) => walk(rest, value.get(index)?),
        Step::All => match value.as_array() {
            Some(items) => items.iter().find_map(|item| walk(rest, item)),
            None => value.as_object()?.values().find_map(|item| walk(rest, item)),
        },
        Step::Where(key, wanted) => value
            .as_array()?
            .iter()
            .filter(|item| item.get(key).and_then(Value::as_str) == Some(wanted))
            .find_map(|item| walk(rest, item)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_reach_their_values() {
        let object = json!({"a": {"b.c": [1, 2], "conditions": [
            {"type": "X", "status": "no"}, {"type": "Ready", "status": "yes"}]}});
        for (path, expected) in [
            (".a.b\\.c[1]", Some(json!(2))),
            ("{.a['b.c'][0]}", Some(json!(1))),
            (".a.conditions[?(@.type==\"Ready\")].status", Some(json!("yes"))),
            (".a.conditions[*].status", Some(json!("no"))),
            (".a.none", None),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap().first(&object), expected.as_ref(), "{path}");
        }
        assert!(JsonPath::parse("a").is_err());
        assert!(JsonPath::parse(".a[?(@.b>1)]").is_err());
    }
}

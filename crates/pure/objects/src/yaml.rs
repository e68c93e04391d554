//! YAML within the same limits as JSON: what aliases repeat counts each time, so that no few lines become gigabytes.
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options};

use crate::json::{Bounded, MAX_TEXT};

/// How deep a document may be nested: the reader takes some 20 KiB of stack a level where nothing is optimized.
const MAX_DEPTH: usize = 50;
/// How many values one text may hold: reading YAML takes many times as long as reading JSON.
const MAX_NODES: usize = 50_000;
/// How many values aliases may repeat in all; reading them takes far longer than others.
const MAX_REPEATED: usize = 10_000;
/// How many documents one text may hold.
const MAX_DOCUMENTS: usize = 64;

/// Why text is no acceptable YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(String);

/// Parses one document; of a key that stands twice the last value counts, and its path is named.
pub fn parse(text: &str) -> Result<(Value, Vec<String>), YamlError> {
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |document| {
        Bounded::deserialize(document)
    });
    read.map(|read| (read.value, read.duplicates)).map_err(|error| shown(&error))
}

/// Parses all documents; a key that stands twice is refused.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    let read = serde_saphyr::from_multiple_with_options::<Bounded>(text, options);
    let read = read.map_err(|error| shown(&error))?;
    Ok(read.into_iter().map(|document| document.value).collect())
}

fn shown(error: &serde_saphyr::Error) -> YamlError {
    let text = error.to_string();
    if text.contains("budget breached") || text.contains("replay") {
        return YamlError(format!(
            "it is nested more than {MAX_DEPTH} levels deep, or holds more than {MAX_NODES} values or {MAX_TEXT} bytes, or its aliases repeat more than {MAX_REPEATED} values ({text})"
        ));
    }
    YamlError(text)
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH * 2;
    budget.max_nodes = MAX_NODES;
    budget.max_documents = MAX_DOCUMENTS;
    budget.max_total_scalar_bytes = MAX_TEXT * 8;
    budget.max_recorded_anchor_bytes = MAX_TEXT;
    budget.max_recorded_anchor_events = MAX_REPEATED;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = MAX_REPEATED;
    options
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn ordinary_yaml_is_read() {
        let text =
            "a: 1\nb: [x, 2.5, null, true, \"1\"]\nc: &c {d: e}\nf: *c\ng: 2024-01-01\na: 2\n";
        let (value, duplicates) = parse(text).unwrap();
        let expected = json!({ "a": 2, "b": ["x", 2.5, null, true, "1"], "c": { "d": "e" },
            "f": { "d": "e" }, "g": "2024-01-01" });
        assert_eq!((value, duplicates), (expected, vec!["a".to_owned()]));
        assert_eq!(documents("a: 1\n---\n---\nb: 2\n").unwrap().len(), 2);
        assert!(documents("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..10 {
            let below = format!("*a{},", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{below}]\n"));
        }
        assert!(refused(&text).contains("aliases repeat more than 10000 values"));
        assert!(documents(&text).is_err());
    }

    #[test]
    fn the_count_of_values_is_limited_on_both_sides() {
        let list = |count: usize| format!("[{}]", "0,".repeat(count - 1));
        assert!(parse(&list(MAX_NODES)).is_ok());
        assert!(refused(&list(MAX_NODES + 1)).contains("holds more than 50000 values"));
    }

    #[test]
    fn one_long_text_many_times_is_refused() {
        let text = |times: usize| {
            format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(times))
        };
        assert!(parse(&text(30)).is_ok());
        assert!(refused(&text(32)).contains("longer than 3145728 bytes"), "{}", refused(&text(32)));
    }

    #[test]
    fn depth_is_limited_on_both_sides() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).contains("more than 50 levels deep"));
        assert!(parse(&nested(10_000)).is_err());
        let block: String = (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        assert!(parse(&block).is_err());
    }
}

//! What an evaluation asks of the Workflow that it belongs to.

use serde_json::Value;
use std::borrow::Cow;

/// Dots that a key may have to be found without brackets.
const MAX_DOTS: usize = 8;

/// A function about how things went so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusFunction {
    /// `always()`
    Always,
    /// `success()`
    Success,
    /// `failure()`
    Failure,
    /// `cancelled()`
    Cancelled,
}

/// The values of `needs`, `inputs` and so on, and the functions that need more than values.
pub trait Context {
    /// The value at a path, whose first name is one of [`crate::CONTEXTS`]. What is not there is null.
    fn value(&self, path: &[&str]) -> Option<Cow<'_, Value>>;

    /// Whether it is so; or why nobody can say here.
    fn status(&self, function: StatusFunction) -> Result<bool, String> {
        Err(match function {
            StatusFunction::Always => "always() is for conditions",
            StatusFunction::Success => "success() is for conditions",
            StatusFunction::Failure => "failure() is for conditions",
            StatusFunction::Cancelled => "cancelled() is for conditions",
        }
        .to_owned())
    }

    /// The hash of the files that the patterns name; or why there is none here.
    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        Err(format!("hashFiles({}) has no files to read here", patterns.join(", ")))
    }
}

/// An object with all contexts, for texts without functions that need more.
impl Context for Value {
    fn value(&self, path: &[&str]) -> Option<Cow<'_, Value>> {
        descend(self, path).map(Cow::Borrowed)
    }
}

/// The value at a path. Names that are not there may be the beginning of one with dots: `a.b.c` finds the key `b.c` of `a`.
#[must_use]
pub fn descend<'a>(root: &'a Value, path: &[&str]) -> Option<&'a Value> {
    let mut value = root;
    let mut rest = path;
    while let Some((name, behind)) = rest.split_first() {
        if let Some(member) = value.get(name) {
            (value, rest) = (member, behind);
            continue;
        }
        let object = value.as_object()?;
        let (member, used) = (2..=rest.len().min(MAX_DOTS + 1))
            .find_map(|used| Some((object.get(&rest[..used].join("."))?, used)))?;
        (value, rest) = (member, &rest[used..]);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::{MAX_DOTS, descend};
    use serde_json::json;

    #[test]
    fn a_key_with_dots_is_found_where_no_shorter_one_is() {
        let root = json!({"a": {"b.c": 1, "b.c.d": 2, "x": {"y": 3}, "x.y": 4, "list": [5]}});
        for (path, expected) in [
            ("a/b/c", Some(1)),
            ("a/b.c", Some(1)),
            ("a/x/y", Some(3)),
            ("a/x.y", Some(4)),
            ("a/b", None),
            ("a/b/c/d", None),
            ("a/list/0", None),
            ("b", None),
        ] {
            let names: Vec<&str> = path.split('/').collect();
            let found = descend(&root, &names).and_then(serde_json::Value::as_i64);
            assert_eq!(found, expected, "{path}");
        }
        for (dots, is_found) in [(MAX_DOTS, true), (MAX_DOTS + 1, false)] {
            let names = vec!["a"; dots + 1];
            let root = json!({names.join("."): 1});
            assert_eq!(descend(&root, &names).is_some(), is_found, "{dots}");
        }
    }
}

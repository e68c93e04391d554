//! Works: what to ask of a server so that it does what a rule needs. Servers differ in what their arguments mean, rules
//! do not.

use serde::Deserialize;
use std::path::Path;

/// How a server is asked for each work; a rule whose work is missing is skipped. `docs/custom-runtime.md` says what each
/// of them does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names stand in a table of the guide")]
pub struct Works {
    pub succeed: Option<Work>,
    pub fail: Option<Work>,
    pub last: Option<Work>,
    pub print: Option<Work>,
    pub talk: Option<Work>,
    pub bytes: Option<Work>,
    pub flood: Option<Work>,
    pub env: Option<Work>,
    pub directory: Option<Work>,
    pub read: Option<Work>,
    pub script: Option<Work>,
    pub stubborn: Option<Work>,
    pub hold: Option<Work>,
    pub leave: Option<Work>,
}

/// The fields of an Execute that ask for a work.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Work {
    /// Its `args`.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its `entrypoint`.
    #[serde(default)]
    pub entrypoint: String,
    /// Its `handler`.
    #[serde(default)]
    pub handler: String,
    /// What stands in the file `entrypoint`, or `script` where none is named.
    #[serde(default)]
    pub content: String,
    /// The exit code of a work that fails.
    #[serde(default = "one")]
    pub exit_code: i32,
}

fn one() -> i32 {
    1
}

/// Why a file of works can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WorksError {
    /// It can't be read.
    #[error("can't read {path}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is no JSON, or names what no work is called.
    #[error("{path} holds no works: docs/custom-runtime.md lists them")]
    Content {
        /// The file.
        path: String,
        /// Where, and what instead.
        #[source]
        source: serde_json::Error,
    },
}

impl Works {
    /// The works of a built-in dialect, or of a JSON file.
    pub fn load(name: &str) -> Result<Self, WorksError> {
        let (path, text) = match name {
            "bash" => (name.to_owned(), include_str!("works/bash.json").to_owned()),
            "command" => (name.to_owned(), include_str!("works/command.json").to_owned()),
            "python" => (name.to_owned(), include_str!("works/python.json").to_owned()),
            file => {
                let path = file.to_owned();
                let text = std::fs::read_to_string(Path::new(file))
                    .map_err(|source| WorksError::Read { path: path.clone(), source })?;
                (path, text)
            }
        };
        serde_json::from_str(&text).map_err(|source| WorksError::Content { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_works_are_complete() {
        for name in ["bash", "command", "python"] {
            let works = Works::load(name).unwrap();
            let text = format!("{works:?}");
            assert!(!text.contains(": None"), "{name}: {text}");
        }
    }

    #[test]
    fn a_work_that_nobody_knows_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("works.json");
        std::fs::write(&file, r#"{"suceed": {}}"#).unwrap();
        let error = Works::load(file.to_str().unwrap()).unwrap_err();
        let WorksError::Content { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("suceed"), "{source}");
    }
}

//! What Runs note outside of the system under test: each start and end, and a lock held while any process of theirs lives.

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The first line of a script.
pub(crate) const BEGINS: &str = "exec 9>>\"$LOCKS/$RUN\"; flock -n 9 || echo \"$RUN overlap\" >>\"$LOG\"; echo \"$RUN start\" >>\"$LOG\"";
/// The last line of a script.
pub(crate) const ENDS: &str = "echo \"$RUN end\" >>\"$LOG\"";

/// A directory that no part of the system knows.
#[derive(Debug)]
pub(crate) struct Outside(tempfile::TempDir);

impl Outside {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let outside = Self(tempfile::tempdir()?);
        for directory in ["points", "locks"] {
            fs::create_dir(outside.path(directory))?;
        }
        fs::write(outside.path("log"), "")?;
        Ok(outside)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `spec.env` of a Run whose script notes what it does.
    pub(crate) fn variables(&self) -> Value {
        json!([
            {"name": "RUN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {"name": "LOG", "value": self.path("log")},
            {"name": "LOCKS", "value": self.path("locks")},
        ])
    }

    /// How often each Run started, by UID. No line may tell of an overlap.
    pub(crate) fn starts(&self) -> anyhow::Result<BTreeMap<String, i32>> {
        let mut starts = BTreeMap::new();
        for line in fs::read_to_string(self.path("log"))?.lines() {
            match line.split_once(' ') {
                Some((run, "start")) => *starts.entry(run.to_owned()).or_default() += 1,
                Some((_, "end")) => {}
                _ => bail!("the log of the Runs says: {line}"),
            }
        }
        ensure!(!starts.is_empty(), "no Run has started");
        Ok(starts)
    }
}

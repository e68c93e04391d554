//! Workspaces that Runs share (ADR 15).

use crate::{Run, RunSpec};

impl RunSpec {
    /// Its part in a shared workspace.
    #[must_use]
    pub fn share(&self) -> Share<'_> {
        match (&self.workspace_group, self.holds_workspace) {
            (None, _) => Share::None,
            (Some(group), Some(true)) => Share::Holds(group),
            (Some(group), Some(false) | None) => Share::Within(group),
        }
    }
}

/// The part of a Run in a shared workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share<'a> {
    /// It has a workspace of its own.
    None,
    /// It holds that of this group.
    Holds(&'a str),
    /// It works in that of this group.
    Within(&'a str),
}

impl Run {
    /// Its group, as no Run of another owner has it: whoever knows the name of a Workflow's group can't enter by it.
    #[must_use]
    pub fn workspace_key(&self) -> Option<String> {
        let group = self.spec.workspace_group.as_ref()?;
        let owners = self.metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        Some(format!("{}/{group}", owner.map_or("", |owner| owner.uid.as_str())))
    }
}

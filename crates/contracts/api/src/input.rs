//! What a Run takes from earlier ones.

use crate::{ArtifactRef, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An artifact of an earlier Run, put into the working directory: of the Run that `fromRun` names, or the one that `ref`
/// describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunInput {
    /// Name of the artifact, as `krt artifact list RUN` shows it.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Run of this namespace that has left it. It must have ended, and its artifacts must be in the store that the Runtime of
    /// this Run has. Default: none. Example: `build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub from_run: Option<String>,
    /// An entry of `status.artifactRefs` of a Run of this namespace, as it stands there: this content and no other, whatever Run
    /// has that name by then. Default: none.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Box<ArtifactRef>>,
    /// Where it is put, relative to the working directory: a file as this file, with mode 0644; a directory as this directory.
    /// Directories before it are made; nothing that is there is replaced. Default: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = "limits::INPUT_PATH_CHARS"))]
    pub path: Option<String>,
}

impl RunInput {
    /// Where it is put.
    #[must_use]
    pub fn place(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.name)
    }
}

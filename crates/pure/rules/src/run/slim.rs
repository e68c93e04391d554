//! What deciding about a Run needs of it.

use kruntimes_api::Run;

/// The Run without what only its pod needs: scripts and arguments would fill the memory of whoever keeps many.
#[must_use]
pub fn slim(mut run: Run) -> Run {
    run.spec.source = None;
    run.spec.args = Vec::new();
    run.spec.env = Vec::new();
    run.metadata.managed_fields = None;
    if let Some(status) = &mut run.status {
        status.outputs.clear();
        status.artifact_refs = Vec::new();
    }
    run
}

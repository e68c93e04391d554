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

#[cfg(test)]
mod tests {
    use super::slim;
    use serde_json::{Value, json};

    #[test]
    fn what_decisions_need_stays() {
        let kept = json!({
            "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
            "metadata": {"name": "r", "namespace": "n", "uid": "u", "resourceVersion": "7"},
            "spec": {"runtime": "bash", "timeoutSeconds": 9, "cancelRequested": true},
            "status": {"phase": "Running", "attempt": 2, "assignedPod": "p", "message": "m"},
        });
        let mut whole = kept.clone();
        whole["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        for (field, value) in [
            ("source", json!({"inline": "true"})),
            ("args", json!(["a"])),
            ("env", json!([{"name": "A", "value": "1"}])),
        ] {
            whole["spec"][field] = value;
        }
        whole["status"]["outputs"] = json!({"a": "1"});
        let found = slim(serde_json::from_value(whole).unwrap());
        let found: Value = serde_json::to_value(found).unwrap();
        assert_eq!(found, kept);
    }
}

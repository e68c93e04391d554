//! What the token of a pod may write: the rule of the chart's admission policies, as our API server holds it.
//!
//! Invariant: a runtimed writes the status of Runs that are assigned to its pod, name and UID, and its own Lease alone.

use serde_json::Value;

/// The pod whose token signs a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodToken<'a> {
    /// Name.
    pub name: &'a str,
    /// UID.
    pub uid: &'a str,
}

/// Judges a change of a Run's status.
///
/// # Errors
/// A sentence that says why not. It is answered as Invalid (422): a runtimed takes it as the word that the Run is not
/// its own any more, as it does that of the CRD.
pub fn run_status(token: PodToken<'_>, old: &Value, new: &Value) -> Result<(), &'static str> {
    if text(old, "/status/assignedPod") != token.name
        || text(old, "/status/assignedPodUID") != token.uid
    {
        return Err("the Run is not assigned to its pod");
    }
    if text(new, "/status/phase") == "Scheduled" {
        return Err("a runtimed never schedules");
    }
    Ok(())
}

/// Judges a write of a Lease.
///
/// # Errors
/// A sentence that says why not. It is answered as Forbidden (403).
pub fn lease(token: PodToken<'_>, new: &Value) -> Result<(), &'static str> {
    if text(new, "/metadata/name") == token.name {
        Ok(())
    } else {
        Err("a runtimed writes only the Lease named as its pod")
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ME: PodToken<'static> = PodToken { name: "p", uid: "1" };

    fn run(phase: &str, pod: &str, uid: &str) -> Value {
        json!({"status": {"phase": phase, "assignedPod": pod, "assignedPodUID": uid}})
    }

    #[test]
    fn a_runtimed_writes_the_status_of_its_own_runs_and_schedules_none() {
        let ended = run("Succeeded", "p", "1");
        for (old, new, allowed) in [
            (run("Running", "p", "1"), &ended, true),
            (run("Running", "q", "1"), &ended, false),
            (run("Running", "p", "2"), &ended, false),
            (json!({"status": {"phase": "Pending", "assignedPodUID": "1"}}), &ended, false),
            (Value::Null, &ended, false),
            (run("Scheduled", "p", "1"), &run("Scheduled", "p", "1"), false),
        ] {
            assert_eq!(run_status(ME, &old, new).is_ok(), allowed, "{old} -> {new}");
        }
    }

    #[test]
    fn a_runtimed_writes_the_lease_of_its_name_alone() {
        assert!(lease(ME, &json!({"metadata": {"name": "p"}})).is_ok());
        assert!(lease(ME, &json!({"metadata": {"name": "q"}})).is_err());
        assert!(lease(ME, &json!({})).is_err());
    }
}

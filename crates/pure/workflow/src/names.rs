//! Names of children: the same whenever they are asked for, so that what was created is found again.

use sha2::{Digest, Sha256};

/// Characters of a name: it is a label's value elsewhere.
const MAX: usize = 63;
/// Characters before the hash.
const PREFIX: usize = 52;
const HASH: usize = 10;

/// Which child of a Workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The job.
    pub job: &'a str,
    /// The leg of its matrix.
    pub leg: Option<&'a str>,
    /// The step; none where the child is the whole job.
    pub step: Option<&'a str>,
    /// The attempt of the leg, from 1.
    pub attempt: i32,
}

/// The name of a child: `wf-<workflow>-<job>-<step>`, with a hash where that is no name.
#[must_use]
pub fn child(workflow: &str, place: Place<'_>) -> String {
    let mut raw = format!("wf-{workflow}-{}", place.job);
    for part in [place.leg, place.step].into_iter().flatten() {
        raw.push('-');
        raw.push_str(part);
    }
    if place.attempt > 1 {
        raw.push_str(&format!("-{}", place.attempt));
    }
    let plain = plain(&raw);
    if plain == raw && raw.len() <= MAX { raw } else { hashed(&plain, &raw) }
}

/// The name of a child whose first name is somebody else's: no other Workflow, and no other step, has it.
#[must_use]
pub fn other(uid: &str, workflow: &str, place: Place<'_>) -> String {
    let Place { job, leg, step, attempt } = place;
    let (leg, step) = (leg.unwrap_or_default(), step.unwrap_or_default());
    hashed(&plain(&child(workflow, place)), &format!("{uid}/{job}/{leg}/{step}/{attempt}"))
}

fn plain(raw: &str) -> String {
    let mut plain = String::with_capacity(raw.len());
    for c in raw.chars().map(|c| c.to_ascii_lowercase()) {
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        if c != '-' || !plain.ends_with('-') {
            plain.push(c);
        }
    }
    plain
}

fn hashed(plain: &str, of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let hash: String = digest.iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect();
    let prefix: String = plain.chars().take(PREFIX).collect();
    format!("{}-{hash}", prefix.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(job: &str, step: &str) -> String {
        child("wf1", Place { job, leg: None, step: Some(step), attempt: 1 })
    }

    #[test]
    fn a_name_that_kubernetes_takes_is_kept_and_another_gets_a_hash() {
        assert_eq!(of("build", "compile"), "wf-wf1-build-compile");
        assert_eq!(of("Bad_Name", "s1"), "wf-wf1-bad-name-s1-bb9c4dc681");
        let fits = "j".repeat(63 - "wf-wf1--s".len());
        assert_eq!(of(&fits, "s"), format!("wf-wf1-{fits}-s"));
        let long = of(&format!("{fits}j"), "s");
        assert_eq!((long.len(), long.starts_with("wf-wf1-jjj")), (63, true), "{long}");
    }

    #[test]
    fn legs_and_attempts_have_names_of_their_own() {
        let name = |leg, attempt| child("w", Place { job: "t", leg, step: Some("s"), attempt });
        assert_eq!(name(Some("linux"), 1), "wf-w-t-linux-s");
        assert_eq!(name(Some("linux"), 2), "wf-w-t-linux-s-2");
        assert_eq!(name(None, 1), "wf-w-t-s");
    }

    #[test]
    fn the_other_name_differs_by_workflow_and_by_step() {
        let place = |job, step| Place { job, leg: None, step: Some(step), attempt: 1 };
        assert_eq!(child("w", place("a-b", "c")), child("w", place("a", "b-c")));
        let all = [
            other("uid1", "w", place("a-b", "c")),
            other("uid1", "w", place("a", "b-c")),
            other("uid2", "w", place("a", "b-c")),
        ];
        assert!(
            all.iter().all(|name| name.len() <= MAX && name.starts_with("wf-w-a-b-c-")),
            "{all:?}"
        );
        assert!(all[0] != all[1] && all[1] != all[2], "{all:?}");
    }
}

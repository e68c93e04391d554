//! What the answers of the API server mean.

use crate::child::Child;
use crate::execution::{Answer, Seen};
use kruntimes_rules::mutant::{self, Mutant};
use kube::ResourceExt;

/// The name of a child exists already: whether it is the child itself, of a creation whose answer was lost.
pub fn found(
    there: &impl ResourceExt,
    seen: Option<Seen>,
    uid: &str,
    child: &Child,
) -> (Answer, Option<Seen>) {
    let is_ours = mutant::is(Mutant::OwnerNotChecked)
        || there.owner_references().iter().any(|owner| owner.uid == uid);
    match seen.filter(|seen| is_ours && seen.child == *child) {
        Some(seen) => (Answer::Made, Some(seen)),
        None => (Answer::Taken, None),
    }
}

/// What another try of a creation can't mend. A quota is exceeded only until other objects go.
#[must_use]
pub fn is_final(code: u16, message: &str) -> bool {
    matches!(code, 400 | 403 | 404 | 413 | 422) && !message.contains("exceeded quota")
}

/// Whether a child needs no other try to be asked to end: it is gone, or has ended.
#[must_use]
pub const fn is_asked(code: u16) -> bool {
    matches!(code, 404 | 422)
}

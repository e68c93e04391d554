//! What an attempt leaves behind: its output, and for some the artifacts that go into a store which all pods share.

use super::Runtimed;
use crate::core::Core;
use crate::message::Step;
use crate::oracle;
use crate::points::{Effect as Point, Side};
use kruntimes_api::{ArtifactRef, Reason};
use kruntimes_rules::run::event::{Collected, Event};
use kruntimes_rules::run::outputs::Outputs;
use serde_json::json;
use std::time::Duration;

/// One success in so many keeps artifacts.
const ARTIFACTS_PERMILLE: u64 = 300;
/// Who waits for the Lease looks again after this.
const LOOK: Duration = Duration::from_millis(100);

impl Runtimed {
    pub(super) fn collect(&mut self, core: &mut Core, uid: &str) {
        if core.gate(self.me, Point::LookThrough, Side::Before) {
            let wait = core.random.millis(0, 5);
            self.schedule(core, uid, wait, Step::Collected);
            core.gate(self.me, Point::LookThrough, Side::After);
        }
    }

    pub(super) fn collected(&mut self, core: &mut Core, uid: &str) {
        let number = self.attempts.get(uid).map_or(0, |attempt| attempt.number);
        let outputs = Outputs::from([(name(number), number.to_string())]);
        let artifacts = core.random.permille(ARTIFACTS_PERMILLE);
        let collected = Collected { outputs, artifacts, refused: None };
        self.tell(core, uid, Event::Collected(collected));
    }

    pub(super) fn keep_artifacts(&mut self, core: &mut Core, uid: &str) {
        if core.gate(self.me, Point::KeepArtifacts, Side::Before) {
            let slow = core.random.permille(100);
            let wait =
                if slow { core.random.millis(1000, 60_000) } else { core.random.millis(1, 200) };
            self.schedule(core, uid, wait, Step::Kept);
        }
    }

    pub(super) fn stop_keeping(&mut self, core: &mut Core, uid: &str) {
        if let Some(attempt) = self.attempts.get_mut(uid) {
            attempt.keeping_stopped = true;
        }
        let wait = core.random.millis(0, 20);
        self.schedule(core, uid, wait, Step::Kept);
    }

    /// The artifact takes its place, as `roles/runtimed/src/artifacts.rs` has it: not without the Lease.
    pub(super) fn kept(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get(uid) else { return };
        let number = attempt.number;
        if attempt.keeping_stopped {
            let stopped = (Reason::ArtifactStoreFailed, "stopped".to_owned());
            return self.tell(core, uid, Event::Kept(Err(stopped)));
        }
        if !self.is_held(core) {
            return self.schedule(core, uid, LOOK, Step::Kept);
        }
        oracle::stored(core, uid, number);
        if core.gate(self.me, Point::KeepArtifacts, Side::After) && core.is_up(self.me) {
            let refs = reference(number).into_iter().collect();
            self.tell(core, uid, Event::Kept(Ok(refs)));
        }
    }
}

/// What tells the attempt that left something behind.
fn name(attempt: i32) -> String {
    format!("of-{attempt}")
}

fn reference(attempt: i32) -> Option<ArtifactRef> {
    serde_json::from_value(json!({
        "name": name(attempt), "driver": "filesystem", "type": "file", "sizeBytes": 1,
        "location": {}, "createdAt": "2026-01-01T00:00:00Z",
    }))
    .ok()
}

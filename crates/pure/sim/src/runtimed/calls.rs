//! Status writes, sent until the API server has answered, as `roles/runtimed/src/write.rs` does.

use super::Runtimed;
use crate::core::Core;
use crate::message::Step;
use crate::points::{Effect as Point, Side};
use crate::schema::Kind;
use crate::store::{Code, Op, Reply};
use kruntimes_api::Timeline;
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::outcome::Outcome;
use kruntimes_rules::run::patch;
use kruntimes_rules::run::phase::{Writer, legal};
use std::sync::Arc;
use std::time::Duration;

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) type Answer = Result<Reply, Code>;

/// A request to the API server that is under way.
#[derive(Debug)]
pub(super) enum Call {
    Running { uid: String, life: u64 },
    Last { uid: String, life: u64 },
}

/// A call of the server that is under way.
#[derive(Debug)]
pub(super) enum Rpc {
    Execute(String),
    Status(String),
    Cancel(String),
    Forget(String),
    Sweep(String),
    Arm { uid: String, epoch: u64 },
    Renew { epoch: u64 },
}

impl Rpc {
    /// The Run whose attempt asks.
    pub(super) fn attempt(&self) -> Option<&String> {
        match self {
            Self::Execute(uid) | Self::Status(uid) | Self::Cancel(uid) | Self::Forget(uid) => {
                Some(uid)
            }
            Self::Arm { uid, .. } => Some(uid),
            Self::Sweep(_) | Self::Renew { .. } => None,
        }
    }
}

/// The last write of an attempt.
#[derive(Debug, Clone)]
pub(super) enum Final {
    Terminal(Outcome, Timeline),
    Retry(Outcome, Timeline),
    HandBack(String),
}

impl Final {
    const fn point(&self) -> Point {
        match self {
            Self::Terminal(..) => Point::Finish,
            Self::Retry(..) => Point::Retry,
            Self::HandBack(_) => Point::HandBack,
        }
    }
}

impl Runtimed {
    pub(super) fn start_running(&mut self, core: &mut Core, uid: &str, timeline: Timeline) {
        if let Some(attempt) = self.attempts.get_mut(uid) {
            attempt.running = Some((Arc::clone(&attempt.run), timeline));
            attempt.running_pause = FIRST_PAUSE;
            self.write_running(core, uid);
        }
    }

    pub(super) fn write_running(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get(uid).filter(|attempt| !attempt.ending) else {
            return;
        };
        let Some((run, timeline)) = &attempt.running else { return };
        let patch = patch::running(run, timeline, attempt.clock.now(core, self.me));
        if !legal(run.phase(), patch.phase, Writer::Runtimed) {
            return;
        }
        let name = run.metadata.name.clone().unwrap_or_default();
        let life = attempt.life;
        if core.gate(self.me, Point::Running, Side::Before) {
            let call = core.request(self.me, Op::PatchStatus(Kind::Run, name, patch.body));
            self.calls.insert(call, Call::Running { uid: uid.to_owned(), life });
            core.gate(self.me, Point::Running, Side::After);
        }
    }

    pub(super) fn start_last(&mut self, core: &mut Core, uid: &str, last: Final) {
        if let Some(attempt) = self.attempts.get_mut(uid) {
            attempt.ending = true;
            attempt.last = Some((Arc::clone(&attempt.run), last));
            attempt.pause = FIRST_PAUSE;
            self.write_last(core, uid);
        }
    }

    pub(super) fn write_last(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get(uid) else { return };
        let Some((run, last)) = &attempt.last else { return };
        let now = attempt.clock.now(core, self.me);
        let patch = match last {
            Final::Terminal(outcome, timeline) => patch::finish(run, outcome, timeline, now),
            Final::Retry(outcome, timeline) => patch::retry(run, outcome, timeline, now),
            Final::HandBack(message) => patch::hand_back(run, message, now),
        };
        if !legal(run.phase(), patch.phase, Writer::Runtimed) {
            return self.tell(core, uid, Event::Written);
        }
        let name = run.metadata.name.clone().unwrap_or_default();
        let (life, point) = (attempt.life, last.point());
        if core.gate(self.me, point, Side::Before) {
            let call = core.request(self.me, Op::PatchStatus(Kind::Run, name, patch.body));
            self.calls.insert(call, Call::Last { uid: uid.to_owned(), life });
            core.gate(self.me, point, Side::After);
        }
    }

    pub(super) fn written(&mut self, core: &mut Core, call: Call, result: &Answer) {
        let lost = matches!(result, Err(409)) && mutant::is(Mutant::ConflictIsLoss);
        let stale = lost || matches!(result, Err(404 | 422));
        match call {
            Call::Running { uid, life } => {
                let Some(attempt) = self.attempts.get_mut(&uid).filter(|a| a.life == life) else {
                    return;
                };
                if stale && !attempt.ending {
                    self.tell(core, &uid, Event::Deleted);
                } else if result.is_err() && !stale {
                    let pause = attempt.running_pause;
                    attempt.running_pause = (pause * 2).min(LONGEST_PAUSE);
                    self.schedule(core, &uid, pause, Step::RunningAgain);
                }
            }
            Call::Last { uid, life } => {
                let Some(attempt) = self.attempts.get_mut(&uid).filter(|a| a.life == life) else {
                    return;
                };
                if result.is_ok() || stale || attempt.gone {
                    return self.tell(core, &uid, Event::Written);
                }
                let pause = attempt.pause;
                attempt.pause = (pause * 2).min(LONGEST_PAUSE);
                self.schedule(core, &uid, pause, Step::WriteAgain);
            }
        }
    }
}

//! The pod's Lease, as `roles/runtimed/src/keeper.rs` keeps it; and what a break asks for.

use super::Runtimed;
use super::calls::{Answer as Result, Rpc};
use crate::core::Core;
use crate::message::{Address, Ask, Body};
use crate::points::{Effect as Point, Side};
use crate::schema::Kind;
use crate::store::{Object, Op, Reply};
use kruntimes_rules::fence::object::{self, Change, Owner};
use kruntimes_rules::fence::{Answer, LeaseView, Step};
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::run::event::Event;
use serde_json::json;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn boottime(core: &Core, me: Address) -> Duration {
    if mutant::is(Mutant::WallClockLease) {
        let since = core.wall(me).as_microsecond() - 1_700_000_000_000_000;
        return Duration::from_micros(u64::try_from(since).unwrap_or_default());
    }
    core.monotonic(me)
}

/// What was asked about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Look,
    Write,
}

impl Runtimed {
    pub(super) fn is_held(&self, core: &Core) -> bool {
        self.holder.is_held(boottime(core, self.me)) || mutant::is(Mutant::ExecuteWithoutLease)
    }

    /// Has the holder go on until it waits.
    pub(super) fn keep(&mut self, core: &mut Core) {
        loop {
            if !core.is_up(self.me) {
                return;
            }
            let now = boottime(core, self.me);
            let step = self.holder.step(now);
            self.look_at_held(core);
            match step {
                Step::Wait(until) => {
                    if let Some(until) = until {
                        let wait = until.saturating_sub(now);
                        let at = core.monotonic(self.me) + wait;
                        if self.alarm != Some(at) {
                            self.alarm = Some(at);
                            core.wake(self.me, at, Body::Wake);
                        }
                    }
                    return;
                }
                Step::Fence => {
                    core.counts.fenced += 1;
                    if !mutant::is(Mutant::NoFence) {
                        self.tell_all(core, &Event::Fenced);
                    }
                }
                Step::Clear => self.broken(core),
                Step::Look => {
                    let op = Op::Get(Kind::Lease, core.pods[self.at].name.clone());
                    let call = core.request_within(self.me, op, ANSWER_WITHIN);
                    self.lease_call = Some((call, now, Asked::Look));
                }
                Step::Hold(version) => self.write_lease(core, version, Point::Hold),
                Step::Release(version) => self.write_lease(core, Some(version), Point::Release),
            }
        }
    }

    fn look_at_held(&mut self, core: &mut Core) {
        let held = self.is_held(core);
        if held && !std::mem::replace(&mut self.was_held, held) {
            self.epoch += 1;
            let waiting = self.attempts.iter().filter(|(_, attempt)| attempt.awaits_lease);
            for uid in waiting.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
                if let Some(attempt) = self.attempts.get_mut(&uid) {
                    attempt.awaits_lease = false;
                }
                self.tell(core, &uid, Event::LeaseHeld);
            }
        }
        self.was_held = held;
    }

    fn write_lease(&mut self, core: &mut Core, version: Option<String>, point: Point) {
        let sent = boottime(core, self.me);
        if !core.gate(self.me, point, Side::Before) {
            return;
        }
        let pod = &core.pods[self.at];
        let owner = Owner { name: &pod.name, uid: &pod.uid, runtime: "bash" };
        let lasts = core.settings.fence_after;
        let change =
            if point == Point::Hold { Change::Hold(lasts) } else { Change::Release(lasts) };
        let body = json!(object::lease(owner, version.clone(), change, core.wall(self.me)));
        let op = match version {
            None => Op::Create(Kind::Lease, body),
            Some(_) => Op::Replace(Kind::Lease, core.pods[self.at].name.clone(), body),
        };
        let call = core.request_within(self.me, op, ANSWER_WITHIN);
        self.lease_call = Some((call, sent, Asked::Write));
        core.gate(self.me, point, Side::After);
    }

    pub(super) fn lease_answered(&mut self, core: &mut Core, result: &Result) {
        let Some((_, sent, asked)) = self.lease_call.take() else { return };
        let now = boottime(core, self.me);
        if asked == Asked::Look {
            match result {
                Ok(Reply::Object(lease)) => {
                    let view = self.view(core, lease);
                    self.holder.looked(Some(view));
                }
                Err(404) => self.holder.looked(None),
                Ok(_) | Err(_) => self.holder.not_looked(now),
            }
            return;
        }
        let answer = match result {
            Ok(Reply::Object(lease)) => Answer::Stored(lease.version()),
            Err(404 | 409) => Answer::Conflict,
            Ok(_) | Err(_) => Answer::Failed,
        };
        self.holder.answered(answer, sent, now);
        if self.holder.is_held(now) {
            self.look_at_held(core);
            self.arm(core);
        }
    }

    fn view(&self, core: &Core, lease: &Object) -> LeaseView {
        let lease = serde_json::from_value(lease.stored.value()).expect("the store checks Leases");
        LeaseView::of(&lease, &core.pods[self.at].uid)
    }

    /// Tells the server of a renewal.
    pub(super) fn arm(&mut self, core: &mut Core) {
        let rpc = Rpc::Renew { epoch: self.epoch };
        self.renew(core, rpc);
    }

    pub(super) fn renew(&mut self, core: &mut Core, rpc: Rpc) {
        let until = self.holder.held_until().unwrap_or_default();
        let ttl = until.saturating_sub(boottime(core, self.me));
        if ttl.is_zero() || mutant::is(Mutant::NoDeadMan) {
            return;
        }
        self.armed = None;
        if core.gate(self.me, Point::Renew, Side::Before) {
            self.ask(core, Ask::Renew { ttl }, super::effects::CALL_WITHIN, rpc);
            core.gate(self.me, Point::Renew, Side::After);
        }
    }
}

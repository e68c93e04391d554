//! A runtimed: a thin actor around the shipped `Roster`, `Machine` and `Holder`, as `roles/runtimed` is.

mod attempt;
mod calls;
mod effects;
mod keeper;
mod keeping;
mod slots;

use crate::core::Core;
use crate::message::{Address, Body, ClusterStep};
use crate::schema::Kind;
use crate::watch::{Seen, Watch};
use attempt::Attempt;
use calls::{Call, Rpc};
use kruntimes_api::Phase;
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::fence::{Holder, Timing};
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::roster::{Identity, Order, Origin, Roster};
use slots::Slots;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);
const LINGER: Duration = Duration::from_secs(3);
const LAST_PART: Duration = Duration::from_secs(8);

/// One life of a runtimed.
#[derive(Debug)]
pub(crate) struct Runtimed {
    at: usize,
    me: Address,
    roster: Roster,
    /// Held until all that an earlier life left is swept.
    alone: Option<Resources>,
    sweeps: BTreeSet<String>,
    attempts: BTreeMap<String, Attempt>,
    lives: u64,
    watch: Watch,
    slots: Slots,
    holder: Holder,
    lease_call: Option<(u64, Duration, keeper::Asked)>,
    alarm: Option<Duration>,
    /// Rises whenever the server must be renewed anew.
    epoch: u64,
    was_held: bool,
    armed: Option<u64>,
    calls: BTreeMap<u64, Call>,
    rpcs: BTreeMap<u64, (Rpc, Option<u64>)>,
    ends_at: Option<Duration>,
    leaving: bool,
}

impl Runtimed {
    pub(crate) fn start(core: &mut Core, at: usize) -> Self {
        let me = Address::Runtimed(at);
        let lived = std::mem::replace(&mut core.pods[at].lived, true);
        let begun = !lived || mutant::is(Mutant::BegunAnew);
        let origin = if begun { Origin::Here } else { Origin::Former };
        let pod = &core.pods[at];
        let identity = Identity { name: pod.name.clone(), uid: pod.uid.clone() };
        let lives_on = pod.journal.values().any(|entry| entry.open);
        let left = if mutant::is(Mutant::NoSweep) { BTreeSet::new() } else { pod.left() };
        let start = if lives_on { Holder::resume } else { Holder::new };
        let timing = Timing::fencing_after(pod.fence_after);
        let selector = format!("status.assignedPod={}", pod.name);
        let mut slots = Slots::new(pod.capacity.clone());
        let lone = !left.is_empty() && !mutant::is(Mutant::SweptNotCounted);
        let alone = lone.then(|| slots.take_all());
        let now = keeper::boottime(core, me);
        let holder = start(timing, now);
        let holder = if lived { holder.after_another(now) } else { holder };
        let mut watch = Watch::new(me, 0, Kind::Run, "", &selector);
        watch.start(core);
        let mut started = Self {
            at,
            me,
            alone,
            sweeps: BTreeSet::new(),
            roster: Roster::new(identity, origin, left),
            attempts: BTreeMap::new(),
            lives: 0,
            watch,
            slots,
            holder,
            lease_call: None,
            alarm: None,
            epoch: 0,
            was_held: false,
            armed: None,
            calls: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            ends_at: None,
            leaving: false,
        };
        started.keep(core);
        started
    }

    pub(crate) fn handle(&mut self, core: &mut Core, body: Body) {
        match body {
            Body::Answer { call, result } => self.answered(core, call, &result),
            Body::Shown { session, event, .. } => {
                let seen = self.watch.shown(core, session, event);
                self.on_watch(core, seen);
            }
            Body::Rewatch { .. } => self.watch.resume(core),
            Body::Said { call, said } => self.said(core, call, said),
            Body::Told { uid, attempt, event } => self.told(core, &uid, attempt, event),
            Body::Attempt { uid, life, what } => self.step_of(core, &uid, life, &what),
            Body::Terminate { within } => self.drain(core, within),
            Body::Reconnected => self.reconnected(core),
            Body::SweepAgain { uid } => self.sweep(core, &uid),
            Body::Wake => self.alarm = None,
            _ => {}
        }
        self.keep(core);
        self.look_at_end(core);
    }

    fn answered(&mut self, core: &mut Core, call: u64, result: &calls::Answer) {
        if let Some(seen) = self.watch.answered(core, call, result) {
            return self.on_watch(core, seen);
        }
        if self.lease_call.is_some_and(|(mine, ..)| mine == call) {
            return self.lease_answered(core, result);
        }
        if let Some(known) = self.calls.remove(&call) {
            self.written(core, known, result);
        }
    }

    fn on_watch(&mut self, core: &mut Core, seen: Vec<Seen>) {
        for seen in seen {
            let orders = match seen {
                Seen::Interrupted => {
                    self.holder.suspect();
                    continue;
                }
                Seen::ListBegins => {
                    self.roster.list_begins();
                    continue;
                }
                Seen::Listed(object) => object.run.map(|run| self.roster.listed(run)),
                Seen::ListEnds => {
                    self.holder.suspect();
                    let orders = self.roster.list_ends();
                    self.perform_orders(core, orders);
                    self.look_at_sweeps(core);
                    self.look_at_idle(core);
                    self.look_at_clearing();
                    continue;
                }
                Seen::Applied(object) => object.run.map(|run| self.roster.observe(run)),
                Seen::Deleted(object) => {
                    let uid = &object.stored.uid;
                    if self.attempts.contains_key(uid) {
                        crate::oracle::watch_death(core, self.at, uid);
                    }
                    if mutant::is(Mutant::DeletionKillsNothing) {
                        continue;
                    }
                    let phase = object.run.as_ref().map_or(Phase::Pending, |run| run.phase());
                    Some(self.roster.gone(&object.stored.uid, phase))
                }
            };
            self.perform_orders(core, orders.unwrap_or_default());
        }
    }

    pub(super) fn perform_orders(&mut self, core: &mut Core, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Begin(uid, run, origin) => {
                    self.holder.work();
                    self.begin(core, &uid, run, origin);
                    if self.ends_at.is_some() {
                        self.tell(core, &uid, Event::Drain);
                    }
                }
                Order::Update(uid, run) => self.update(core, &uid, run),
                Order::Gone(uid) => {
                    if let Some(attempt) = self.attempts.get_mut(&uid) {
                        attempt.gone = true;
                        crate::oracle::watch_death(core, self.at, &uid);
                    }
                    self.tell(core, &uid, Event::Deleted);
                }
                Order::Sweep(uid) => {
                    self.holder.work();
                    self.sweeps.insert(uid.clone());
                    self.sweep(core, &uid);
                }
                Order::Break(uid) => self.tell(core, &uid, Event::Broken),
                Order::Forget(_) | Order::KeepOnly(_) => {}
            }
        }
    }

    pub(super) fn tell_all(&mut self, core: &mut Core, event: &Event) {
        for uid in self.attempts.keys().cloned().collect::<Vec<_>>() {
            self.tell(core, &uid, event.clone());
        }
    }

    /// An attempt, or a sweep, has ended.
    pub(super) fn on_ended(&mut self, core: &mut Core, uid: &str) {
        let orders = self.roster.ended(uid);
        self.perform_orders(core, orders);
        self.look_at_idle(core);
        self.look_at_clearing();
    }

    fn look_at_idle(&mut self, core: &Core) {
        if self.roster.is_empty() {
            self.holder.idle(keeper::boottime(core, self.me));
        }
    }

    pub(super) fn look_at_sweeps(&mut self, core: &mut Core) {
        if let Some(all) = self.alone.take_if(|_| self.sweeps.is_empty()) {
            self.give_back(core, &all);
        }
    }

    pub(super) fn look_at_clearing(&mut self) {
        if self.roster.is_cleared() {
            self.holder.cleared();
        }
    }

    pub(super) fn broken(&mut self, core: &mut Core) {
        let orders = self.roster.broken();
        self.perform_orders(core, orders);
        if mutant::is(Mutant::OldWatchGoesOn) {
            self.watch.list_beside(core);
        } else {
            self.watch.start(core);
        }
        if mutant::is(Mutant::ClearTooEarly) {
            self.holder.cleared();
        }
    }

    fn drain(&mut self, core: &mut Core, within: Duration) {
        let last = LAST_PART.min(within / 2);
        let ends_at = core.now + (within - last);
        self.ends_at = Some(ends_at);
        core.post(ends_at, self.me, Body::Wake);
        self.tell_all(core, &Event::Drain);
    }

    fn look_at_end(&mut self, core: &mut Core) {
        let Some(ends_at) = self.ends_at else { return };
        if self.leaving {
            if self.attempts.is_empty() || core.now >= ends_at {
                core.post_any(
                    core.now,
                    Address::Cluster,
                    Body::Cluster(ClusterStep::Kill(self.at)),
                );
            }
            return;
        }
        if self.roster.is_empty() && ends_at > core.now + LINGER {
            self.ends_at = Some(core.now + LINGER);
            core.after(LINGER, self.me, Body::Wake);
            return;
        }
        if core.now >= ends_at {
            self.leaving = true;
            self.roster.close();
            self.ends_at = Some(core.now + SHUTDOWN_WITHIN);
            core.after(SHUTDOWN_WITHIN, self.me, Body::Wake);
            self.tell_all(core, &Event::Shutdown);
            core.after(Duration::ZERO, self.me, Body::Wake);
        }
    }

    pub(super) fn update(&mut self, core: &mut Core, uid: &str, run: Arc<kruntimes_api::Run>) {
        if let Some(attempt) = self.attempts.get_mut(uid) {
            attempt.run = run;
            self.tell_cancel(core, uid);
        }
    }
}

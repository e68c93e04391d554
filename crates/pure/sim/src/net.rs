//! Between nodes and the API server: requests, answers and watches, and what goes wrong on the way.

use crate::core::Core;
use crate::faults::Fault;
use crate::message::{Address, Body, Request, Shown};
use crate::points::{Effect, Side};
use crate::schema::Kind;
use crate::store::{Code, Computed, Op, Reply, SILENT, Session, UNREACHABLE};
use kruntimes_api::Phase;
use kruntimes_objects::window::{Event, EventType, Filter};
use kruntimes_rules::admission::{self, PodToken};
use kruntimes_rules::run::phase::{Writer, legal};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Core {
    /// Sends a request; its answer comes as [`Body::Answer`] with the number that is returned.
    pub(crate) fn request(&mut self, from: Address, op: Op) -> u64 {
        self.request_within(from, op, ANSWER_WITHIN)
    }

    pub(crate) fn request_within(&mut self, from: Address, op: Op, within: Duration) -> u64 {
        let call = self.fresh();
        self.after(within, from, Body::Answer { call, result: Err(SILENT) });
        let request = Request { from, epoch: self.epoch(from), call, op, answered: true };
        let cut = self.cuts.get(&from).is_some_and(|cut| cut.requests > self.now);
        if cut || self.rolls(Fault::LostRequest) {
            return call;
        }
        let mut delay = self.random.millis(0, 4);
        if self.rolls(Fault::LateRequest) {
            delay = self.random.millis(500, 15_000);
        }
        if self.rolls(Fault::DuplicateRequest) {
            let again = Request { answered: false, ..request.clone() };
            let later = delay + self.random.millis(0, 15_000);
            self.post_any(self.now + later, Address::Api, Body::Arrive(again));
        }
        self.post_any(self.now + delay, Address::Api, Body::Arrive(request));
        call
    }

    /// Whether a fault of messages strikes now.
    pub(crate) fn rolls(&mut self, fault: Fault) -> bool {
        let chance = self.settings.permille(fault);
        let strikes = self.settings.active && self.random.permille(chance);
        if strikes {
            self.fault(fault);
        }
        strikes
    }

    /// A request reaches the API server.
    pub(crate) fn arrive(&mut self, request: Request) {
        let result = self.serve(&request);
        if !request.answered {
            return;
        }
        let cut = self.cuts.get(&request.from).is_some_and(|cut| cut.answers > self.now);
        let dead = matches!(result, Err(SILENT));
        if cut || dead || self.rolls(Fault::LostReply) {
            return;
        }
        let late = self.rolls(Fault::LateReply);
        let delay = self.random.millis(0, if late { 9_000 } else { 4 });
        let body = Body::Answer { call: request.call, result };
        let epoch = Some(request.epoch);
        let envelope = crate::message::Envelope { to: request.from, epoch, body };
        self.push(self.now + delay, envelope);
    }

    fn serve(&mut self, request: &Request) -> Result<Reply, Code> {
        if !self.is_up(Address::Api) {
            return Err(UNREACHABLE);
        }
        for (fault, code) in [(Fault::TooMany, 429), (Fault::Internal, 500)] {
            if self.rolls(fault) {
                return Err(code);
            }
        }
        if let Some(pod) = request.from.pod() {
            let pod = &self.pods[pod];
            let known = self.api.get(Kind::Pod, &pod.name);
            if known.is_none_or(|stored| stored.uid != pod.uid) {
                return Err(401);
            }
        }
        match &request.op {
            Op::Get(kind, name) => {
                let stored = self.api.get(*kind, name).cloned().ok_or(404_u16)?;
                Ok(Reply::Object(self.api.object(&stored)))
            }
            Op::List(kind, filter) => {
                Ok(Reply::List(self.api.list(*kind, filter), self.api.version()))
            }
            Op::Watch { slot, kind, filter, since } => {
                self.open(request, *slot, *kind, filter, *since)
            }
            write => self.write(request.from, write),
        }
    }

    fn write(&mut self, from: Address, op: &Op) -> Result<Reply, Code> {
        if self.rolls(Fault::Conflict) {
            return Err(409);
        }
        let now = self.wall(Address::Api);
        let computed = self.api.compute(op, now)?;
        self.admit(from, op, &computed)?;
        if !self.gate(Address::Api, Effect::Commit, Side::Before) {
            return Err(SILENT);
        }
        let (kind, name) = (computed.kind, computed.key.name.clone());
        let changes = self.api.commit(computed, now, self.now)?;
        for (kind, event) in &changes {
            self.publish(from, *kind, event);
        }
        if !self.gate(Address::Api, Effect::Commit, Side::After) || !self.is_up(Address::Api) {
            return Err(SILENT);
        }
        match self.api.get(kind, &name).cloned() {
            Some(stored) => Ok(Reply::Object(self.api.object(&stored))),
            None => Ok(Reply::Done),
        }
    }

    /// The policies of the chart.
    fn admit(&mut self, from: Address, op: &Op, computed: &Computed) -> Result<(), Code> {
        let of_run = computed.kind == Kind::Run && matches!(op, Op::PatchStatus(..));
        let none = Value::Null;
        let old = computed.old.as_ref().unwrap_or(&none);
        let new = computed.new.as_ref().unwrap_or(&none);
        let writer = match from {
            Address::Runtimed(pod) => {
                let pod = &self.pods[pod];
                let token = PodToken { name: &pod.name, uid: &pod.uid };
                if of_run {
                    return admission::run_status(token, old, new).map_err(|_| 422);
                }
                if computed.kind == Kind::Lease {
                    return admission::lease(token, new).map_err(|_| 403);
                }
                return Ok(());
            }
            Address::Scheduler(_) => Writer::Scheduler,
            Address::Controller(_) => Writer::Controller,
            Address::Api | Address::Server(_) | Address::Cluster | Address::Client => return Ok(()),
        };
        let allowed = !of_run || legal(phase(old), phase(new), writer);
        if allowed { Ok(()) } else { Err(422) }
    }

    /// A change is durable: watches get it, and the promises are checked.
    fn publish(&mut self, from: Address, kind: Kind, event: &Arc<Event>) {
        let version = event.change.version;
        self.trace.note(self.now, "commit", from.code(), version);
        if let Some(stored) = event.change.new.as_ref().or(event.change.old.as_ref()) {
            let (name, gone) = (&stored.key.name, event.change.new.is_none());
            self.trace.say(self.now, || {
                let what = if gone { "removed" } else { "written" };
                format!("{kind:?} {name} {what} by {from:?} at {version}{}", brief(event))
            });
        }
        crate::oracle::on_change(self, from, kind, event);
        let sessions: Vec<(Address, usize)> = self
            .api
            .sessions
            .iter()
            .filter(|(_, (_, session))| session.kind == kind && !session.deaf)
            .map(|(key, _)| *key)
            .collect();
        for (to, slot) in sessions {
            self.show(to, slot, event);
        }
    }

    fn show(&mut self, to: Address, slot: usize, event: &Arc<Event>) {
        let duplicate = self.rolls(Fault::DuplicateEvent);
        let jitter = self.random.millis(0, 4);
        let cut = self.cuts.get(&to).map(|cut| cut.answers).unwrap_or_default();
        let Some((id, session)) = self.api.sessions.get_mut(&(to, slot)) else { return };
        let Some(kind) = session.filter.classify(&event.change) else { return };
        let at = session.busy_until.max(self.now + jitter + session.lag).max(cut);
        session.busy_until = at;
        let id = *id;
        let Some(stored) = event.object(kind).cloned() else { return };
        let shown = match kind {
            EventType::Added | EventType::Modified => Shown::Applied(self.api.object(&stored)),
            EventType::Deleted => Shown::Deleted(crate::store::Api::last_seen(&stored)),
        };
        for _ in 0..=usize::from(duplicate) {
            self.post(at, to, Body::Shown { slot, session: id, event: shown.clone() });
        }
    }

    fn open(
        &mut self,
        request: &Request,
        slot: usize,
        kind: Kind,
        filter: &Arc<Filter>,
        since: u64,
    ) -> Result<Reply, Code> {
        // A request that is late, or comes twice, opens a stream that nobody reads.
        let newest = self.api.sessions.get(&(request.from, slot)).map_or(0, |(call, _)| *call);
        if request.epoch != self.epoch(request.from) || newest >= request.call {
            return Err(SILENT);
        }
        if self.rolls(Fault::Expired) {
            self.api.compact(kind);
        }
        let events = self.api.since(kind, since)?;
        let filter = Arc::clone(filter);
        let (lag, busy_until) = (Duration::ZERO, self.now + Duration::from_millis(5));
        let session = Session { kind, filter, lag, busy_until, deaf: false };
        self.api.sessions.insert((request.from, slot), (request.call, session));
        for event in events {
            self.show(request.from, slot, &event);
        }
        Ok(Reply::Done)
    }

    /// Ends all watches of a node, or one.
    pub(crate) fn break_watches(&mut self, node: Address, with: &Shown) {
        let keys: Vec<_> =
            self.api.sessions.keys().copied().filter(|(to, _)| *to == node).collect();
        for key in keys {
            self.break_watch(key, with.clone());
        }
    }

    pub(crate) fn break_watch(&mut self, key: (Address, usize), with: Shown) {
        if let Some((session, ended)) = self.api.sessions.remove(&key) {
            let at = ended.busy_until.max(self.now);
            self.post(at, key.0, Body::Shown { slot: key.1, session, event: with });
        }
    }
}

pub(crate) fn phase(run: &Value) -> Phase {
    let phase = run.pointer("/status/phase").cloned().unwrap_or_default();
    serde_json::from_value(phase).unwrap_or_default()
}

fn brief(event: &Event) -> String {
    let Some(stored) = &event.change.new else { return String::new() };
    let object = stored.value();
    let part = |pointer: &str| match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(value) => format!(" {value}"),
    };
    [
        "/status/phase",
        "/status/attempt",
        "/status/assignedPod",
        "/status/reason",
        "/spec/holderIdentity",
        "/metadata/labels/kruntimes.io~1broken",
    ]
    .map(part)
    .concat()
}

impl Core {
    /// A write of whoever needs no faults of its own. False when the API server is not there.
    pub(crate) fn direct(&mut self, from: Address, op: &Op) -> bool {
        if !self.is_up(Address::Api) {
            return false;
        }
        let now = self.wall(Address::Api);
        let Ok(computed) = self.api.compute(op, now) else { return true };
        let Ok(changes) = self.api.commit(computed, now, self.now) else { return true };
        for (kind, event) in &changes {
            self.publish(from, *kind, event);
        }
        true
    }
}

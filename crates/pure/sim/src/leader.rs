//! One of two replicas leads: the shipped `Election` over one Lease, as `io/cluster/src/leader.rs` drives it.

use crate::core::Core;
use crate::message::{Address, Shown};
use crate::points::{Effect, Side};
use crate::schema::Kind;
use crate::store::{Code, Object, Op, Reply};
use crate::watch::{Known, Observed, Seen, Watch};
use kruntimes_rules::leader::{Answer, Election, Record, Step, Timing};
use serde_json::{Value, json};
use std::time::Duration;

const REQUEST: Duration = Duration::from_secs(5);
/// The slot of the watch of the Lease.
pub(crate) const SLOT: usize = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Write { sent: Duration },
    Look,
}

/// Stands for election.
#[derive(Debug)]
pub(crate) struct Booth {
    me: Address,
    lease: &'static str,
    identity: String,
    effect: Effect,
    election: Election,
    watch: Watch,
    known: Known,
    call: Option<(u64, Asked)>,
}

impl Booth {
    pub(crate) fn start(core: &mut Core, me: Address, lease: &'static str, effect: Effect) -> Self {
        let identity = format!("{}-{}", me.code(), core.epoch(me));
        let selector = format!("metadata.name={lease}");
        let mut watch = Watch::new(me, SLOT, Kind::Lease, "", &selector);
        watch.start(core);
        let election = Election::new(identity.clone(), Timing::default());
        Self { me, lease, identity, effect, election, watch, known: Known::default(), call: None }
    }

    pub(crate) fn leads(&self) -> bool {
        self.election.leads()
    }

    pub(crate) fn resume(&mut self, core: &mut Core) {
        self.watch.resume(core);
    }

    pub(crate) fn shown(&mut self, core: &mut Core, session: u64, event: Shown) {
        let seen = self.watch.shown(core, session, event);
        self.observe(core, seen);
    }

    /// Takes an answer; false where it is not to this.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        call: u64,
        result: &Result<Reply, Code>,
    ) -> bool {
        if let Some(seen) = self.watch.answered(core, call, result) {
            self.observe(core, seen);
            return true;
        }
        let Some((_, asked)) = self.call.take_if(|(mine, _)| *mine == call) else { return false };
        let now = core.monotonic(self.me);
        match (asked, result) {
            (Asked::Write { sent }, Ok(Reply::Object(lease))) => {
                self.election.answered(Answer::Stored(record(lease)), sent, now);
            }
            (Asked::Write { sent }, Err(404 | 409)) => {
                self.election.answered(Answer::Conflict, sent, now);
                let op = Op::Get(Kind::Lease, self.lease.to_owned());
                self.call = Some((core.request_within(self.me, op, REQUEST), Asked::Look));
            }
            (Asked::Write { sent }, _) => self.election.answered(Answer::Failed, sent, now),
            (Asked::Look, Ok(Reply::Object(lease))) => {
                self.election.observe(Some(record(lease)), now);
            }
            (Asked::Look, Err(404)) => self.election.observe(None, now),
            (Asked::Look, _) => self.election.answered(Answer::Failed, now, now),
        }
        true
    }

    fn observe(&mut self, core: &Core, seen: Vec<Seen>) {
        let now = core.monotonic(self.me);
        for seen in seen.into_iter().flat_map(|seen| self.known.observe(seen)) {
            match seen {
                Observed::Applied(lease) => self.election.observe(Some(record(&lease)), now),
                Observed::Gone(_) => self.election.observe(None, now),
                Observed::Synced => self.election.shown_all(),
                Observed::Interrupted => {}
            }
        }
    }

    /// Writes what is due. The answer is when to come again, or that the Lease is lost.
    pub(crate) fn step(&mut self, core: &mut Core) -> Result<Option<Duration>, Lost> {
        if let Some((_, Asked::Write { .. } | Asked::Look)) = self.call {
            // The work goes on beside the request, but never beyond the Lease: the request ends within 5 s.
            return Ok(None);
        }
        let (version, transitions) = match self.election.step(core.monotonic(self.me)) {
            Step::Wait(until) => return Ok(until),
            Step::Lost => return Err(Lost),
            Step::Create => (None, 0),
            Step::Take { version, transitions } | Step::Renew { version, transitions } => {
                (Some(version), transitions)
            }
        };
        if !core.gate(self.me, self.effect, Side::Before) {
            return Ok(None);
        }
        let sent = core.monotonic(self.me);
        let mut metadata = json!({"name": self.lease});
        if let Some(version) = &version {
            metadata["resourceVersion"] = json!(version);
        }
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
            "spec": {"holderIdentity": self.identity, "leaseTransitions": transitions,
                "renewTime": core.wall(self.me).to_string()},
        });
        let op = match version {
            None => Op::Create(Kind::Lease, body),
            Some(_) => Op::Replace(Kind::Lease, self.lease.to_owned(), body),
        };
        let call = core.request_within(self.me, op, REQUEST);
        self.call = Some((call, Asked::Write { sent }));
        core.gate(self.me, self.effect, Side::After);
        Ok(None)
    }
}

/// Another may lead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lost;

fn record(lease: &Object) -> Record {
    let value = lease.stored.value();
    let holder = value.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
    let transitions = value.pointer("/spec/leaseTransitions").and_then(Value::as_i64);
    Record {
        version: lease.version(),
        holder: holder.to_owned(),
        transitions: i32::try_from(transitions.unwrap_or(0)).unwrap_or(0),
    }
}

//! What all nodes share: virtual time, the queue of what happens next, chance, who is up, paused or dead.
//!
//! Invariant: events are handled in the order of (time, sequence); a node that crashed has no further effect.

use crate::count::Counts;
use crate::faults::{Fault, Settings};
use crate::message::{Address, Body, Envelope};
use crate::oracle::Oracle;
use crate::pod::Pod;
use crate::points::{Effect, Side};
use crate::random::Random;
use crate::store::Api;
use crate::trace::Trace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The world but for what nodes keep to themselves.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) now: Duration,
    queue: BTreeMap<(Duration, u64), Envelope>,
    sequence: u64,
    pub(crate) random: Random,
    pub(crate) settings: Settings,
    pub(crate) api: Api,
    pub(crate) pods: Vec<Pod>,
    pub(crate) clocks: BTreeMap<Address, crate::clock::Clock>,
    epochs: BTreeMap<Address, u32>,
    down: BTreeSet<Address>,
    paused: BTreeMap<Address, Duration>,
    dead: BTreeSet<Address>,
    pub(crate) cuts: BTreeMap<Address, Cut>,
    pub(crate) oracle: Oracle,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    next_call: u64,
}

/// Until when nothing gets through between a node and the API server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cut {
    pub(crate) requests: Duration,
    pub(crate) answers: Duration,
}

impl Core {
    pub(crate) fn new(seed: u64, settings: Settings, api: Api, trace: Trace) -> Self {
        Self {
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            random: Random::new(seed),
            settings,
            api,
            pods: Vec::new(),
            clocks: BTreeMap::new(),
            epochs: BTreeMap::new(),
            down: BTreeSet::new(),
            paused: BTreeMap::new(),
            dead: BTreeSet::new(),
            cuts: BTreeMap::new(),
            oracle: Oracle::default(),
            counts: Counts::default(),
            trace,
            next_call: 0,
        }
    }

    pub(crate) fn fresh(&mut self) -> u64 {
        self.next_call += 1;
        self.next_call
    }

    pub(crate) fn epoch(&self, node: Address) -> u32 {
        self.epochs.get(&node).copied().unwrap_or(0)
    }

    /// Has something happen to the present life of a node.
    pub(crate) fn post(&mut self, at: Duration, to: Address, body: Body) {
        let epoch = Some(self.epoch(to));
        self.push(at, Envelope { to, epoch, body });
    }

    /// Has something happen to a node whatever becomes of it until then.
    pub(crate) fn post_any(&mut self, at: Duration, to: Address, body: Body) {
        self.push(at, Envelope { to, epoch: None, body });
    }

    pub(crate) fn push(&mut self, at: Duration, envelope: Envelope) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), envelope);
    }

    pub(crate) fn after(&mut self, wait: Duration, to: Address, body: Body) {
        self.post(self.now + wait, to, body);
    }

    /// The next event that reaches somebody. Time goes on to it.
    pub(crate) fn next(&mut self, until: Duration) -> Option<Envelope> {
        loop {
            let (&key, _) = self.queue.first_key_value()?;
            if key.0 > until {
                return None;
            }
            let envelope = self.queue.remove(&key)?;
            self.now = key.0;
            if envelope.epoch.is_some_and(|epoch| epoch != self.epoch(envelope.to)) {
                continue;
            }
            let deaf = self.down.contains(&envelope.to) && envelope.to != Address::Api;
            if deaf && !matches!(envelope.body, Body::Start) {
                continue;
            }
            if let Some(resumes) = self.paused_until(envelope.to) {
                self.push(resumes, envelope);
                continue;
            }
            return Some(envelope);
        }
    }

    pub(crate) fn monotonic(&self, node: Address) -> Duration {
        self.clocks.get(&node.clock()).map_or(self.now, |clock| clock.monotonic(self.now))
    }

    pub(crate) fn wall(&self, node: Address) -> jiff::Timestamp {
        self.clocks.get(&node.clock()).map_or(jiff::Timestamp::UNIX_EPOCH, |c| c.wall(self.now))
    }

    /// Wakes a node when its monotonic clock shows `at`.
    pub(crate) fn wake(&mut self, node: Address, at: Duration, body: Body) {
        let at = self.clocks.get(&node.clock()).map_or(at, |clock| clock.instant(at));
        self.post(at, node, body);
    }

    pub(crate) fn is_up(&self, node: Address) -> bool {
        !self.down.contains(&node) && !self.dead.contains(&node)
    }

    pub(crate) fn paused_until(&self, node: Address) -> Option<Duration> {
        self.paused.get(&node).copied().filter(|until| *until > self.now)
    }

    pub(crate) fn pause(&mut self, node: Address, until: Duration) {
        let known = self.paused.entry(node).or_default();
        *known = (*known).max(until);
        self.disturb(node);
    }

    /// Ends the present life of a node: what is on its way to it gets lost.
    pub(crate) fn take_down(&mut self, node: Address) {
        self.down.insert(node);
        self.dead.remove(&node);
        self.paused.remove(&node);
        *self.epochs.entry(node).or_default() += 1;
        self.disturb(node);
    }

    pub(crate) fn bring_up(&mut self, node: Address) {
        self.down.remove(&node);
        self.disturb(node);
    }

    /// Has a node crash after this event. False where it is down already.
    pub(crate) fn kill(&mut self, node: Address) -> bool {
        self.is_up(node) && self.dead.insert(node)
    }

    fn disturb(&mut self, node: Address) {
        if let Some(pod) = node.pod().and_then(|at| self.pods.get_mut(at)) {
            pod.disturbances += 1;
        }
    }

    /// Nodes that crashed while they handled the last event.
    pub(crate) fn take_dead(&mut self) -> Vec<Address> {
        std::mem::take(&mut self.dead).into_iter().collect()
    }

    /// Asks before and after each effect of a node whether it happens. A crash drops what the node does after.
    pub(crate) fn gate(&mut self, node: Address, effect: Effect, side: Side) -> bool {
        if self.dead.contains(&node) || self.down.contains(&node) {
            return false;
        }
        // Beside a foreign server runtimed must live.
        let spared = matches!(node, Address::Runtimed(pod) if self.pods[pod].foreign);
        let chance = if spared { 0 } else { self.settings.crash_permille(effect, side) };
        if self.settings.active && self.random.permille(chance) {
            self.dead.insert(node);
            self.counts.crash(effect, side);
            self.fault(if side == Side::Before { Fault::CrashBefore } else { Fault::CrashAfter });
            self.trace.note(self.now, "crash", node.code(), effect as u64 * 2 + side as u64);
            self.trace.say(self.now, || format!("{node:?} crashes {side:?} {effect:?}"));
            return side == Side::After;
        }
        true
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.counts.fault(fault);
        self.trace.note(self.now, "fault", fault as u64, 0);
    }
}

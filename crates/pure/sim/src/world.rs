//! One seed from its beginning to its end: nodes, the loop over what happens, and what must be true at last.

use crate::client;
use crate::cluster;
use crate::controller::Controller;
use crate::core::Core;
use crate::count::Counts;
use crate::faults::{Faults, Settings};
use crate::message::{Address, Body, ClusterStep, Envelope, Shown};
use crate::oracle::Violation;
use crate::random::Random;
use crate::runtimed::Runtimed;
use crate::scheduler::Scheduler;
use crate::store::Api;
use crate::trace::{Detail, Trace};
use crate::{finish, server, workflows};
use std::collections::BTreeMap;
use std::time::Duration;

/// After the last fault everything has ended by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(1_800);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What came of a seed.
#[derive(Debug)]
pub struct Report {
    /// The same for each run of the seed.
    pub hash: u64,
    /// What happened, counted.
    pub counts: Counts,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// What happened, as far as it was asked for.
    pub lines: Vec<String>,
}

#[derive(Debug)]
enum Node {
    Scheduler(Box<Scheduler>),
    Controller(Box<Controller>),
    Runtimed(Box<Runtimed>),
}

struct World {
    core: Core,
    nodes: BTreeMap<Address, Node>,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, faults: Faults, detail: Detail) -> Report {
    let mut random = Random::new(seed ^ 0xD1B5_4A32_D192_ED03);
    let mut settings = Settings::draw(&mut random, faults);
    settings.workflows = workflows::has(seed);
    let lasts = settings.lasts;
    let mut world = World {
        core: Core::new(seed, settings, Api::new(), Trace::new(detail)),
        nodes: BTreeMap::new(),
    };
    world.begin(&mut random, lasts);
    if workflows::has(seed) {
        let mut random = Random::new(seed ^ 0x8E51_2F0B_77C3_91AD);
        workflows::draw(&mut world.core, &mut random, lasts * 6 / 10);
    }
    world.until(lasts);
    let mut at = lasts;
    while at < lasts + SETTLES_WITHIN && !finish::is_settled(&world.core) {
        at += LOOK_EVERY;
        world.until(at);
        if !world.core.oracle.violations.is_empty() {
            break;
        }
    }
    if world.core.oracle.violations.is_empty() {
        finish::check(&mut world.core, faults);
    }
    world.report()
}

impl World {
    fn begin(&mut self, random: &mut Random, lasts: Duration) {
        let core = &mut self.core;
        for node in [Address::Api, Address::Cluster, Address::Client] {
            cluster::draw_clock(core, node);
        }
        for number in [0, 1] {
            for node in [Address::Scheduler(number), Address::Controller(number)] {
                cluster::draw_clock(core, node);
                core.post_any(Duration::from_millis(u64::from(number)), node, Body::Start);
            }
        }
        let pods = core.settings.pods;
        cluster::create(core, pods);
        let mut runs = usize::try_from(6 + random.below(24)).unwrap_or(8);
        if core.settings.workflows {
            runs = runs.min(4);
        }
        client::draw(core, runs, lasts * 8 / 10);
        core.settings.active = true;
        let begin = Duration::from_secs(1);
        core.post_any(begin, Address::Cluster, Body::Cluster(ClusterStep::Fault));
        core.post_any(lasts, Address::Cluster, Body::Cluster(ClusterStep::Quiet));
    }

    fn until(&mut self, end: Duration) {
        while let Some(envelope) = self.core.next(end) {
            self.core.counts.steps += 1;
            self.core.trace.note(self.core.now, "step", envelope.to.code(), 0);
            self.handle(envelope);
            for dead in self.core.take_dead() {
                self.crash(dead);
            }
            if !self.core.oracle.violations.is_empty() {
                return;
            }
        }
        self.core.now = end;
    }

    fn handle(&mut self, envelope: Envelope) {
        let core = &mut self.core;
        match (envelope.to, envelope.body) {
            (to, Body::Start) => self.start(to),
            (Address::Api, Body::Arrive(request)) => core.arrive(request),
            (Address::Cluster, Body::Cluster(step)) => cluster::handle(core, step),
            (Address::Client, Body::Client(step)) => client::handle(core, step),
            (Address::Server(pod), body) => server::handle(core, pod, body),
            (to, body) => {
                let Some(node) = self.nodes.get_mut(&to) else { return };
                let goes_on = match node {
                    Node::Scheduler(scheduler) => scheduler.handle(core, body),
                    Node::Controller(controller) => controller.handle(core, body),
                    Node::Runtimed(runtimed) => {
                        runtimed.handle(core, body);
                        true
                    }
                };
                if !goes_on {
                    core.kill(to);
                }
            }
        }
    }

    fn start(&mut self, node: Address) {
        let core = &mut self.core;
        core.bring_up(node);
        match node {
            Address::Api => core.api.restart(),
            Address::Scheduler(_) => {
                let scheduler = Scheduler::start(core, node);
                self.nodes.insert(node, Node::Scheduler(Box::new(scheduler)));
            }
            Address::Controller(_) => {
                let controller = Controller::start(core, node);
                self.nodes.insert(node, Node::Controller(Box::new(controller)));
            }
            Address::Runtimed(pod) => {
                let runtimed = Runtimed::start(core, pod);
                self.nodes.insert(node, Node::Runtimed(Box::new(runtimed)));
                cluster::look(core, pod, Duration::from_millis(500));
            }
            Address::Server(pod) => {
                let wait = Duration::from_millis(20);
                core.after(wait, Address::Runtimed(pod), Body::Reconnected);
                cluster::look(core, pod, Duration::from_millis(500));
            }
            Address::Cluster | Address::Client => {}
        }
    }

    /// A node is gone; something starts it again.
    fn crash(&mut self, node: Address) {
        self.nodes.remove(&node);
        let core = &mut self.core;
        core.trace.say(core.now, || format!("{node:?} is down"));
        core.take_down(node);
        core.break_watches(node, &Shown::Broken);
        let restart = |core: &mut Core, from: u64, to: u64, step: ClusterStep| {
            let at = core.now + core.random.millis(from, to);
            core.post_any(at, Address::Cluster, Body::Cluster(step));
        };
        match node {
            Address::Api => {
                let watchers: Vec<Address> = core.api.sessions.keys().map(|(to, _)| *to).collect();
                for watcher in watchers {
                    core.break_watches(watcher, &Shown::Broken);
                }
                let (from, to) =
                    if core.random.permille(500) { (5_000, 90_000) } else { (200, 5_000) };
                restart(core, from, to, ClusterStep::ApiBack);
            }
            Address::Server(pod) => {
                server::stop(core, pod);
                cluster::look(core, pod, Duration::from_millis(300));
                restart(core, 300, 6_000, ClusterStep::RestartContainer(node));
            }
            Address::Runtimed(pod) => {
                cluster::look(core, pod, Duration::from_millis(300));
                restart(core, 300, 8_000, ClusterStep::RestartContainer(node));
            }
            Address::Scheduler(_) | Address::Controller(_) => {
                restart(core, 200, 8_000, ClusterStep::RestartContainer(node));
            }
            Address::Cluster | Address::Client => {}
        }
    }

    fn report(self) -> Report {
        let mut core = self.core;
        core.counts.seeds = 1;
        let (hash, lines) = core.trace.finish();
        Report { hash, counts: core.counts, violations: core.oracle.violations, lines }
    }
}

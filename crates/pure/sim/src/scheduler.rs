//! A scheduler: the shipped `Board` between watches and writes, as `roles/scheduler` is.

use crate::core::Core;
use crate::leader::{Booth, SLOT};
use crate::message::{Address, Body};
use crate::points::{Effect, Side};
use crate::schema::Kind;
use crate::sources::Sources;
use crate::store::{Code, Object, Op, Reply};
use crate::watch::Observed;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Run, Runtime, Timeline, labels};
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::placement::{Board, Decision, PodView, PoolKey, RunKey, RuntimeView};
use kruntimes_rules::run::patch::{self, Assignment, StatusPatch};
use kruntimes_rules::run::phase::{Writer, legal};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const NOT_ENDED: &str =
    "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled";
const WRITES_IN_FLIGHT: usize = 256;

/// A write that is under way.
#[derive(Debug)]
enum Call {
    Write {
        key: RunKey,
        from: Option<String>,
    },
    /// What a waiting Run is told.
    Message,
    /// The Runtime is read before a Run is refused for ever.
    Read {
        run: Arc<Run>,
        message: String,
    },
}

/// One life of a scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    me: Address,
    booth: Booth,
    board: Board,
    sources: Sources,
    pools: BTreeMap<String, PoolKey>,
    /// Pools of pods whose Lease is broken.
    broken: BTreeMap<String, PoolKey>,
    calls: BTreeMap<u64, Call>,
    alarm: Option<Duration>,
}

impl Scheduler {
    pub(crate) fn start(core: &mut Core, me: Address) -> Self {
        let booth = Booth::start(core, me, "kruntimes-scheduler", Effect::SchedulerLease);
        Self {
            me,
            booth,
            board: Board::default(),
            sources: Sources::default(),
            pools: BTreeMap::new(),
            broken: BTreeMap::new(),
            calls: BTreeMap::new(),
            alarm: None,
        }
    }

    /// False when another may lead: the process ends.
    pub(crate) fn handle(&mut self, core: &mut Core, body: Body) -> bool {
        match body {
            Body::Answer { call, result } => self.answered(core, call, &result),
            Body::Shown { slot: SLOT, session, event } => self.booth.shown(core, session, event),
            Body::Shown { slot, session, event } => {
                let (at, seen) = self.sources.shown(core, slot, session, event);
                self.observe(core, at, seen);
            }
            Body::Rewatch { slot: SLOT } => self.booth.resume(core),
            Body::Rewatch { slot } => self.sources.resume(core, slot),
            Body::Wake => self.alarm = None,
            _ => {}
        }
        self.go_on(core)
    }

    fn go_on(&mut self, core: &mut Core) -> bool {
        let Ok(until) = self.booth.step(core) else { return false };
        if self.booth.leads() && !self.sources.are_open() {
            self.open(core);
        }
        let synced = self.sources.all_synced();
        if synced {
            let (now, wall) = (core.monotonic(self.me), core.wall(self.me));
            let budget = WRITES_IN_FLIGHT.saturating_sub(self.calls.len());
            for decision in self.board.decide(now, wall, budget) {
                self.perform(core, decision);
            }
        }
        let deadline = self.board.deadline().filter(|_| synced);
        if let Some(at) = [until, deadline].into_iter().flatten().min()
            && self.alarm.is_none_or(|alarm| at < alarm)
        {
            self.alarm = Some(at);
            core.wake(self.me, at, Body::Wake);
        }
        true
    }

    fn open(&mut self, core: &mut Core) {
        let all = [
            (Kind::Run, "", NOT_ENDED),
            (Kind::Pod, labels::RUNTIME, ""),
            (Kind::Runtime, "", ""),
            (Kind::Lease, labels::BROKEN, ""),
        ];
        self.sources.open(core, self.me, &all);
    }

    fn observe(&mut self, core: &Core, at: usize, seen: Vec<Observed>) {
        for observed in seen {
            self.apply(core, at, observed);
        }
    }

    fn apply(&mut self, core: &Core, at: usize, observed: Observed) {
        let namespace = crate::store::NAMESPACE.to_owned();
        let (now, wall) = (core.monotonic(self.me), core.wall(self.me));
        match (at, observed) {
            (0, Observed::Applied(Object { run: Some(run), .. })) => {
                self.board.set_run(run, now, wall);
            }
            (0, Observed::Gone(name)) => self.board.drop_run(&RunKey { namespace, name }),
            (1, Observed::Applied(object)) => self.set_pod(&object),
            (1, Observed::Gone(name)) => {
                if let Some(pool) = self.pools.remove(&name) {
                    self.board.drop_pod(&pool, &name);
                }
            }
            (2, Observed::Applied(object)) => {
                if let Ok(runtime) = serde_json::from_slice::<Runtime>(&object.stored.json) {
                    let key = PoolKey { namespace, runtime: object.name().to_owned() };
                    self.board.set_runtime(key, RuntimeView::of(&runtime));
                }
            }
            (3, Observed::Applied(object)) => {
                if let Some(runtime) = object.stored.labels.get(labels::RUNTIME).cloned() {
                    let pool = PoolKey { namespace, runtime };
                    self.broken.insert(object.name().to_owned(), pool.clone());
                    self.board.bar_pod(pool, object.name());
                }
            }
            (3, Observed::Gone(name)) => {
                if let Some(pool) = self.broken.remove(&name) {
                    self.board.mend_pod(pool, &name);
                }
            }
            _ => {}
        }
    }

    fn set_pod(&mut self, object: &Object) {
        let Ok(pod) = serde_json::from_slice::<Pod>(&object.stored.json) else { return };
        if let Some(view) = PodView::of(&pod) {
            self.pools.insert(object.name().to_owned(), view.pool.clone());
            self.board.set_pod(&view);
        }
    }

    fn perform(&mut self, core: &mut Core, decision: Decision) {
        core.counts.decisions += 1;
        let now = core.wall(self.me);
        match decision {
            Decision::Assign { run, pod, attempt, seen } => {
                let timeline = Timeline {
                    seen: Some(MicroTime(seen)),
                    scheduled: Some(MicroTime(now)),
                    ..Timeline::default()
                };
                let assignment =
                    Assignment { pod: &pod.name, pod_uid: &pod.uid, attempt, timeline: &timeline };
                let mut patch = patch::assign(&run, &assignment, now);
                if mutant::is(Mutant::NoCompareAndSet) {
                    patch.body["metadata"] = serde_json::json!({});
                }
                self.write(core, &run, patch, Effect::Assign);
            }
            Decision::Cancel { run } => {
                self.write(core, &run, patch::cancel_pending(&run, now), Effect::Refuse);
            }
            Decision::Refuse { run, message } => {
                if Resources::requested(&run.spec).is_ok() {
                    let op = Op::Get(Kind::Runtime, run.spec.runtime.clone());
                    let call = core.request(self.me, op);
                    self.calls.insert(call, Call::Read { run, message });
                } else {
                    let patch = patch::fail_unschedulable(&run, &message, now);
                    self.write(core, &run, patch, Effect::Refuse);
                }
            }
            Decision::Wait { run, waiting } => {
                let request =
                    Resources::requested(&run.spec).unwrap_or_else(|_| Resources::one_run());
                let message = waiting.message(&PoolKey::of(&run), &request);
                let patch = patch::waiting(&run, waiting.reason(), &message, now);
                if core.gate(self.me, Effect::Refuse, Side::Before) {
                    let op = Op::PatchStatus(Kind::Run, RunKey::of(&run).name, patch.body);
                    let call = core.request(self.me, op);
                    self.calls.insert(call, Call::Message);
                    core.gate(self.me, Effect::Refuse, Side::After);
                }
            }
        }
    }

    fn write(&mut self, core: &mut Core, run: &Arc<Run>, patch: StatusPatch, effect: Effect) {
        let key = RunKey::of(run);
        let from = run.metadata.resource_version.clone();
        if !legal(run.phase(), patch.phase, Writer::Scheduler) {
            let (now, wall) = (core.monotonic(self.me), core.wall(self.me));
            return self.board.not_written(&key, from.as_deref(), now, wall);
        }
        if core.gate(self.me, effect, Side::Before) {
            let op = Op::PatchStatus(Kind::Run, key.name.clone(), patch.body);
            let call = core.request(self.me, op);
            self.calls.insert(call, Call::Write { key, from });
            core.gate(self.me, effect, Side::After);
        }
    }

    fn answered(&mut self, core: &mut Core, call: u64, result: &Result<Reply, Code>) {
        if self.booth.answered(core, call, result) {
            return;
        }
        if let Some((at, seen)) = self.sources.answered(core, call, result) {
            return self.observe(core, at, seen);
        }
        let (now, wall) = (core.monotonic(self.me), core.wall(self.me));
        match (self.calls.remove(&call), result) {
            (Some(Call::Write { from, .. }), Ok(Reply::Object(Object { run: Some(run), .. }))) => {
                self.board.assigned(Arc::clone(run), from.as_deref(), now, wall);
            }
            (Some(Call::Write { key, from }), _) => {
                self.board.not_written(&key, from.as_deref(), now, wall);
            }
            (Some(Call::Read { run, message }), result) => {
                self.refuse(core, &run, &message, result);
            }
            (Some(Call::Message) | None, _) => {}
        }
    }

    fn refuse(
        &mut self,
        core: &mut Core,
        run: &Arc<Run>,
        message: &str,
        read: &Result<Reply, Code>,
    ) {
        let wall = core.wall(self.me);
        let view = match read {
            Ok(Reply::Object(object)) => serde_json::from_slice::<Runtime>(&object.stored.json)
                .map_or(RuntimeView::Unusable, |runtime| RuntimeView::of(&runtime)),
            Ok(_) | Err(_) => RuntimeView::Gone,
        };
        let too_big = match (view, Resources::requested(&run.spec)) {
            (RuntimeView::Usable(capacity), Ok(request)) => !capacity.holds(&request),
            _ => false,
        };
        if too_big {
            let patch = patch::fail_unschedulable(run, message, wall);
            self.write(core, run, patch, Effect::Refuse);
        } else {
            let now = core.monotonic(self.me);
            let version = run.metadata.resource_version.clone();
            self.board.not_written(&RunKey::of(run), version.as_deref(), now, wall);
        }
    }
}

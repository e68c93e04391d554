//! A controller: the shipped `Reaper` and `Retention` between watches and writes, as `roles/controller` is.

use crate::core::Core;
use crate::leader::{Booth, SLOT};
use crate::message::{Address, Body};
use crate::points::{Effect, Side};
use crate::schema::Kind;
use crate::sources::Sources;
use crate::store::{Code, NAMESPACE, Object, Op, Reply};
use crate::watch::Observed;
use crate::workflows::Driver;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::labels;
use kruntimes_rules::fence::object::{self, Change, Owner};
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::placement::RunKey;
use kruntimes_rules::reaper::{
    BreakAnswer, FindAnswer, LeaseSeen, Order, PodId, PodKey, PodSeen, Reaper, Request, TakeAnswer,
};
use kruntimes_rules::retention::{Policy, Retention};
use kruntimes_rules::run::patch;
use kruntimes_rules::run::phase::{Writer, legal};
use kruntimes_workflow::LABEL_WORKFLOW;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const ASSIGNED: &str = "status.phase!=Pending,status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled";
const ENDED: &str = "status.phase!=Pending,status.phase!=Scheduled,status.phase!=Running";
const POLICY: Policy = Policy { default_ttl: Some(Duration::from_secs(3600)), max_runs: None };

#[derive(Debug)]
enum Call {
    Break(PodId),
    Find(PodId),
    Take(RunKey, Option<String>),
    Delete,
}

/// One life of a controller.
#[derive(Debug)]
pub(crate) struct Controller {
    me: Address,
    booth: Booth,
    reaper: Reaper,
    retention: Retention,
    /// Where there are Workflows.
    workflows: Option<Driver>,
    sources: Sources,
    calls: BTreeMap<u64, Call>,
    alarm: Option<Duration>,
}

impl Controller {
    pub(crate) fn start(core: &mut Core, me: Address) -> Self {
        Self {
            me,
            booth: Booth::start(core, me, "kruntimes-controller", Effect::ControllerLease),
            reaper: Reaper::new(core.settings.reap_after),
            retention: Retention::new(POLICY),
            workflows: core.settings.workflows.then(|| Driver::start(core, me)),
            sources: Sources::default(),
            calls: BTreeMap::new(),
            alarm: None,
        }
    }

    fn now(&self, core: &Core) -> Duration {
        if mutant::is(Mutant::WallClockReaper) {
            let since = core.wall(self.me).as_microsecond() - 1_700_000_000_000_000;
            return Duration::from_micros(u64::try_from(since).unwrap_or_default());
        }
        core.monotonic(self.me)
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
        if !self.booth.leads() {
            self.sleep(core, until, None);
            return true;
        }
        if !self.sources.are_open() {
            self.open(core);
        }
        let now = self.now(core);
        for order in self.reaper.step(now) {
            if let Order::Request(request) = order {
                self.perform(core, request);
            }
        }
        while let Some(deletion) = self.retention.next(core.wall(self.me)) {
            let (name, uid) = (deletion.key.name, Some(deletion.uid));
            if core.gate(self.me, Effect::Collect, Side::Before) {
                let op = Op::Delete { kind: Kind::Run, name, uid, grace: None };
                let call = core.request(self.me, op);
                self.calls.insert(call, Call::Delete);
                core.gate(self.me, Effect::Collect, Side::After);
            }
        }
        let wall = core.wall(self.me);
        let ttl = self.retention.deadline().map(|at| {
            let wait = Duration::try_from(at.duration_since(wall)).unwrap_or_default();
            core.monotonic(self.me) + wait.max(Duration::from_millis(1))
        });
        let reap =
            self.reaper.deadline().map(|at| core.monotonic(self.me) + at.saturating_sub(now));
        let workflows = self.workflows.as_mut().and_then(|workflows| workflows.go_on(core));
        self.sleep(core, until, [ttl, reap, workflows].into_iter().flatten().min());
        true
    }

    fn sleep(&mut self, core: &mut Core, one: Option<Duration>, other: Option<Duration>) {
        if let Some(at) = [one, other].into_iter().flatten().min()
            && self.alarm.is_none_or(|alarm| at < alarm)
        {
            self.alarm = Some(at);
            core.wake(self.me, at, Body::Wake);
        }
    }

    fn open(&mut self, core: &mut Core) {
        let all = [
            (Kind::Run, "", ASSIGNED),
            (Kind::Pod, labels::RUNTIME, ""),
            (Kind::Lease, labels::RUNTIME, ""),
            (Kind::Run, "", ENDED),
        ];
        self.sources.open(core, self.me, &all);
        if self.workflows.is_some() {
            core.counts.taken_up += core.oracle.workflows.begun();
            let all = [(Kind::Workflow, "", ""), (Kind::Run, LABEL_WORKFLOW, "")];
            self.sources.open(core, self.me, &all);
        }
    }

    fn observe(&mut self, core: &Core, at: usize, seen: Vec<Observed>) {
        let now = self.now(core);
        for observed in seen {
            match (at, &mut self.workflows) {
                (4, Some(workflows)) => workflows.workflow_seen(core, observed),
                (5, Some(workflows)) => workflows.run_seen(observed),
                _ => self.apply(at, observed, now),
            }
        }
    }

    fn apply(&mut self, at: usize, observed: Observed, now: Duration) {
        let namespace = NAMESPACE.to_owned();
        match (at, observed) {
            (0, Observed::Applied(Object { run: Some(run), .. })) => self.reaper.run_seen(run, now),
            (0, Observed::Gone(name)) => self.reaper.run_gone(&RunKey { namespace, name }),
            (1, Observed::Applied(object)) => {
                if let Ok(pod) = serde_json::from_slice::<Pod>(&object.stored.json) {
                    self.reaper.pod_seen(PodSeen::of(&pod), now);
                }
            }
            (1, Observed::Gone(name)) => self.reaper.pod_gone(&PodKey { namespace, name }, now),
            (1, Observed::Synced) => self.reaper.pods_synced(),
            (2, Observed::Applied(object)) => {
                if let Ok(lease) = serde_json::from_slice::<Lease>(&object.stored.json) {
                    self.reaper.lease_seen(LeaseSeen::of(&lease), now);
                }
            }
            (2, Observed::Gone(name)) => self.reaper.lease_gone(&PodKey { namespace, name }, now),
            (2, Observed::Synced) => self.reaper.leases_synced(now),
            (2, Observed::Interrupted) => self.reaper.leases_interrupted(now),
            (3, Observed::Applied(Object { run: Some(run), .. })) => self.retention.set(&run),
            (3, Observed::Gone(name)) => self.retention.remove(&RunKey { namespace, name }),
            _ => {}
        }
    }

    fn perform(&mut self, core: &mut Core, request: Request) {
        match request {
            Request::BreakLease { pod, runtime, version, claimed_by } => {
                if mutant::is(Mutant::ReapWithoutBreak) {
                    let now = self.now(core);
                    return self.reaper.broke(&pod, BreakAnswer::Broken("0".to_owned()), now);
                }
                let owner = Owner { name: &pod.key.name, uid: &pod.uid, runtime: &runtime };
                let change = Change::Break(claimed_by.as_deref());
                let body = json!(object::lease(owner, version.clone(), change, core.wall(self.me)));
                if core.gate(self.me, Effect::Break, Side::Before) {
                    let op = match version {
                        Some(_) => Op::Replace(Kind::Lease, pod.key.name.clone(), body),
                        None => Op::Create(Kind::Lease, body),
                    };
                    let call = core.request(self.me, op);
                    self.calls.insert(call, Call::Break(pod));
                    core.gate(self.me, Effect::Break, Side::After);
                }
            }
            Request::FindPod { pod } => {
                let call = core.request(self.me, Op::Get(Kind::Pod, pod.key.name.clone()));
                self.calls.insert(call, Call::Find(pod));
            }
            Request::Take { run, reason, message } => {
                let key = RunKey::of(&run);
                let version = run.metadata.resource_version.clone();
                let mut patch = patch::pod_lost(&run, reason, &message, core.wall(self.me));
                if mutant::is(Mutant::TakeWithoutVersion) {
                    patch.body["metadata"] = json!({});
                }
                if !legal(run.phase(), patch.phase, Writer::Controller) {
                    let now = self.now(core);
                    return self.reaper.took(&key, version.as_deref(), TakeAnswer::Not, now);
                }
                if core.gate(self.me, Effect::Take, Side::Before) {
                    let op = Op::PatchStatus(Kind::Run, key.name.clone(), patch.body);
                    let call = core.request(self.me, op);
                    self.calls.insert(call, Call::Take(key, version));
                    core.gate(self.me, Effect::Take, Side::After);
                }
            }
        }
    }

    fn answered(&mut self, core: &mut Core, call: u64, result: &Result<Reply, Code>) {
        if self.booth.answered(core, call, result) {
            return;
        }
        if let Some((at, seen)) = self.sources.answered(core, call, result) {
            return self.observe(core, at, seen);
        }
        let now = self.now(core);
        match self.calls.remove(&call) {
            Some(Call::Break(pod)) => {
                let answer = match result {
                    Ok(Reply::Object(lease)) => BreakAnswer::Broken(lease.version()),
                    Err(404 | 409) => BreakAnswer::Conflict,
                    Ok(_) | Err(_) => BreakAnswer::Failed,
                };
                self.reaper.broke(&pod, answer, now);
            }
            Some(Call::Find(pod)) => {
                let answer = match result {
                    Ok(Reply::Object(found)) if found.stored.uid == pod.uid => FindAnswer::Exists,
                    Ok(_) | Err(404) => FindAnswer::Gone,
                    Err(_) => FindAnswer::Failed,
                };
                self.reaper.found(&pod, answer, now);
            }
            Some(Call::Take(key, version)) => {
                let done = result.is_ok() || matches!(result, Err(404));
                let answer = if done { TakeAnswer::Done } else { TakeAnswer::Not };
                self.reaper.took(&key, version.as_deref(), answer, now);
            }
            Some(Call::Delete) => {}
            None => {
                if let Some(workflows) = &mut self.workflows {
                    workflows.answered(core, call, result);
                }
            }
        }
    }
}

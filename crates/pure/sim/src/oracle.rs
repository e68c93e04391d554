//! The truth, kept beside the code under test, and the promises checked against it.
//!
//! Invariant: nothing here asks a scheduler, a controller or a runtimed what it believes.

use crate::client::{Plan, Script};
use crate::core::Core;
use crate::message::{Address, Body, ClusterStep};
use crate::pod::Process;
use crate::schema::Kind;
use crate::status;
use crate::workflows::{self, Flows, Script as StepScript};
use kruntimes_api::{Phase, Run, labels};
use kruntimes_objects::window::Event;
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::run::retry;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A process may live on for so long after its pod was told to end it.
pub(crate) const KILL_WITHIN: Duration = Duration::from_millis(3_050);

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub promise: &'static str,
    /// When, and how.
    pub what: String,
}

/// What is true of one Run.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) name: String,
    pub(crate) plan: Arc<Plan>,
    /// Attempts that started: numbers, and how they ended.
    pub(crate) starts: Vec<Start>,
    pub(crate) terminal: Option<Phase>,
    pub(crate) deleted: bool,
    pub(crate) cancelled: bool,
    /// When the newest attempt was received, by pod.
    pub(crate) received: BTreeMap<usize, Duration>,
    /// The attempt whose artifacts the store has.
    pub(crate) stored: Option<i32>,
    /// When a failed attempt became Pending: the number that comes next, and not before.
    pub(crate) not_before: Option<Duration>,
}

/// An attempt that really started.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) attempt: i32,
    pub(crate) exit_code: Option<i32>,
}

/// All that is true.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) processes: BTreeMap<u64, Process>,
    pub(crate) server_timeouts: BTreeMap<u64, Duration>,
    pub(crate) runs: BTreeMap<String, Truth>,
    pub(crate) plans: BTreeMap<String, Arc<Plan>>,
    pub(crate) workflows: Flows,
    pub(crate) violations: Vec<Violation>,
    /// When each Lease was last written.
    leases: BTreeMap<String, Duration>,
    /// Runs that were handed back without a start.
    pub(crate) handed_back: u64,
}

impl Oracle {
    pub(crate) fn processes_of(&self, pod: usize) -> Vec<u64> {
        let mine = self.processes.iter().filter(|(_, process)| process.pod == pod);
        mine.map(|(number, _)| *number).collect()
    }

    /// The newest attempt was received by its pod.
    pub(crate) fn received(&mut self, uid: &str, pod: usize, now: Duration) {
        if let Some(truth) = self.runs.get_mut(uid) {
            truth.received.insert(pod, now);
        }
    }
}

/// Breaks a promise where `holds` is false.
pub(crate) fn check(
    core: &mut Core,
    promise: &'static str,
    holds: bool,
    what: impl FnOnce() -> String,
) {
    core.counts.checks += 1;
    if !holds {
        core.counts.violations += 1;
        let what = what();
        core.trace.say(core.now, || format!("VIOLATION {promise}: {what}"));
        core.oracle.violations.push(Violation { promise, what });
    }
}

/// What the command of an attempt does.
pub(crate) fn plan_of(core: &Core, uid: &str, attempt: i32) -> Script {
    core.oracle.runs.get(uid).map(|truth| truth.plan.script(attempt)).unwrap_or_default()
}

/// The artifacts of an attempt take their place in the store, and that of those of any other attempt.
pub(crate) fn stored(core: &mut Core, uid: &str, attempt: i32) {
    let Some(truth) = core.oracle.runs.get_mut(uid) else { return };
    let before = truth.stored.replace(attempt);
    let open = truth.deleted || truth.terminal != Some(Phase::Succeeded);
    check(core, "nothing takes the place of what a status refers to", open, || {
        format!("{uid}: attempt {attempt} after {before:?}")
    });
    check(core, "an older attempt takes no newer one's place", before <= Some(attempt), || {
        format!("{uid}: attempt {attempt} after {before:?}")
    });
}

/// A process begins to run.
pub(crate) fn process_started(core: &mut Core, number: u64, process: Process) {
    core.counts.starts += 1;
    core.trace.note(core.now, "start", number, process.pod as u64);
    let (uid, attempt, pod) = (process.run.clone(), process.attempt, process.pod);
    core.trace.say(core.now, || {
        format!("process {number} of {uid} attempt {attempt} starts on pod {pod}")
    });
    let other = alive_elsewhere(core, &uid, number);
    check(core, "attempts never overlap", other.is_none(), || {
        format!("{uid}: attempt {attempt} starts on pod {pod} while {other:?} runs")
    });
    check_policy(core, &uid, attempt, pod);
    check_still_assigned(core, &uid, attempt, pod);
    let mut used = Resources::runs(0);
    for other in core.oracle.processes.values().filter(|other| other.pod == pod) {
        used.add(&other.request);
    }
    let fits = core.pods[pod].capacity.holds_beside(&used, &process.request);
    check(core, "capacity is never exceeded", fits, || {
        format!("{uid} on pod {pod} beside {used:?}")
    });
    if let Some(truth) = core.oracle.runs.get_mut(&uid) {
        truth.starts.push(Start { attempt, exit_code: None });
    }
    core.oracle.processes.insert(number, process);
}

fn check_policy(core: &mut Core, uid: &str, attempt: i32, pod: usize) {
    let Some(truth) = core.oracle.runs.get(uid) else { return };
    let twice = truth.starts.iter().any(|start| start.attempt == attempt);
    let starts = truth.starts.len() + 1;
    let most = usize::try_from(truth.plan.max_attempts).unwrap_or(1);
    check(core, "an attempt starts at most once", !twice, || {
        format!("{uid}: attempt {attempt} starts again, on pod {pod}")
    });
    check(core, "no more starts than attempts allowed", starts <= most, || {
        format!("{uid}: {starts} starts of {most}")
    });
}

/// Nothing starts that somebody has taken from the pod.
fn check_still_assigned(core: &mut Core, uid: &str, attempt: i32, pod: usize) {
    let Some(truth) = core.oracle.runs.get(uid).filter(|truth| !truth.deleted) else { return };
    let Some(stored) = core.api.get(Kind::Run, &truth.name).cloned() else { return };
    let Some(run) = core.api.object(&stored).run else { return };
    let status = run.status.clone().unwrap_or_default();
    let open = matches!(status.phase, Phase::Scheduled | Phase::Running);
    let mine = status.assigned_pod_uid.as_ref() == Some(&core.pods[pod].uid)
        && status.attempt == Some(attempt);
    check(core, "nothing starts that was taken from the pod", open && mine, || {
        format!(
            "{uid}: attempt {attempt} on pod {pod}, but {:?} {:?}",
            status.phase, status.attempt
        )
    });
}

/// A process of the Run that runs besides this one, if there is one.
fn alive_elsewhere(core: &Core, uid: &str, but: u64) -> Option<u64> {
    let others = core.oracle.processes.iter().filter(|(n, other)| other.run == uid && **n != but);
    let mut running = others.filter(|(_, other)| runs(core, other.pod));
    running.next().map(|(number, _)| *number)
}

/// Whether processes of a pod run: what is stopped does not, and once it is let go on it has the time to be killed.
pub(crate) fn runs(core: &Core, pod: usize) -> bool {
    let pod = &core.pods[pod];
    let thawing = pod.thawed > Duration::ZERO && core.now < pod.thawed + KILL_WITHIN;
    !pod.is_frozen(core.now) && !thawing
}

/// A process is no more.
pub(crate) fn process_ended(core: &mut Core, number: u64, exit_code: Option<i32>) {
    let Some(process) = core.oracle.processes.remove(&number) else { return };
    core.oracle.server_timeouts.remove(&number);
    core.trace.note(core.now, "end", number, 0);
    core.trace.say(core.now, || format!("process {number} of {} ends: {exit_code:?}", process.run));
    if let Some(truth) = core.oracle.runs.get_mut(&process.run) {
        let attempt = process.attempt;
        let mut starts = truth.starts.iter_mut().rev();
        if let Some(start) = starts.find(|start| start.attempt == attempt) {
            start.exit_code = exit_code;
        }
    }
}

/// The pod is told to end what executes of the Run: that must be dead in time.
pub(crate) fn watch_death(core: &mut Core, pod: usize, uid: &str) {
    let disturbances = core.pods[pod].disturbances;
    let stopped = [Address::Server(pod), Address::Runtimed(pod)]
        .into_iter()
        .any(|node| core.paused_until(node).is_some() || !core.is_up(node));
    if stopped || core.pods[pod].hung_until > core.now {
        return;
    }
    for process in core.oracle.processes_of(pod) {
        if core.oracle.processes.get(&process).is_some_and(|known| known.run == uid) {
            let step = ClusterStep::CheckKilled { process, disturbances };
            core.post_any(core.now + KILL_WITHIN, Address::Cluster, Body::Cluster(step));
        }
    }
}

/// It must be dead now, unless something stopped or stalled its pod since.
pub(crate) fn check_killed(core: &mut Core, process: u64, disturbances: u32) {
    let known = core.oracle.processes.get(&process);
    let disturbed = known.is_some_and(|known| core.pods[known.pod].disturbances != disturbances);
    if !disturbed {
        let alive = known.map(|known| known.run.clone());
        check(core, "what is to end is dead within 3 s", alive.is_none(), || {
            format!("process {process} of {alive:?}")
        });
    }
}

/// Pods that were stopped for long have had their time to kill what was taken from them.
pub(crate) fn check_overlap(core: &mut Core, pod: usize) {
    for number in core.oracle.processes_of(pod) {
        let Some(uid) = core.oracle.processes.get(&number).map(|known| known.run.clone()) else {
            continue;
        };
        if !runs(core, pod) {
            continue;
        }
        let other = alive_elsewhere(core, &uid, number);
        check(core, "attempts never overlap", other.is_none(), || {
            format!("{uid}: process {number} on pod {pod}, which was stopped, and {other:?} run")
        });
    }
}

/// A Lease is broken only after nobody wrote it for `reapAfter`, whatever clocks say. One that is made broken stands on the
/// absence of another: what was taken under it shows whether that was right.
fn check_break(core: &mut Core, from: Address, event: &Arc<Event>) {
    let Some(new) = &event.change.new else { return };
    let name = new.key.name.clone();
    let now = core.now;
    let before = core.oracle.leases.insert(name.clone(), now);
    let broken = matches!(from, Address::Controller(_)) && new.labels.contains_key(labels::BROKEN);
    let broken = broken && event.change.old.is_some();
    if let Some(before) = before.filter(|_| broken) {
        let stood = now.saturating_sub(before);
        let enough = stood >= core.settings.reap_after.mul_f64(0.98);
        check(core, "a Lease is broken only when it stood for reapAfter", enough, || {
            format!("{name} after {stood:?}")
        });
    }
}

/// A write is durable.
pub(crate) fn on_change(core: &mut Core, from: Address, kind: Kind, event: &Arc<Event>) {
    if kind == Kind::Lease {
        return check_break(core, from, event);
    }
    if kind == Kind::Workflow {
        return workflows::on_workflow(core, from, event);
    }
    if kind != Kind::Run {
        return;
    }
    let value = |stored: &Option<Arc<kruntimes_objects::stored::Stored>>| {
        stored.as_ref().map(|stored| stored.value()).unwrap_or_default()
    };
    let (old, new) = (value(&event.change.old), value(&event.change.new));
    let Some(stored) = event.change.new.as_ref().or(event.change.old.as_ref()) else { return };
    let uid = stored.uid.clone();
    if event.change.old.is_none() {
        let name = stored.key.name.clone();
        let planned = core.oracle.plans.get(&name).cloned();
        let plan = planned.or_else(|| plan_of_step(&new)).unwrap_or_default();
        core.counts.runs += 1;
        workflows::on_run(core, from, &uid, &new);
        core.oracle.runs.insert(uid, Truth { name, plan, ..Truth::default() });
        return;
    }
    if event.change.new.is_none() {
        if let Some(truth) = core.oracle.runs.get_mut(&uid) {
            truth.deleted = true;
        }
        return;
    }
    if new.pointer("/spec/cancelRequested") == Some(&Value::Bool(true))
        && let Some(truth) = core.oracle.runs.get_mut(&uid)
    {
        truth.cancelled = true;
    }
    if old.get("status") != new.get("status") {
        status::check(core, from, &uid, &old, &new);
    }
}

fn plan_of_step(run: &Value) -> Option<Arc<Plan>> {
    let run: Run = serde_json::from_value(run.clone()).ok()?;
    let most = retry::max_attempts(run.spec.retry_policy.as_ref());
    Some(Arc::new(Plan::of_step(StepScript::of(&run)?, most)))
}

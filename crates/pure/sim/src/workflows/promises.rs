//! The promises about Workflows, held against what the API server has: nothing here asks a controller what it believes.

use crate::core::Core;
use crate::faults::Faults;
use crate::message::Address;
use crate::oracle::check as promise;
use crate::schema::Kind;
use kruntimes_api::{JobPhase, Phase, Run, Workflow, WorkflowPhase};
use kruntimes_objects::window::Event;
use kruntimes_workflow::Child;
use kube::ResourceExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// So late a controller may see that its user has cancelled a Workflow, where nothing goes wrong. One that was paused may
/// see it at any time, and then marks what it creates.
const CANCEL_SEEN_WITHIN: Duration = Duration::from_millis(50);

/// A Run has it whose controller knew of a stop.
const AFTER: &str = "kruntimes.io/workflow-after-stop";

/// What is true of one Workflow.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) workflow: Workflow,
    pub(crate) phase: WorkflowPhase,
    pub(crate) has_begun: bool,
    pub(crate) deleted: bool,
    pub(crate) cancelled: Option<Duration>,
    jobs: BTreeMap<String, (JobPhase, BTreeMap<String, JobPhase>)>,
}

/// A child that was created.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) uid: String,
    pub(crate) name: String,
}

/// All that is true of Workflows.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    /// What the client creates, by name.
    pub(crate) plans: BTreeMap<String, Value>,
    /// Those of them that are still to be created.
    pub(crate) awaited: std::collections::BTreeSet<String>,
    pub(crate) all: BTreeMap<String, Flow>,
    /// By the UID of the owner.
    pub(crate) children: BTreeMap<String, BTreeMap<Child, Made>>,
    /// Owners of children that somebody deleted.
    pub(crate) bereft: std::collections::BTreeSet<String>,
}

impl Flows {
    /// How many are amid their run.
    pub(crate) fn begun(&self) -> u64 {
        self.all.values().filter(|flow| flow.has_begun && !flow.is_over()).count() as u64
    }
}

impl Flow {
    pub(crate) fn is_over(&self) -> bool {
        self.deleted || self.phase.is_terminal()
    }

    fn group(&self) -> Option<&str> {
        self.workflow.spec.concurrency.as_ref().map(|concurrency| concurrency.group.as_str())
    }
}

fn decoded<K: serde::de::DeserializeOwned>(value: Option<Value>) -> Option<K> {
    value.and_then(|value| serde_json::from_value(value).ok())
}

/// A Workflow was written.
pub(crate) fn on_workflow(core: &mut Core, from: Address, event: &Arc<Event>) {
    let value = |stored: &Option<Arc<kruntimes_objects::stored::Stored>>| {
        decoded::<Workflow>(stored.as_ref().map(|stored| stored.value()))
    };
    let (old, new) = (value(&event.change.old), value(&event.change.new));
    match (old, new) {
        (None, Some(new)) => {
            core.counts.workflows += 1;
            let flow = Flow {
                phase: new.phase(),
                workflow: new,
                has_begun: false,
                deleted: false,
                cancelled: None,
                jobs: BTreeMap::new(),
            };
            let uid = flow.workflow.uid().unwrap_or_default();
            core.oracle.workflows.awaited.remove(&flow.workflow.name_any());
            core.oracle.workflows.all.insert(uid, flow);
        }
        (Some(old), None) => {
            let uid = old.uid().unwrap_or_default();
            if let Some(flow) = core.oracle.workflows.all.get_mut(&uid) {
                flow.deleted = true;
            }
        }
        (Some(old), Some(new)) => changed(core, from, &old, &new),
        (None, None) => {}
    }
}

fn changed(core: &mut Core, from: Address, old: &Workflow, new: &Workflow) {
    let uid = new.uid().unwrap_or_default();
    let now = core.now;
    promise(core, "the jobs of a Workflow never change", old.spec.jobs == new.spec.jobs, || {
        uid.clone()
    });
    if new.spec.cancel_requested == Some(true)
        && let Some(flow) = core.oracle.workflows.all.get_mut(&uid)
    {
        flow.cancelled.get_or_insert(now);
    }
    if old.status == new.status {
        return;
    }
    let ours = matches!(from, Address::Controller(_));
    promise(core, "only the controller writes a Workflow's status", ours, || format!("{from:?}"));
    let (before, after) = (old.phase(), new.phase());
    promise(core, "a Workflow's phase goes only forward", rank(before) <= rank(after), || {
        format!("{uid}: {before:?} -> {after:?} by {from:?}")
    });
    let same = !before.is_terminal() || before == after;
    promise(core, "a Workflow that ended never changes its phase", same, || {
        format!("{uid}: {before:?} -> {after:?} by {from:?}")
    });
    check_jobs(core, &uid, new);
    check_names(core, &uid, new);
    if after == WorkflowPhase::Running {
        begins(core, &uid);
    }
    if let Some(flow) = core.oracle.workflows.all.get_mut(&uid) {
        flow.phase = after;
    }
}

fn rank(phase: WorkflowPhase) -> u8 {
    match phase {
        WorkflowPhase::Pending => 0,
        WorkflowPhase::Running => 1,
        WorkflowPhase::Succeeded | WorkflowPhase::Failed | WorkflowPhase::Cancelled => 2,
    }
}

/// What has ended stays as it ended.
fn check_jobs(core: &mut Core, uid: &str, new: &Workflow) {
    let jobs = new.status.iter().flat_map(|status| &status.jobs);
    let now: BTreeMap<_, _> = jobs
        .map(|(name, job)| {
            let legs = job.legs.iter().map(|(leg, status)| (leg.clone(), status.phase));
            (name.clone(), (job.phase, legs.collect::<BTreeMap<_, _>>()))
        })
        .collect();
    let Some(flow) = core.oracle.workflows.all.get_mut(uid) else { return };
    let former = std::mem::replace(&mut flow.jobs, now.clone());
    let stays = |was: JobPhase, is: Option<JobPhase>| !was.is_terminal() || is == Some(was);
    let mut wrong = Vec::new();
    for (name, (phase, legs)) in former {
        let is = now.get(&name);
        if !stays(phase, is.map(|is| is.0)) {
            wrong.push(format!("{name}: {phase:?} -> {:?}", is.map(|is| is.0)));
        }
        for (leg, phase) in legs {
            let is = is.and_then(|is| is.1.get(&leg)).copied();
            if !stays(phase, is) {
                wrong.push(format!("{name} {leg}: {phase:?} -> {is:?}"));
            }
        }
    }
    promise(core, "a job or leg that ended never changes its phase", wrong.is_empty(), || {
        format!("{uid}: {}", wrong.join(", "))
    });
}

/// A Run that a step names is a child of this Workflow.
fn check_names(core: &mut Core, uid: &str, new: &Workflow) {
    let jobs = new.status.iter().flat_map(|status| status.jobs.values());
    let named: Vec<String> =
        jobs.flat_map(|job| job.steps.values()).filter_map(|step| step.run_name.clone()).collect();
    for name in named {
        let stored = core.api.get(Kind::Run, &name).map(|stored| stored.value());
        let owner = stored.as_ref().map(owner);
        // A name is written down before it is known to be somebody else's, where the step has not ended.
        let ended = new.status.iter().flat_map(|status| status.jobs.values()).any(|job| {
            let mut steps = job.steps.values();
            steps.any(|step| {
                step.run_name.as_ref() == Some(&name) && step.phase == JobPhase::Succeeded
            })
        });
        let is_ours = owner.is_none_or(|owner| owner.as_deref() == Some(uid));
        // Ours was deleted after its end, and then somebody else took its name.
        let was_ours = || succeeded(core, uid, &name);
        let is_well = is_ours || !ended || was_ours();
        promise(core, "no Run of others counts as a step", is_well, || format!("{uid}: {name}"));
    }
}

/// Whether a child of this Workflow had the name, and has succeeded.
fn succeeded(core: &Core, uid: &str, name: &str) -> bool {
    let mut children = core.oracle.workflows.children.get(uid).into_iter().flatten();
    children.any(|(_, made)| {
        let truth = core.oracle.runs.get(&made.uid).filter(|_| made.name == name);
        truth.is_some_and(|truth| truth.terminal == Some(Phase::Succeeded))
    })
}

fn owner(object: &Value) -> Option<String> {
    object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str).map(str::to_owned)
}

/// It has begun: no other one of its group runs.
fn begins(core: &mut Core, uid: &str) {
    let Some(flow) = core.oracle.workflows.all.get_mut(uid) else { return };
    if flow.has_begun || flow.is_over() {
        return;
    }
    flow.has_begun = true;
    let Some(group) = flow.group().map(str::to_owned) else { return };
    let mut others = core.oracle.workflows.all.iter().filter(|(other, flow)| {
        *other != uid && flow.group() == Some(&group) && flow.has_begun && !flow.is_over()
    });
    let other = others.next().map(|(other, _)| other.clone());
    promise(core, "of a group one Workflow runs", other.is_none(), || {
        format!("{uid} begins beside {other:?}")
    });
}

/// A Run was created.
pub(crate) fn on_run(core: &mut Core, from: Address, uid: &str, value: &Value) {
    if !matches!(from, Address::Controller(_)) {
        return;
    }
    let Some(run) = decoded::<Run>(Some(value.clone())) else { return };
    let (Some(owner), Some(child)) = (owner(value), Child::of(run.labels())) else { return };
    core.counts.children += 1;
    // A request may be late: its Workflow is gone by now, and so is all that it had.
    if core.oracle.workflows.all.get(&owner).is_none_or(|flow| flow.deleted) {
        return;
    }
    begins(core, &owner);
    let made = Made { uid: uid.to_owned(), name: run.name_any() };
    let known = core.oracle.workflows.children.entry(owner.clone()).or_default();
    let former = known.get(&child).map(|made| made.uid.clone());
    let gone = |uid: &String| core.oracle.runs.get(uid).is_some_and(|truth| truth.deleted);
    let alone = former.as_ref().is_none_or(gone);
    promise(core, "a step has one Run", alone, || {
        format!("{owner} {child:?}: {former:?} and {uid}")
    });
    // A Run that somebody deleted may be created again: as a step that never ran, or by a request that is late.
    if !core.oracle.workflows.bereft.contains(&owner) {
        let live = live(core, &owner);
        check_order(core, &owner, &child, &live);
        check_limits(core, &owner, &child, &live);
    }
    check_cancelled(core, &owner, &child, run.annotations().contains_key(AFTER));
    core.oracle.workflows.children.entry(owner).or_default().insert(child, made);
}

/// Children of a Workflow that have not ended.
pub(crate) fn live(core: &Core, owner: &str) -> Vec<Child> {
    let all = core.oracle.workflows.children.get(owner).into_iter().flatten();
    let is_live = |made: &Made| {
        let truth = core.oracle.runs.get(&made.uid);
        truth.is_some_and(|truth| truth.terminal.is_none() && !truth.deleted)
    };
    all.filter(|(_, made)| is_live(made)).map(|(child, _)| child.clone()).collect()
}

fn check_order(core: &mut Core, owner: &str, child: &Child, live: &[Child]) {
    let Some(flow) = core.oracle.workflows.all.get(owner) else { return };
    let spec = &flow.workflow.spec;
    let needs = spec.jobs.get(&child.job).map(|job| job.needs.clone()).unwrap_or_default();
    let finally = spec.finally.contains(&child.job);
    let others = spec.finally.clone();
    let early = live
        .iter()
        .find(|other| needs.contains(&other.job) || (finally && !others.contains(&other.job)));
    promise(core, "a step waits for the end of what its job needs", early.is_none(), || {
        format!("{owner}: {child:?} beside {early:?}")
    });
    let beside = live.iter().find(|other| other.job == child.job && other.leg == child.leg);
    promise(core, "the steps of a leg run one after the other", beside.is_none(), || {
        format!("{owner}: {child:?} beside {beside:?}")
    });
}

fn check_limits(core: &mut Core, owner: &str, child: &Child, live: &[Child]) {
    let Some(flow) = core.oracle.workflows.all.get(owner) else { return };
    let spec = &flow.workflow.spec;
    let limit = |most: Option<i32>| most.and_then(|most| usize::try_from(most).ok());
    let most = limit(spec.parallelism);
    let strategy = spec.jobs.get(&child.job).and_then(|job| job.strategy.as_ref());
    let legs = limit(strategy.and_then(|strategy| strategy.max_parallel));
    promise(core, "parallelism is kept", most.is_none_or(|most| live.len() < most), || {
        format!("{owner}: {child:?} beside {live:?}")
    });
    let of_job = live.iter().filter(|other| other.job == child.job).count();
    promise(core, "max-parallel is kept", legs.is_none_or(|most| of_job < most), || {
        format!("{owner}: {child:?} beside {live:?}")
    });
}

/// After a cancellation only what asks for it starts.
fn check_cancelled(core: &mut Core, owner: &str, child: &Child, is_after: bool) {
    let Some(flow) = core.oracle.workflows.all.get(owner) else { return };
    let calm = core.settings.faults == Faults::None;
    let is_late = calm && flow.cancelled.is_some_and(|at| at + CANCEL_SEEN_WITHIN < core.now);
    if !is_late && !is_after {
        return;
    }
    let spec = &flow.workflow.spec;
    let asks = |condition: Option<&String>| condition.is_some_and(|text| text != "success()");
    let job = spec.jobs.get(&child.job);
    let step =
        job.and_then(|job| job.steps.iter().find(|step| Some(&step.name) == child.step.as_ref()));
    let may = spec.finally.contains(&child.job)
        || asks(job.and_then(|job| job.condition.as_ref()))
        || asks(step.and_then(|step| step.condition.as_ref()));
    promise(core, "what was cancelled starts only what asks for it", may, || {
        format!("{owner}: {child:?}, known: {is_after}")
    });
}

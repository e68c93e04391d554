//! One run of a Workflow: what has happened so far, and what is to be done because of it.
//!
//! What happens is taken in by `see`, `gone`, `answered` and `changed`; `advance` then says what is to be created and
//! cancelled. The children are the record of what was started, the status is that of what ended: from both a run is
//! restored, and goes on as if nothing had happened. The cost of an event does not depend on the size of the Workflow.

mod advance;
mod children;
mod context;
mod ends;
mod legs;
mod restore;
mod seen;
mod state;
mod status;
mod step;
mod workspace;

use crate::child::{Child, Use};
use crate::plan::{Invalid, JobId, Plan};
use crate::values;
use jiff::{SignedDuration, Timestamp};
use kruntimes_api::{JobStatus, Run, Workflow, WorkflowPhase, WorkflowSpec, limits};
use kruntimes_rules::mutant::{self, Mutant};
use kube::ResourceExt;
pub use seen::{End, How, Seen};
use serde_json::Value;
use state::{Active, JobState, Outputs, WholeStop};
pub use state::{After, Stop, superseded};
pub use status::{invalid, template};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use workspace::Holder;

/// What a Workflow is told when a newer one of its group takes its place.
const SUPERSEDED: &str = "a newer Workflow of its concurrency group takes its place";

/// Whose run it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Create this child, which [`Execution::object`] makes, and tell by [`Execution::answered`] what came of it.
    Create(Creation),
    /// Ask a child to end, with the mark that says why.
    Cancel {
        /// Its name.
        name: String,
        /// Which one.
        child: Child,
        /// What it is.
        kind: Kind,
        /// Why.
        why: Stop,
    },
    /// Write [`superseded`] to the Workflow itself: before anything of it ends, for a restart must know it.
    Supersede,
}

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A step, or what holds a workspace.
    Run,
    /// A job that uses a template.
    Workflow,
}

/// A child that is to be created. What it executes is made when it is sent: a thousand legs of a long script are a
/// thousand names until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Its name.
    pub name: String,
    /// Which one.
    pub child: Child,
    /// What had been stopped when it was decided.
    after: Option<After>,
    /// Whether it was sent, and nobody knows what came of it.
    may_exist: bool,
}

impl Creation {
    /// It was sent, and was not answered: it may exist.
    #[must_use]
    pub fn unanswered(self) -> Self {
        Self { may_exist: true, ..self }
    }
}

/// A child to create.
#[derive(Debug, Clone, PartialEq)]
pub enum NewChild {
    /// A step.
    Run(Box<Run>),
    /// A job that uses a template, to be made of it by [`crate::use_template`].
    Workflow(Box<Use>),
}

/// What came of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is there.
    Made,
    /// Its name is somebody else's.
    Taken,
    /// It can't be created, and why.
    Refused(String),
    /// It was not sent: [`Execution::object`] gave none.
    Unwanted,
}

/// A leg of a job.
type LegId = (JobId, usize);

/// What waits for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The Workflow takes too long.
    Whole,
    /// This attempt of a leg takes too long.
    Leg(LegId, i32),
    /// The next attempt of a leg.
    Retry(LegId),
}

/// One run of a Workflow.
#[derive(Debug)]
pub struct Execution {
    identity: Identity,
    plan: Plan,
    settings: Settings,
    inputs: Value,
    phase: WorkflowPhase,
    message: Option<String>,
    reason: &'static str,
    outputs: Outputs,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    jobs: Vec<JobState>,
    /// Whether it may begin, as far as its group is concerned.
    admitted: bool,
    suspended: bool,
    approvals: BTreeSet<String>,
    stop: Option<WholeStop>,
    /// Jobs, but for those in `finally`, that have not ended.
    open: usize,
    /// Jobs that have not ended.
    left: usize,
    /// Jobs that had begun before a restart and are not taken up yet, as the status had them.
    begun: BTreeMap<JobId, JobStatus>,
    /// Jobs whose needs have ended.
    ready: VecDeque<JobId>,
    /// Jobs that only wait for an approval.
    unapproved: BTreeSet<JobId>,
    /// Legs to go on with: their child has ended, or they have none yet.
    due: VecDeque<LegId>,
    /// Legs whose next child waits for its turn.
    queued: VecDeque<LegId>,
    /// Children on their way, by name.
    active: BTreeMap<String, Active>,
    /// Runs that hold workspaces and have not ended, by name.
    holders: BTreeMap<String, Holder>,
    /// Children that were seen before their step came.
    early: BTreeMap<Child, Seen>,
    timers: BTreeSet<(Timestamp, Timer)>,
    legs: usize,
    steps: usize,
    output_bytes: usize,
    message_bytes: usize,
    effects: Vec<Effect>,
    written: status::Written,
}

/// What of the spec counts while it runs.
#[derive(Debug, Clone)]
struct Settings {
    fail_fast: bool,
    parallelism: usize,
    timeout: Option<Duration>,
}

impl Settings {
    fn of(spec: &WorkflowSpec) -> Self {
        let most = spec.parallelism.and_then(|most| usize::try_from(most).ok());
        let seconds = spec.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            fail_fast: spec.fail_fast != Some(false),
            parallelism: most.unwrap_or(usize::MAX),
            timeout: seconds.map(Duration::from_secs),
        }
    }
}

impl Execution {
    /// Takes up a run where its status and its children left it. `earlier` is the Workflow that `spec.reuse` names.
    ///
    /// # Errors
    /// What is wrong with the spec.
    pub fn resume(
        workflow: &Workflow,
        children: Vec<Seen>,
        earlier: Option<&Workflow>,
        now: Timestamp,
    ) -> Result<Self, Vec<Invalid>> {
        let spec = &workflow.spec;
        let plan = Plan::of(spec)?;
        let inputs = values::inputs(spec)?;
        let reused = restore::reused(workflow, &plan, earlier)?;
        let mut execution = Self::empty(workflow, plan, inputs);
        execution.restore(workflow, children, &reused);
        execution.changed(workflow, now);
        Ok(execution)
    }

    fn empty(workflow: &Workflow, plan: Plan, inputs: Value) -> Self {
        let jobs =
            plan.jobs.iter().map(|job| JobState { waits: job.needs.len(), ..JobState::default() });
        Self {
            identity: Identity {
                namespace: workflow.namespace().unwrap_or_default(),
                name: workflow.name_any(),
                uid: workflow.uid().unwrap_or_default(),
            },
            settings: Settings::of(&workflow.spec),
            inputs,
            phase: WorkflowPhase::Pending,
            message: None,
            reason: "",
            outputs: Outputs::new(),
            started: None,
            ended: None,
            jobs: jobs.collect(),
            admitted: plan.group.is_none(),
            suspended: false,
            approvals: BTreeSet::new(),
            stop: None,
            open: plan.jobs.iter().filter(|job| !job.finally).count(),
            left: plan.jobs.len(),
            begun: BTreeMap::new(),
            ready: VecDeque::new(),
            unapproved: BTreeSet::new(),
            due: VecDeque::new(),
            queued: VecDeque::new(),
            active: BTreeMap::new(),
            holders: BTreeMap::new(),
            early: BTreeMap::new(),
            timers: BTreeSet::new(),
            legs: 0,
            steps: 0,
            output_bytes: 0,
            message_bytes: 0,
            effects: Vec::new(),
            written: status::Written::of(workflow),
            plan,
        }
    }

    /// Whose run it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its phase.
    #[must_use]
    pub const fn phase(&self) -> WorkflowPhase {
        self.phase
    }

    /// The name of its group, or why there is none.
    ///
    /// # Errors
    /// The expression can't be evaluated.
    pub fn group(&self) -> Result<Option<String>, String> {
        let view = context::View { of: self, job: None, leg: None, env: None };
        let group = self.plan.group.as_ref().map(|group| group.evaluate_text(&view));
        group.transpose().map_err(|error| format!("spec.concurrency.group: {error}"))
    }

    /// Whether it has begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.started.is_some()
    }

    /// It may begin, as far as its group is concerned.
    pub fn admit(&mut self) {
        self.admitted = true;
    }

    fn cancel(&mut self, why: &str, now: Timestamp) {
        self.stop_whole(WholeStop::Cancelled(why.to_owned()), now);
    }

    /// Ends it: a newer one of its group takes its place.
    pub fn supersede(&mut self, now: Timestamp) {
        if self.has_begun() && !mutant::is(Mutant::SupersededUnwritten) {
            self.effects.push(Effect::Supersede);
        } else {
            self.cancel(SUPERSEDED, now);
        }
    }

    /// Takes in what its user has changed.
    pub fn changed(&mut self, workflow: &Workflow, now: Timestamp) {
        let spec = &workflow.spec;
        self.written.observe(workflow);
        self.suspended = spec.suspend == Some(true);
        for name in &spec.approvals {
            if self.approvals.insert(name.clone())
                && let Some(job) = self.plan.by_name.get(name)
                && self.unapproved.remove(job)
            {
                self.ready.push_back(*job);
            }
        }
        if spec.cancel_requested == Some(true) {
            let why =
                if state::is_superseded(workflow) { SUPERSEDED } else { "cancelled by its user" };
            self.cancel(why, now);
        }
    }

    /// When [`Self::advance`] is to be asked again though nothing has happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn set_timer(&mut self, from: Timestamp, after: Duration, timer: Timer) {
        let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
        if let Ok(at) = from.checked_add(after) {
            self.timers.insert((at, timer));
        }
    }

    /// How many children there may be that were seen before their step came.
    const fn most_early() -> usize {
        limits::LEG_STEPS * 2
    }
}

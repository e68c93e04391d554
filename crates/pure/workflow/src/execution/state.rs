//! What is known of a run: plain data, changed by `advance` and `children` alone.

use super::LegId;
use super::workspace::Held;
use crate::child::Child;
use jiff::Timestamp;
use kruntimes_api::{JobPhase, Workflow};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) type Outputs = BTreeMap<String, String>;

/// One job.
#[derive(Debug, Default)]
pub(super) struct JobState {
    pub(super) phase: JobPhase,
    pub(super) message: Option<String>,
    /// Needs that have not ended.
    pub(super) waits: usize,
    pub(super) legs: Vec<Leg>,
    /// The first leg that has not been started.
    pub(super) next_leg: usize,
    pub(super) running_legs: usize,
    pub(super) ended_legs: usize,
    pub(super) outputs: Outputs,
    /// What others read of it; null until it has ended.
    pub(super) value: Value,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

/// One run through the steps of a job.
#[derive(Debug)]
pub(super) struct Leg {
    /// None where the job has no matrix.
    pub(super) name: Option<String>,
    /// Its values of the matrix.
    pub(super) values: Value,
    pub(super) phase: JobPhase,
    pub(super) message: Option<String>,
    pub(super) attempt: i32,
    /// The step that is next, or on its way.
    pub(super) at: usize,
    /// Steps before this one have been decided before a restart: without a Run they were skipped.
    pub(super) decided: usize,
    pub(super) steps: Vec<StepState>,
    pub(super) stop: Option<Stop>,
    /// What holds its workspace, where its steps share one.
    pub(super) held: Held,
    pub(super) outputs: Outputs,
    pub(super) started: Option<Timestamp>,
}

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StepState {
    pub(super) phase: JobPhase,
    pub(super) child: Option<String>,
    pub(super) outputs: Outputs,
    pub(super) message: Option<String>,
}

/// A child on its way.
#[derive(Debug, Clone)]
pub(super) struct Active {
    pub(super) leg: LegId,
    pub(super) child: Child,
    /// Whether it is known to exist: what may not exist yet can't be cancelled.
    pub(super) exists: bool,
    /// What had been stopped when it was decided, which does not end it.
    pub(super) after: Option<After>,
}

impl Active {
    /// Why it is to end, where its leg was stopped after its creation was decided.
    pub(super) fn is_stopped_by(&self, leg: &Leg) -> Option<Stop> {
        let stopped = leg.stop.filter(|stop| self.after != Some(After::Leg(*stop)));
        stopped.or(leg.held.is_lost())
    }
}

/// Annotation of a child that its Workflow has cancelled: why. A child that somebody else cancels has failed.
pub(super) const STOPPED: &str = "kruntimes.io/workflow-stopped";

/// Annotation of a Workflow that a newer one of its group has cancelled.
const SUPERSEDED: &str = "kruntimes.io/workflow-superseded";

/// The merge patch that says so.
#[must_use]
pub fn superseded() -> Value {
    json!({"metadata": {"annotations": {SUPERSEDED: "true"}}, "spec": {"cancelRequested": true}})
}

pub(super) fn is_superseded(workflow: &Workflow) -> bool {
    workflow.annotations().contains_key(SUPERSEDED)
}

/// Annotation of a child that was created after a stop, which does not end it: what had been stopped.
pub(super) const AFTER: &str = "kruntimes.io/workflow-after-stop";

/// What had been stopped when a child was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Its leg.
    Leg(Stop),
    /// The whole, before its job began.
    Whole,
}

impl After {
    const WHOLE: &str = "Workflow";

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Leg(stop) => stop.as_str(),
            Self::Whole => Self::WHOLE,
        }
    }

    pub(super) fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        match annotations.get(AFTER)?.as_str() {
            Self::WHOLE => Some(Self::Whole),
            text => Stop::parse(text).map(Self::Leg),
        }
    }
}

/// Why something is ended before its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its user, or another job that failed.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// The workspace that its steps share is lost.
    Lost,
}

impl Stop {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "Cancelled",
            Self::TimedOut => "TimedOut",
            Self::Lost => "WorkspaceLost",
        }
    }

    pub(super) fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        annotations.get(STOPPED).and_then(|text| Self::parse(text))
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Cancelled, Self::TimedOut, Self::Lost].into_iter().find(|stop| stop.as_str() == text)
    }

    /// The merge patch that asks a child to end.
    #[must_use]
    pub fn patch(self) -> Value {
        json!({
            "metadata": {"annotations": {STOPPED: self.as_str()}},
            "spec": {"cancelRequested": true},
        })
    }
}

/// Why the whole of it is ended before its own end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WholeStop {
    /// By its user, or a newer Workflow of its group.
    Cancelled(String),
    /// This job failed.
    Failed(String),
    /// It took too long.
    TimedOut,
}

impl Leg {
    pub(super) fn new(name: Option<String>, values: Value, steps: usize) -> Self {
        Self {
            name,
            values,
            phase: JobPhase::Pending,
            message: None,
            attempt: 1,
            at: 0,
            decided: 0,
            steps: vec![StepState::default(); steps],
            stop: None,
            held: Held::No,
            outputs: Outputs::new(),
            started: None,
        }
    }

    /// Makes ready for the next attempt.
    pub(super) fn restart(&mut self) {
        self.attempt += 1;
        self.at = 0;
        self.decided = 0;
        self.started = None;
        self.message = None;
        self.held = Held::No;
        self.steps.fill(StepState::default());
    }
}

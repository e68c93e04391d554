//! Children as a watch shows them.

use super::children;
use super::state::{After, Stop};
use crate::child::Child;
use jiff::Timestamp;
use kruntimes_api::{Phase, Run, Workflow, WorkflowPhase};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// A child as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Which one, as its labels say.
    pub child: Child,
    /// How it ended, unless it has not.
    pub end: Option<End>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it was ever given to a pod.
    pub placed: bool,
    /// What had been stopped by then, where its creation was to follow a stop.
    pub after: Option<After>,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Whether it did what it was to do.
    pub how: How,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// Why it did not.
    pub message: String,
}

/// Whether a child did what it was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It did.
    Succeeded,
    /// It did not.
    Failed,
    /// It was told to end by its Workflow.
    Cancelled(Stop),
}

impl Seen {
    /// A Run that belongs to a Workflow.
    #[must_use]
    pub fn run(run: &Run) -> Option<Self> {
        let status = run.status.as_ref();
        let how = match run.phase() {
            Phase::Pending | Phase::Scheduled | Phase::Running => None,
            Phase::Succeeded => Some(How::Succeeded),
            Phase::Failed | Phase::Timeout => Some(How::Failed),
            Phase::Cancelled => {
                Some(Stop::of(run.annotations()).map_or(How::Failed, How::Cancelled))
            }
        };
        let outputs = status.map(|status| &status.outputs);
        let placed = status.is_some_and(|status| {
            status.assigned_pod.is_some() || status.attempt.is_some_and(|attempt| attempt > 0)
        });
        let seen = Self::of(run, how, outputs, || children::why(run))?;
        Some(Self { placed, ..seen })
    }

    /// A Workflow that is a job of another one.
    #[must_use]
    pub fn workflow(workflow: &Workflow) -> Option<Self> {
        let status = workflow.status.as_ref();
        let how = match workflow.phase() {
            WorkflowPhase::Pending | WorkflowPhase::Running => None,
            WorkflowPhase::Succeeded => Some(How::Succeeded),
            WorkflowPhase::Failed => Some(How::Failed),
            WorkflowPhase::Cancelled => {
                Some(Stop::of(workflow.annotations()).map_or(How::Failed, How::Cancelled))
            }
        };
        let outputs = status.map(|status| &status.outputs);
        let why = || status.and_then(|status| status.message.clone()).unwrap_or_default();
        Self::of(workflow, how, outputs, why)
    }

    fn of(
        object: &impl ResourceExt,
        how: Option<How>,
        outputs: Option<&BTreeMap<String, String>>,
        why: impl FnOnce() -> String,
    ) -> Option<Self> {
        let end = |how| End { how, outputs: outputs.cloned().unwrap_or_default(), message: why() };
        Some(Self {
            name: object.name_any(),
            child: Child::of(object.labels())?,
            end: how.map(end),
            created: object.creation_timestamp().map(|time| time.0),
            placed: false,
            after: After::of(object.annotations()),
        })
    }
}

//! Crash points: each effect of each kind of node, before and after it.

/// An effect of a node on something outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Scheduler: assigns a Run.
    Assign,
    /// Scheduler: ends a Run that waits, or says why it waits.
    Refuse,
    /// Scheduler: writes the leader's Lease.
    SchedulerLease,
    /// Controller: breaks a pod's Lease.
    Break,
    /// Controller: takes a Run from a pod.
    Take,
    /// Controller: deletes a Run that ended.
    Collect,
    /// Controller: writes the leader's Lease.
    ControllerLease,
    /// Controller: creates a child of a Workflow.
    CreateChild,
    /// Controller: asks a child of a Workflow to end.
    CancelChild,
    /// Controller: writes the status of a Workflow.
    WorkflowStatus,
    /// runtimed: makes a workspace.
    Prepare,
    /// runtimed: journals an attempt.
    Journal,
    /// runtimed: tells the server of a renewal.
    Renew,
    /// runtimed: sends Execute.
    Execute,
    /// runtimed: sends Cancel.
    Cancel,
    /// runtimed: looks through what an attempt left behind.
    LookThrough,
    /// runtimed: keeps artifacts.
    KeepArtifacts,
    /// runtimed: sends Forget.
    Forget,
    /// runtimed: removes a workspace.
    Remove,
    /// runtimed: writes phase Running.
    Running,
    /// runtimed: writes a terminal status.
    Finish,
    /// runtimed: writes Pending for a next attempt.
    Retry,
    /// runtimed: hands an attempt back.
    HandBack,
    /// runtimed: takes or renews its Lease.
    Hold,
    /// runtimed: gives its Lease back.
    Release,
    /// Runtime Server: starts a process.
    Start,
    /// Runtime Server: kills a process.
    Kill,
    /// Runtime Server: tells of an end.
    Report,
    /// API server: commits a write.
    Commit,
}

impl Effect {
    /// All effects.
    pub const ALL: [Self; 29] = [
        Self::Assign,
        Self::Refuse,
        Self::SchedulerLease,
        Self::Break,
        Self::Take,
        Self::Collect,
        Self::ControllerLease,
        Self::CreateChild,
        Self::CancelChild,
        Self::WorkflowStatus,
        Self::Prepare,
        Self::Journal,
        Self::Renew,
        Self::Execute,
        Self::Cancel,
        Self::LookThrough,
        Self::KeepArtifacts,
        Self::Forget,
        Self::Remove,
        Self::Running,
        Self::Finish,
        Self::Retry,
        Self::HandBack,
        Self::Hold,
        Self::Release,
        Self::Start,
        Self::Kill,
        Self::Report,
        Self::Commit,
    ];

    /// Crashes in a thousand, before it and again after it: rare effects crash more often.
    pub(crate) const fn permille(self, side: Side) -> u64 {
        match self {
            Self::Commit | Self::SchedulerLease | Self::ControllerLease | Self::Hold => 1,
            Self::CreateChild | Self::WorkflowStatus => 15,
            Self::Renew | Self::Assign | Self::Running | Self::Report => 4,
            Self::Prepare | Self::Journal | Self::Execute | Self::Start => 8,
            Self::LookThrough | Self::Forget | Self::Remove | Self::Finish => 8,
            Self::KeepArtifacts
            | Self::Cancel
            | Self::Kill
            | Self::Retry
            | Self::Release
            | Self::Refuse => 25,
            Self::Take | Self::Collect => 50,
            Self::Break => 60,
            Self::CancelChild => 110,
            Self::HandBack => match side {
                Side::Before => 330,
                Side::After => 900,
            },
        }
    }
}

/// When a node crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The effect does not happen.
    Before,
    /// It happens, and its answer reaches nobody.
    After,
}

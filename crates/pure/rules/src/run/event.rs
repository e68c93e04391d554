//! What can happen to one attempt, and what its machine asks for.

use super::outcome::{Exit, Outcome};
use super::outputs::Outputs;
use jiff::Timestamp;
use kruntimes_api::{ArtifactRef, Reason, Timeline};

/// What an attempt whose processes have ended left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// What is kept of its outputs.
    pub outputs: Outputs,
    /// Why something of it can't be kept.
    pub refused: Option<(Reason, String)>,
    /// Whether there are artifacts, which a success keeps.
    pub artifacts: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A slot is free and ours.
    SlotGranted,
    /// The workspace is ready.
    Prepared,
    /// The workspace or the environment could not be made, for that reason.
    PrepareFailed(Reason, String),
    /// The pod holds its Lease.
    LeaseHeld,
    /// Execute was not sent, since the pod held its Lease no more or nobody wanted it any more: nothing was executed.
    LeaseMissed,
    /// The server took the Execute.
    Executed,
    /// The server refused, or did not answer in time.
    ExecuteFailed(String),
    /// The command started at that time by the server's clock.
    Started(Timestamp),
    /// The command and all its processes ended at that time by the server's clock.
    Exited(Exit, Timestamp),
    /// The server does not know the execution any more.
    Lost,
    /// The server answers again and again what can't be read, so that the end of the execution would never be known.
    Unreadable(String),
    /// The user asks for the end.
    CancelRequested,
    /// The Run was deleted, or is not this pod's any more.
    Deleted,
    /// The pod could not renew its Lease in time: what executes must be dead before another attempt may start.
    Fenced,
    /// The pod's Lease was broken: nothing of it may go on here.
    Broken,
    /// The pod ends.
    Shutdown,
    /// The pod ends as soon as what executes has ended.
    Drain,
    /// No process of the execution is left, and the server forgot it.
    CancelAcknowledged,
    /// What the attempt left behind is looked through.
    Collected(Collected),
    /// The artifacts are kept, or why they are not. Nothing is kept any more beside that.
    Kept(Result<Vec<ArtifactRef>, (Reason, String)>),
    /// The final write was accepted, or refused because somebody else owns the Run.
    Written,
    /// The server forgot the execution.
    Forgotten,
    /// The workspace is gone.
    WorkspaceRemoved,
    /// [`super::machine::Machine::deadline`] has come.
    Deadline,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask for a slot; answers `SlotGranted`.
    AcquireSlot,
    /// Give the slot, or the place in its queue, back.
    ReleaseSlot,
    /// End what a crash left of an earlier attempt, make the workspace anew and read the environment; answers `Prepared` or `PrepareFailed`.
    PrepareWorkspace,
    /// End the making of the workspace at once: nobody waits for its answer any more.
    StopPreparing,
    /// Wait until the pod holds its Lease; answers `LeaseHeld`.
    AwaitLease,
    /// Journal the attempt, then Execute if the Lease is still held; answers `Executed`, `ExecuteFailed` or `LeaseMissed`.
    Execute,
    /// Nobody wants what was asked for by `Execute`: if it is not on its way yet the answer is `LeaseMissed`.
    StopExecuting,
    /// Ask the server how the execution stands; answers `Started`, `Exited` or `Lost`.
    Inspect,
    /// Kill the execution; answers `CancelAcknowledged`, however long it takes.
    Cancel,
    /// Look through what the ended attempt left behind; answers `Collected`.
    Collect,
    /// Keep the artifacts of the ended attempt in its store; answers `Kept`.
    KeepArtifacts(Timeline),
    /// Nobody wants what was asked for by `KeepArtifacts`: it ends soon and answers `Kept`.
    StopKeeping,
    /// Drop the ended execution; answers `Forgotten`.
    Forget,
    /// Remove the workspace; answers `WorkspaceRemoved`.
    RemoveWorkspace,
    /// Write phase Running.
    WriteRunning(Timeline),
    /// Write a terminal phase; answers `Written`.
    WriteTerminal(Outcome, Timeline),
    /// Write phase Pending for the next attempt; answers `Written`.
    WriteRetry(Outcome, Timeline),
    /// Write phase Pending, never started; answers `Written`.
    HandBack(String),
}

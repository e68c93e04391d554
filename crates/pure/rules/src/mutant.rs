//! Seeded bugs: what the simulation must find. Only debug builds have them, and only a thread that asks for one.

use std::cell::Cell;

macro_rules! mutants {
    ($($name:ident: $what:literal,)*) => {
        /// A bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(#[doc = $what] $name,)*
        }

        impl Mutant {
            /// All bugs.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Those that a thousand seeds must find.
            pub fn common() -> impl Iterator<Item = Self> {
                Self::ALL.iter().copied().filter(|mutant| !RARE.contains(mutant))
            }

            /// What is wrong.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }
        }
    };
}

mutants! {
    NoCompareAndSet: "the scheduler assigns without a resourceVersion",
    TakeWithoutVersion: "the controller takes a Run without a resourceVersion",
    NoUidCheck: "a pod takes Runs of an earlier pod of its name",
    NoJournal: "an attempt is executed without a line in the journal",
    NoSync: "Execute does not wait until the journal is on the disk",
    WallClockLease: "the pod's Lease is counted by the wall clock",
    WallClockJournal: "a restart counts an attempt's time by the wall clock",
    WallClockReaper: "the controller counts by the wall clock",
    CapacityOffByOne: "a pod takes one Run more than it has slots",
    ReapWithoutBreak: "the controller takes Runs without breaking the Lease",
    AbsenceNotConfirmed: "a break of a Lease that was absent takes Runs of a pod that is gone",
    TakeWhatIsNew: "the controller takes Runs that were written after it broke the Lease",
    NoFence: "runtimed kills nothing when its Lease runs out",
    NoDeadMan: "the Runtime Server kills nothing when renewals stay away",
    RetryBeforeDeath: "a next attempt is written before the Cancel is acknowledged",
    AttemptNotCounted: "a next attempt carries the number of the former",
    NotStartedCounts: "an attempt that never started counts",
    PolicyIgnored: "a failed attempt is tried again beyond maxAttempts",
    ScheduledNotReaped: "the controller leaves Runs alone that are Scheduled",
    LostWatchNotRelisted: "a watch that met 410 goes on without a list",
    DeletionKillsNothing: "the deletion of a Run does not reach its attempt",
    DeadlineNotReset: "a retry has the deadline of the attempt before",
    BackoffIgnored: "a retry is placed at once",
    AssumedNotCounted: "a placement counts only once the watch shows it",
    FailedIsProof: "a pod's phase Failed is taken as proof that nothing runs in it",
    HandBackStarted: "a broken Lease hands back what has started",
    NoRulesInTheCrd: "the API server checks no rule of the CRD",
    GoneIsDead: "a pod object that is gone counts as a pod that is dead",
    ExecuteWithoutLease: "an attempt is executed without the Lease",
    ClearTooEarly: "a pod takes its broken Lease again before its Runs are written",
    BegunAnew: "a restarted runtimed begins what its earlier life may have given up",
    NoSweep: "what a crash left executing is not killed",
    OldWatchGoesOn: "after a break the watch goes on beside the list",
    NextNotBroken: "what waits behind another attempt begins although the Lease was broken",
    ConflictIsLoss: "a conflict counts as the word that the Run is somebody else's",
    JournalLeftOpen: "what an earlier attempt left open in the journal stays open",
    TakingForgotten: "a Lease that may have been taken is not looked at",
    SweptNotCounted: "Runs are admitted beside what a crash left executing",
    CancelIgnored: "a cancelled Run runs on",
    OutputsStay: "an assignment leaves the outputs of the attempt before",
    NothingCollected: "an attempt ends before what it left behind is looked through",
    TimeoutIgnored: "the deadline of a Run is not kept",
    OwnerNotChecked: "a Run of others under a step's name counts as the step",
    ChildrenForgotten: "a controller that starts anew takes up a Workflow without its Runs",
    CreatedUnderOtherName: "a Run whose creation was not answered is created again under another name",
    MaxParallelIgnored: "a matrix starts all of its legs at once",
    ParallelismIgnored: "a Workflow creates all of its Runs at once",
    RestoredNotCounted: "after a restart Runs that are not taken up yet do not count against the parallelism",
    FailedLegRestoredWell: "after a restart a leg that failed has succeeded",
    AllAdmitted: "every Workflow of a concurrency group begins at once",
    GroupsByName: "after a restart the first by name begins in its group",
    SupersededUnwritten: "a Workflow that gives way to a newer one is ended before that is written",
    StatusWithoutVersion: "the status of a Workflow is written without a resourceVersion",
    DeletedChildAwaited: "a step waits for a Run that was deleted",
    UnwrittenForgotten: "what a refused write of a Workflow's status had is not written again",
    AnswersByName: "what came of a request counts for another Workflow that has the name by now",
    UnansweredIsAbsent: "a stopped Run whose creation was not answered counts as one that was never sent",
    NeedsIgnored: "a job starts beside those that it needs",
    CancelledGoesOn: "a Workflow that was cancelled starts what comes next",
}

/// Each breaks a guard that matters only when another one has failed just before, or within the milliseconds of a list. A
/// thousand seeds may miss them; tables of this crate and of `pure/workflow` find six of them, and `--mutant NAME --seeds N` hunts one for longer.
const RARE: [Mutant; 10] = [
    Mutant::BegunAnew,
    Mutant::AbsenceNotConfirmed,
    Mutant::TakeWhatIsNew,
    Mutant::ClearTooEarly,
    Mutant::NextNotBroken,
    Mutant::JournalLeftOpen,
    Mutant::TakingForgotten,
    Mutant::SweptNotCounted,
    Mutant::UnansweredIsAbsent,
    Mutant::SupersededUnwritten,
];

thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Gives this thread a bug, or none.
pub fn activate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

/// Whether this thread has this bug. Never in a release build.
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    cfg!(debug_assertions) && ACTIVE.get() == Some(mutant)
}

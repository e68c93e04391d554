//! What goes wrong: the kinds of faults, and how often a seed meets each.

use crate::points::{Effect, Side};
use crate::random::Random;
use std::collections::BTreeMap;
use std::time::Duration;

macro_rules! faults {
    ($($name:ident: $what:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $(#[doc = $what] $name,)*
        }

        impl Fault {
            /// All kinds.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name,)*];
        }
    };
}

faults! {
    CrashBefore: "a node crashes before an effect",
    CrashAfter: "a node crashes after an effect, before it knows of its answer",
    LostRequest: "a request is lost",
    LateRequest: "a request arrives up to 15 s late",
    DuplicateRequest: "a request arrives twice",
    LateReply: "an answer comes up to 9 s late",
    LostReply: "a request is served and its answer is lost",
    Conflict: "a write is refused with 409",
    TooMany: "a request is refused with 429",
    Internal: "a request is refused with 500",
    DuplicateEvent: "a watch shows an event twice",
    Expired: "a watch is refused with 410",
    PrepareFails: "a workspace can't be made",
    ServerHangs: "a call of the Runtime Server is never answered",
    ServerForgetsEvent: "an event of the Runtime Server is lost",
    StaleWatch: "the watches of a node are up to 60 s late",
    DroppedEvents: "a watch drops events, then ends with 410",
    BrokenWatch: "a watch breaks",
    CutRequests: "no request of a node gets through",
    CutAnswers: "no answer and no event gets through to a node",
    CutBoth: "nothing gets through between a node and the API server",
    RestartRuntimed: "runtimed is killed and started again",
    RestartServer: "the Runtime Server is killed with its processes and started again",
    RestartBoth: "both containers are killed and started again",
    PauseRuntimed: "runtimed is stopped while its processes go on",
    PauseServer: "the Runtime Server is stopped while its processes go on",
    PausePod: "a whole pod is stopped",
    PauseScheduler: "a scheduler is stopped",
    PauseController: "a controller is stopped",
    CrashScheduler: "a scheduler is killed",
    CrashController: "a controller is killed",
    ApiDown: "the API server is gone for 5 to 90 s",
    ClockStep: "a wall clock steps by up to an hour",
    PodDeleted: "a pod is deleted",
    PodForceDeleted: "a pod object is removed while its containers run",
    PodRecreated: "a pod object is removed while its containers run, and another pod gets its name",
    PowerLoss: "a machine loses its power and comes back with the same pod",
    MachineLoss: "a machine is gone for ever",
    ChildDeleted: "somebody deletes a Run of a Workflow",
    NameTaken: "somebody makes a Run under the name that a Workflow would give to one of its own",
    WorkflowDeleted: "a Workflow is deleted while it runs",
    WorkflowEdited: "somebody edits a Workflow while it runs",
}

impl Fault {
    /// Those that strike at a time of their own; the others strike messages and effects.
    pub(crate) const TIMED: [Self; 23] = [
        Self::StaleWatch,
        Self::DroppedEvents,
        Self::BrokenWatch,
        Self::CutRequests,
        Self::CutAnswers,
        Self::CutBoth,
        Self::RestartRuntimed,
        Self::RestartServer,
        Self::RestartBoth,
        Self::PauseRuntimed,
        Self::PauseServer,
        Self::PausePod,
        Self::PauseScheduler,
        Self::PauseController,
        Self::CrashScheduler,
        Self::CrashController,
        Self::ApiDown,
        Self::ClockStep,
        Self::PodDeleted,
        Self::PodForceDeleted,
        Self::PodRecreated,
        Self::PowerLoss,
        Self::MachineLoss,
    ];

    /// Those of seeds with Workflows, at times of their own too.
    pub(crate) const OF_WORKFLOWS: [Self; 4] =
        [Self::ChildDeleted, Self::NameTaken, Self::WorkflowDeleted, Self::WorkflowEdited];

    const MESSAGES: [(Self, u64); 13] = [
        (Self::LostRequest, 10),
        (Self::LateRequest, 10),
        (Self::DuplicateRequest, 10),
        (Self::LateReply, 20),
        (Self::LostReply, 10),
        (Self::Conflict, 8),
        (Self::TooMany, 8),
        (Self::Internal, 8),
        (Self::DuplicateEvent, 10),
        (Self::Expired, 60),
        (Self::PrepareFails, 30),
        (Self::ServerHangs, 10),
        (Self::ServerForgetsEvent, 40),
    ];
}

/// How many kinds of faults a seed meets, and how often. Rare chains need few kinds that strike often: with all of them
/// at once something always heals what the next one would need.
struct Swarm {
    /// Of a thousand kinds that are favoured, and of the others.
    kept: (u64, u64),
    favoured: &'static [Fault],
    crashing: u64,
    crashes: [u64; 3],
    messages: u64,
    every: (u64, u64),
    pods: (u64, u64),
    longest: u64,
    /// `fenceAfter` and `reapAfter`, in seconds.
    times: &'static [(u64, u64)],
}

/// What makes a pod lose its Lease and live on.
const OF_LEASES: [Fault; 10] = [
    Fault::LateRequest,
    Fault::DuplicateRequest,
    Fault::LateReply,
    Fault::LostReply,
    Fault::StaleWatch,
    Fault::CutRequests,
    Fault::CutAnswers,
    Fault::CutBoth,
    Fault::PauseRuntimed,
    Fault::RestartRuntimed,
];

impl Swarm {
    fn draw(random: &mut Random) -> Self {
        let all = Self {
            kept: (1000, 1000),
            favoured: &[],
            crashing: 1000,
            crashes: [1, 1, 3],
            messages: 1,
            every: (2_000, 12_000),
            pods: (3, 5),
            longest: 120_000,
            times: &[(30, 60), (30, 38), (10, 20), (10, 18), (5, 13)],
        };
        let some = Self { kept: (300, 300), crashing: 700, ..all };
        let few = Self {
            kept: (150, 150),
            crashing: 500,
            crashes: [3, 10, 10],
            messages: 8,
            every: (1_000, 5_000),
            ..all
        };
        let leases = Self {
            kept: (500, 30),
            favoured: &OF_LEASES,
            pods: (1, 3),
            longest: 25_000,
            times: &[(10, 18), (5, 13)],
            ..few
        };
        match random.below(20) {
            0..4 => all,
            4..8 => some,
            8..12 => few,
            _ => leases,
        }
    }

    fn keeps(&self, fault: Fault) -> u64 {
        if self.favoured.contains(&fault) { self.kept.0 } else { self.kept.1 }
    }
}

/// What a seed meets.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Whether faults strike now.
    pub(crate) active: bool,
    pub(crate) faults: Faults,
    /// Whether there are Workflows.
    pub(crate) workflows: bool,
    messages: BTreeMap<Fault, u64>,
    /// Crashes at effects, as a multiple of the usual.
    crashes: u64,
    /// Which strike at times of their own.
    pub(crate) timed: Vec<Fault>,
    pub(crate) pods: u64,
    /// What lasts ends within this time, in milliseconds.
    pub(crate) longest: u64,
    /// Between two of these.
    pub(crate) every: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fence_after: Duration,
    pub(crate) reap_after: Duration,
}

impl Settings {
    /// Each seed has faults of its own choice: none, all of them, some, or a few kinds very often.
    pub(crate) fn draw(random: &mut Random, faults: Faults) -> Self {
        let swarm = Swarm::draw(random);
        let (fence, reap) = random.pick(swarm.times);
        let mut keep = |of: u64| faults != Faults::None && random.permille(of);
        let chosen = Fault::MESSAGES.into_iter().filter(|(fault, _)| keep(swarm.keeps(*fault)));
        let messages: BTreeMap<_, _> =
            chosen.map(|(fault, permille)| (fault, permille * swarm.messages)).collect();
        let timed = Fault::TIMED.into_iter().filter(|fault| keep(swarm.keeps(*fault))).collect();
        let crashes = u64::from(keep(swarm.crashing));
        Self {
            active: false,
            faults,
            workflows: false,
            messages,
            crashes: crashes * random.pick(&swarm.crashes),
            timed,
            every: random.millis(swarm.every.0, swarm.every.1),
            pods: swarm.pods.0 + random.below(swarm.pods.1 - swarm.pods.0 + 1),
            longest: swarm.longest,
            lasts: random.millis(50_000, 250_000),
            fence_after: Duration::from_secs(fence),
            reap_after: Duration::from_secs(reap),
        }
    }

    pub(crate) fn permille(&self, fault: Fault) -> u64 {
        self.messages.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn crash_permille(&self, effect: Effect, side: Side) -> u64 {
        (self.crashes * effect.permille(side)).min(950)
    }
}

/// Whether anything goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// Nothing does.
    None,
    /// What the seed draws.
    Drawn,
}

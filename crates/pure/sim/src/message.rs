//! Who there is, and what can happen to whom.

use crate::faults::Fault;
use crate::store::{Code, Object, Op, Reply};
use std::time::Duration;

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    Api,
    Scheduler(u8),
    Controller(u8),
    /// The runtimed of the pod at this index.
    Runtimed(usize),
    /// Its Runtime Server, with the processes that it started.
    Server(usize),
    /// Kubelets, the controllers of Kubernetes, and what goes wrong.
    Cluster,
    Client,
}

impl Address {
    /// Whose clocks it reads: the containers of a pod share a machine.
    pub(crate) fn clock(self) -> Self {
        match self {
            Self::Server(pod) => Self::Runtimed(pod),
            Self::Api
            | Self::Scheduler(_)
            | Self::Controller(_)
            | Self::Runtimed(_)
            | Self::Cluster
            | Self::Client => self,
        }
    }

    pub(crate) fn pod(self) -> Option<usize> {
        match self {
            Self::Runtimed(pod) | Self::Server(pod) => Some(pod),
            Self::Api | Self::Scheduler(_) | Self::Controller(_) | Self::Cluster | Self::Client => {
                None
            }
        }
    }

    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Api => 0,
            Self::Cluster => 1,
            Self::Client => 2,
            Self::Scheduler(number) => 10 + u64::from(number),
            Self::Controller(number) => 20 + u64::from(number),
            Self::Runtimed(pod) => 1000 + 2 * pod as u64,
            Self::Server(pod) => 1001 + 2 * pod as u64,
        }
    }
}

/// Something that happens to a node.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) to: Address,
    /// Only to this life of the node.
    pub(crate) epoch: Option<u32>,
    pub(crate) body: Body,
}

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// The node starts.
    Start,
    /// A timer.
    Wake,
    /// A request reaches the API server.
    Arrive(Request),
    /// The answer to a request, or none.
    Answer { call: u64, result: Result<Reply, Code> },
    /// A watch shows something.
    Shown { slot: usize, session: u64, event: Shown },
    /// A watch is to be opened again.
    Rewatch { slot: usize },
    /// What runtimed asks its Runtime Server.
    Rpc { call: u64, until: Duration, ask: Ask },
    /// What it answers.
    Said { call: u64, said: Said },
    /// Something of one attempt.
    Attempt { uid: String, life: u64, what: Step },
    /// The server tells of its own accord.
    Told { uid: String, attempt: i32, event: Reported },
    /// The process with this number ends, or is killed for good.
    ProcessEnds { process: u64, killed: bool },
    /// The dead-man switch of a server is due.
    Expires,
    /// runtimed is told to end: SIGTERM.
    Terminate { within: Duration },
    /// The stream of events of the server is open again.
    Reconnected,
    /// What an earlier life left is ended again.
    SweepAgain { uid: String },
    /// Something of the cluster.
    Cluster(ClusterStep),
    /// Something that a client does.
    Client(ClientStep),
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) from: Address,
    pub(crate) epoch: u32,
    pub(crate) call: u64,
    pub(crate) op: Op,
    pub(crate) answered: bool,
}

/// What a watch brings.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    Applied(Object),
    Deleted(Object),
    /// The connection broke.
    Broken,
    /// 410.
    Expired,
}

/// A call of the Runtime Server.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Execute { uid: String, attempt: i32, timeout: Option<Duration> },
    Status { uid: String },
    Cancel { uid: String },
    Forget { uid: String },
    Renew { ttl: Duration },
}

/// An answer of the Runtime Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Done,
    NotFound,
    Running,
    Ended {
        exit_code: i32,
        error: String,
    },
    Refused,
    /// No connection: it certainly did not get it.
    Unreachable,
    Silent,
}

/// What a server tells of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported {
    Started,
    Exited { exit_code: i32, error: String },
}

/// Something of one attempt.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Deadline,
    Prepared(bool),
    Journalled,
    ExecuteAgain,
    CancelAgain,
    ForgetAgain,
    Poll,
    Collected,
    Kept,
    WorkspaceRemoved,
    WriteAgain,
    RunningAgain,
}

/// What kubelets and the controllers of Kubernetes do.
#[derive(Debug, Clone)]
pub(crate) enum ClusterStep {
    Fault,
    Quiet,
    Heal(Fault, usize),
    KubeletLooks(usize),
    Kill(usize),
    RestartContainer(Address),
    MachineBack(usize),
    CollectLost(usize),
    Recreate { name: Option<String> },
    ApiBack,
    CheckKilled { process: u64, disturbances: u32 },
    CheckOverlap(usize),
}

/// What a client does.
#[derive(Debug, Clone)]
pub(crate) enum ClientStep {
    Create(usize),
    Cancel(usize),
    Delete(usize),
    /// Of the Workflow with this number.
    Workflow(usize, Act),
}

/// What the user of a Workflow does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Suspend(bool),
    Approve(String),
    Cancel,
}

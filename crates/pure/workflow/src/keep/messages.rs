//! What is asked of the API server, and what came of it.

use super::flow::Object;
use crate::child::Child;
use crate::execution::{Answer, Creation, Effect, Kind, Seen, Stop};
use kruntimes_api::Workflow;
use kruntimes_rules::observed::ObjectKey;
use serde_json::Value;

/// The Workflow that a request is for. Another one may have its name before the answer comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
}

/// What is asked of the API server for a Workflow.
#[derive(Debug, Clone)]
pub enum Request {
    /// Create a child.
    Create {
        /// Which child.
        creation: Creation,
        /// What to send.
        object: Object,
    },
    /// Ask a child to end.
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
    /// Write [`crate::superseded`] to the Workflow.
    Supersede,
    /// Merge this into the status.
    Write(Value),
    /// Read the Workflow.
    Read,
    /// Read the Workflow whose jobs are to be taken over.
    ReadEarlier(String),
}

/// What came of a request.
#[derive(Debug)]
pub enum Done {
    /// A child was to be created. An older one that was there already is shown, for the watch may not show it again.
    Created {
        /// Which child.
        creation: Creation,
        /// What came of it.
        answer: Answer,
        /// What was there.
        there: Option<Seen>,
    },
    /// A child was asked to end, or the Workflow itself.
    Cancelled,
    /// It could not be sent, and is to be sent again.
    Again(Effect),
    /// A status was written, and this is the Workflow now.
    Written(Result<Workflow, Failure>),
    /// The Workflow is this by now.
    Read(Result<Option<Workflow>, Failure>),
    /// The Workflow whose jobs are to be taken over.
    Earlier(Result<Option<Workflow>, Failure>),
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no such object.
    Missing,
    /// Somebody else has written meanwhile.
    Conflict,
    /// Anything else: it is tried again.
    Other,
}

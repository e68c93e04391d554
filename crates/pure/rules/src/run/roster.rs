//! The Runs of one pod, as its runtimed sees them: which attempts begin, which are told what, what is forgotten.
//!
//! Invariants: at most one attempt of a Run at a time, the next one begins when the former has ended; an assignment to
//! another pod, or to an earlier pod of the same name, is none of ours; after a break of the pod's Lease all is cleared only
//! when nothing goes on of what was assigned before it, what waits for the end of another attempt included.

use crate::mutant::{self, Mutant};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Phase, Run};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

/// A UID becomes part of paths.
const UID_CHARS: usize = 64;

/// Which pod this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Order {
    /// An attempt of the Run with this UID begins. Its end is told to [`Roster::ended`].
    Begin(String, Arc<Run>, Origin),
    /// The Run of this attempt looks like this now.
    Update(String, Arc<Run>),
    /// The Run of this attempt is deleted, or not this pod's any more.
    Gone(String),
    /// The pod's Lease was broken: the attempt of this Run ends.
    Break(String),
    /// The Run is deleted and nothing of it goes on: what is kept of it can go.
    Forget(String),
    /// These are all Runs of this pod: whatever else is kept of Runs can go.
    KeepOnly(BTreeSet<String>),
    /// What an earlier life of this runtimed left of a Run that is not this pod's any more is ended and removed. Its end
    /// is told to [`Roster::ended`].
    Sweep(String),
}

/// Who was the first to see an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This life of runtimed.
    Here,
    /// Perhaps an earlier life: what that one wrote about it may still be on its way.
    Former,
}

/// An assignment: another attempt, or the same number given anew.
#[derive(Debug, Clone, PartialEq)]
struct Assignment {
    attempt: i32,
    scheduled: Option<MicroTime>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// None of what is swept.
    assignment: Option<Assignment>,
    gone: bool,
    /// The Run is deleted: nothing of it is kept when the attempt has ended.
    deleted: bool,
    /// What begins when the attempt has ended.
    next: Option<Arc<Run>>,
}

/// How far the pod is after its Lease was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Clearing {
    /// A list is asked for that begins after the break.
    Asked,
    Listing,
    /// These have not ended.
    Ending(BTreeSet<String>),
}

/// The attempts of one pod.
#[derive(Debug, Clone)]
pub struct Roster {
    me: Identity,
    entries: BTreeMap<String, Entry>,
    listed: BTreeSet<String>,
    left: BTreeSet<String>,
    /// Of what the next list shows.
    origin: Origin,
    /// Assignments that ended here, until the API server is seen to know it: an older look may still show them.
    over: BTreeMap<String, Assignment>,
    clearing: Option<Clearing>,
}

impl Roster {
    /// A pod without Runs. `origin` says whether runtimed had an earlier life; `left` are the Runs that it may have left
    /// something of.
    #[must_use]
    pub fn new(me: Identity, origin: Origin, left: BTreeSet<String>) -> Self {
        Self {
            me,
            entries: BTreeMap::new(),
            listed: BTreeSet::new(),
            left,
            origin,
            over: BTreeMap::new(),
            clearing: None,
        }
    }

    /// Whether no attempt goes on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The pod's Lease was broken: all that goes on ends. What the watch shows from here on must begin with a new list, read
    /// consistently: Runs may have been taken from this pod that an older look still shows.
    pub fn broken(&mut self) -> Vec<Order> {
        self.clearing = Some(Clearing::Asked);
        self.entries.keys().cloned().map(Order::Break).collect()
    }

    /// True once, when all that a break asks for is done.
    pub fn is_cleared(&mut self) -> bool {
        let done = |clearing: &mut Clearing| match clearing {
            Clearing::Ending(uids) => uids.is_empty(),
            Clearing::Asked | Clearing::Listing => false,
        };
        self.clearing.take_if(done).is_some()
    }

    /// A list begins.
    pub fn list_begins(&mut self) {
        self.listed.clear();
        if self.clearing == Some(Clearing::Asked) {
            self.clearing = Some(Clearing::Listing);
        }
    }

    /// The list, or after it the watch, shows a Run of this UID that can't be read: it is there, and left alone.
    pub fn unreadable(&mut self, uid: Option<String>) {
        self.listed.extend(uid);
    }

    /// The list shows a Run.
    pub fn listed(&mut self, run: Arc<Run>) -> Vec<Order> {
        self.listed.extend(run.uid());
        self.see(run, self.origin)
    }

    /// The list is complete: what it did not show is not this pod's any more.
    pub fn list_ends(&mut self) -> Vec<Order> {
        let listed = mem::take(&mut self.listed);
        self.origin = Origin::Here;
        self.over.retain(|uid, _| listed.contains(uid));
        let mut orders = Vec::new();
        for (uid, entry) in &mut self.entries {
            if !listed.contains(uid) {
                entry.leave(uid, &mut orders);
            }
        }
        for uid in mem::take(&mut self.left) {
            if !self.entries.contains_key(&uid) {
                let swept = Entry { assignment: None, gone: true, deleted: false, next: None };
                self.entries.insert(uid.clone(), swept);
                orders.push(Order::Sweep(uid));
            }
        }
        orders.push(Order::KeepOnly(listed));
        if self.clearing == Some(Clearing::Listing) {
            orders.extend(self.entries.keys().cloned().map(Order::Break));
            self.clearing = Some(Clearing::Ending(self.entries.keys().cloned().collect()));
        }
        orders
    }

    /// A Run that is selected as this pod's looks like this.
    pub fn observe(&mut self, run: Arc<Run>) -> Vec<Order> {
        self.see(run, Origin::Here)
    }

    fn see(&mut self, run: Arc<Run>, origin: Origin) -> Vec<Order> {
        let mut orders = Vec::new();
        let Some(uid) = run.uid().filter(|uid| is_plain(uid)) else { return orders };
        let assignment = self.assignment(&run);
        if let Some(over) = self.over.get(&uid) {
            if assignment.as_ref() == Some(over) {
                return orders;
            }
            self.over.remove(&uid);
        }
        match (self.entries.get_mut(&uid), assignment) {
            (None, None) => {}
            (None, Some(assignment)) => {
                self.insert(uid.clone(), assignment);
                orders.push(Order::Begin(uid, run, origin));
            }
            (Some(entry), None) => entry.leave(&uid, &mut orders),
            (Some(entry), Some(assignment))
                if entry.assignment == Some(assignment.clone()) && !entry.gone =>
            {
                orders.push(Order::Update(uid, run));
            }
            (Some(entry), Some(_)) => {
                entry.leave(&uid, &mut orders);
                entry.next = Some(run);
            }
        }
        orders
    }

    /// A Run is not selected any more: it left this pod, or, if it had ended, is deleted.
    pub fn gone(&mut self, uid: &str, phase: Phase) -> Vec<Order> {
        let mut orders = Vec::new();
        self.over.remove(uid);
        match self.entries.get_mut(uid) {
            Some(entry) => {
                entry.deleted |= phase.is_terminal();
                entry.leave(uid, &mut orders);
            }
            None if phase.is_terminal() => orders.push(Order::Forget(uid.to_owned())),
            None => {}
        }
        orders
    }

    /// An attempt has ended, and nothing of it goes on.
    pub fn ended(&mut self, uid: &str) -> Vec<Order> {
        let mut orders = Vec::new();
        let Some(entry) = self.entries.remove(uid) else { return orders };
        if entry.deleted {
            orders.push(Order::Forget(uid.to_owned()));
        }
        if !entry.gone
            && let Some(assignment) = entry.assignment
        {
            self.over.insert(uid.to_owned(), assignment);
        }
        if let Some(run) = entry.next
            && let Some(assignment) = self.assignment(&run)
        {
            self.insert(uid.to_owned(), assignment);
            orders.push(Order::Begin(uid.to_owned(), run, Origin::Here));
        }
        if let Some(Clearing::Ending(uids)) = &mut self.clearing
            && uids.contains(uid)
        {
            if self.entries.contains_key(uid) && !mutant::is(Mutant::NextNotBroken) {
                orders.push(Order::Break(uid.to_owned()));
            } else {
                uids.remove(uid);
            }
        }
        orders
    }

    /// The pod ends: nothing begins any more.
    pub fn close(&mut self) {
        for entry in self.entries.values_mut() {
            entry.next = None;
        }
    }

    fn insert(&mut self, uid: String, assignment: Assignment) {
        let entry = Entry { assignment: Some(assignment), gone: false, deleted: false, next: None };
        self.entries.insert(uid, entry);
    }

    /// The assignment to this pod, if the Run has one that is not over.
    fn assignment(&self, run: &Run) -> Option<Assignment> {
        let status = run.status.as_ref()?;
        let open = match status.phase {
            Phase::Scheduled | Phase::Running => true,
            Phase::Pending
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Timeout
            | Phase::Cancelled => false,
        };
        let mine = status.assigned_pod.as_deref() == Some(self.me.name.as_str())
            && (status.assigned_pod_uid.as_deref() == Some(self.me.uid.as_str())
                || mutant::is(Mutant::NoUidCheck));
        let deleted = run.metadata.deletion_timestamp.is_some();
        (open && mine && !deleted).then(|| Assignment {
            attempt: status.attempt.unwrap_or(0),
            scheduled: status.timeline.as_ref().and_then(|timeline| timeline.scheduled.clone()),
        })
    }
}

impl Entry {
    fn leave(&mut self, uid: &str, orders: &mut Vec<Order>) {
        self.next = None;
        if !mem::replace(&mut self.gone, true) {
            orders.push(Order::Gone(uid.to_owned()));
        }
    }
}

/// Whether a UID can be part of a path.
fn is_plain(uid: &str) -> bool {
    !uid.is_empty()
        && uid.len() <= UID_CHARS
        && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;

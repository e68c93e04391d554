//! The Runs of one pod, as its runtimed sees them: which attempts begin, which are told what, what is forgotten.
//!
//! Invariants: at most one attempt of a Run at a time, the next one begins when the former has ended; an assignment to
//! another pod, or to an earlier pod of the same name, is none of ours.

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
    Begin(String, Arc<Run>),
    /// The Run of this attempt looks like this now.
    Update(String, Arc<Run>),
    /// The Run of this attempt is deleted, or not this pod's any more.
    Gone(String),
    /// The Run is deleted and nothing of it goes on: what is kept of it can go.
    Forget(String),
    /// These are all Runs of this pod: whatever else is kept of Runs can go.
    KeepOnly(BTreeSet<String>),
    /// What an earlier life of this runtimed left of a Run that is not this pod's any more is ended and removed. Its end
    /// is told to [`Roster::ended`].
    Sweep(String),
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

/// The attempts of one pod.
#[derive(Debug, Clone)]
pub struct Roster {
    me: Identity,
    entries: BTreeMap<String, Entry>,
    listed: BTreeSet<String>,
    left: BTreeSet<String>,
}

impl Roster {
    /// A pod without Runs. `left` are the Runs that an earlier life of this runtimed may have left something of.
    #[must_use]
    pub fn new(me: Identity, left: BTreeSet<String>) -> Self {
        Self { me, entries: BTreeMap::new(), listed: BTreeSet::new(), left }
    }

    /// Whether no attempt goes on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The UIDs of the attempts that go on.
    pub fn uids(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// A list begins.
    pub fn list_begins(&mut self) {
        self.listed.clear();
    }

    /// The list, or after it the watch, shows a Run of this UID that can't be read: it is there, and left alone.
    pub fn unreadable(&mut self, uid: Option<String>) {
        self.listed.extend(uid);
    }

    /// The list shows a Run.
    pub fn listed(&mut self, run: Arc<Run>) -> Vec<Order> {
        self.listed.extend(run.uid());
        self.observe(run)
    }

    /// The list is complete: what it did not show is not this pod's any more.
    pub fn list_ends(&mut self) -> Vec<Order> {
        let listed = mem::take(&mut self.listed);
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
        orders
    }

    /// A Run that is selected as this pod's looks like this.
    pub fn observe(&mut self, run: Arc<Run>) -> Vec<Order> {
        let mut orders = Vec::new();
        let Some(uid) = run.uid().filter(|uid| is_plain(uid)) else { return orders };
        let assignment = self.assignment(&run);
        match (self.entries.get_mut(&uid), assignment) {
            (None, None) => {}
            (None, Some(assignment)) => self.begin(uid, run, assignment, &mut orders),
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
        if let Some(run) = entry.next
            && let Some(assignment) = self.assignment(&run)
        {
            self.begin(uid.to_owned(), run, assignment, &mut orders);
        }
        orders
    }

    /// The pod ends: nothing begins any more.
    pub fn close(&mut self) {
        for entry in self.entries.values_mut() {
            entry.next = None;
        }
    }

    fn begin(
        &mut self,
        uid: String,
        run: Arc<Run>,
        assignment: Assignment,
        orders: &mut Vec<Order>,
    ) {
        let entry = Entry { assignment: Some(assignment), gone: false, deleted: false, next: None };
        self.entries.insert(uid.clone(), entry);
        orders.push(Order::Begin(uid, run));
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
            && status.assigned_pod_uid.as_deref() == Some(self.me.uid.as_str());
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
mod tests {
    use super::*;
    use serde_json::json;

    fn roster() -> Roster {
        after(&[])
    }

    fn after(left: &[&str]) -> Roster {
        let left = left.iter().map(|uid| (*uid).to_owned()).collect();
        Roster::new(Identity { name: "p".to_owned(), uid: "1".to_owned() }, left)
    }

    fn run(phase: &str, pod: (&str, &str), attempt: i32) -> Arc<Run> {
        let scheduled = format!("2026-01-01T00:00:0{attempt}.000000Z");
        let run = json!({
            "metadata": {"name": "a", "namespace": "default", "uid": "u"},
            "spec": {"runtime": "bash"},
            "status": {"phase": phase, "assignedPod": pod.0, "assignedPodUID": pod.1, "attempt": attempt,
                "timeline": {"scheduled": scheduled}},
        });
        Arc::new(serde_json::from_value(run).unwrap())
    }

    fn mine(phase: &str, attempt: i32) -> Arc<Run> {
        run(phase, ("p", "1"), attempt)
    }

    fn names(orders: &[Order]) -> Vec<String> {
        let name = |order: &Order| match order {
            Order::Begin(uid, run) => {
                format!("begin {uid} {}", run.status.as_ref().unwrap().attempt.unwrap())
            }
            Order::Update(uid, _) => format!("update {uid}"),
            Order::Gone(uid) => format!("gone {uid}"),
            Order::Forget(uid) => format!("forget {uid}"),
            Order::KeepOnly(uids) => format!("keep {uids:?}"),
            Order::Sweep(uid) => format!("sweep {uid}"),
        };
        orders.iter().map(name).collect()
    }

    fn check(orders: &[Order], want: &[&str]) {
        assert_eq!(names(orders), want);
    }

    #[test]
    fn an_assignment_begins_once_and_is_updated_after() {
        let mut roster = roster();
        check(&roster.observe(mine("Scheduled", 1)), &["begin u 1"]);
        check(&roster.observe(mine("Scheduled", 1)), &["update u"]);
        check(&roster.observe(mine("Running", 1)), &["update u"]);
        check(&roster.observe(mine("Succeeded", 1)), &["gone u"]);
        check(&roster.observe(mine("Succeeded", 1)), &[]);
        check(&roster.ended("u"), &[]);
        assert!(roster.is_empty());
    }

    #[test]
    fn what_is_not_this_pods_begins_nothing() {
        for other in [run("Scheduled", ("q", "1"), 1), run("Scheduled", ("p", "2"), 1)] {
            check(&roster().observe(other), &[]);
        }
        for phase in ["Pending", "Succeeded", "Failed", "Timeout", "Cancelled"] {
            check(&roster().observe(mine(phase, 1)), &[]);
        }
        let mut deleted = (*mine("Scheduled", 1)).clone();
        deleted.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        check(&roster().observe(Arc::new(deleted)), &[]);
        for uid in ["", "a/b", "..", "é", &"u".repeat(65)] {
            let mut hostile = (*mine("Scheduled", 1)).clone();
            hostile.metadata.uid = Some(uid.to_owned());
            check(&roster().observe(Arc::new(hostile)), &[]);
        }
    }

    #[test]
    fn the_next_attempt_begins_when_the_former_has_ended() {
        let mut roster = roster();
        roster.observe(mine("Scheduled", 1));
        check(&roster.observe(mine("Scheduled", 2)), &["gone u"]);
        check(&roster.observe(mine("Scheduled", 3)), &[]);
        check(&roster.ended("u"), &["begin u 3"]);
        check(&roster.observe(mine("Scheduled", 3)), &["update u"]);
    }

    #[test]
    fn the_same_number_given_anew_is_another_attempt() {
        let mut roster = roster();
        roster.observe(mine("Scheduled", 1));
        let mut anew = (*mine("Scheduled", 1)).clone();
        anew.status.as_mut().unwrap().timeline.as_mut().unwrap().scheduled =
            Some(serde_json::from_value(json!("2026-01-01T00:00:09.000000Z")).unwrap());
        check(&roster.observe(Arc::new(anew)), &["gone u"]);
        check(&roster.ended("u"), &["begin u 1"]);
    }

    #[test]
    fn a_next_attempt_that_is_taken_away_meanwhile_does_not_begin() {
        let mut roster = roster();
        roster.observe(mine("Scheduled", 1));
        roster.observe(mine("Scheduled", 2));
        check(&roster.gone("u", Phase::Pending), &[]);
        check(&roster.ended("u"), &[]);
    }

    #[test]
    fn a_relist_tells_what_went_meanwhile() {
        let mut roster = roster();
        roster.list_begins();
        check(&roster.listed(mine("Running", 1)), &["begin u 1"]);
        check(&roster.list_ends(), &["keep {\"u\"}"]);
        roster.list_begins();
        check(&roster.listed(mine("Running", 1)), &["update u"]);
        check(&roster.list_ends(), &["keep {\"u\"}"]);
        roster.list_begins();
        roster.unreadable(Some("u".to_owned()));
        check(&roster.list_ends(), &["keep {\"u\"}"]);
        roster.list_begins();
        check(&roster.list_ends(), &["gone u", "keep {}"]);
    }

    #[test]
    fn what_an_earlier_life_left_is_swept_before_a_next_attempt_begins() {
        let mut roster = after(&["u", "v"]);
        roster.list_begins();
        check(&roster.list_ends(), &["sweep u", "sweep v", "keep {}"]);
        assert!(!roster.is_empty());
        check(&roster.observe(mine("Scheduled", 2)), &[]);
        check(&roster.ended("v"), &[]);
        check(&roster.ended("u"), &["begin u 2"]);
        let mut goes_on = after(&["u"]);
        goes_on.list_begins();
        check(&goes_on.listed(mine("Running", 1)), &["begin u 1"]);
        check(&goes_on.list_ends(), &["keep {\"u\"}"]);
        goes_on.list_begins();
        check(&goes_on.list_ends(), &["gone u", "keep {}"]);
    }

    #[test]
    fn what_is_kept_of_a_deleted_run_goes_when_nothing_of_it_goes_on() {
        let mut roster = roster();
        check(&roster.gone("u", Phase::Succeeded), &["forget u"]);
        check(&roster.gone("u", Phase::Running), &[]);
        roster.observe(mine("Running", 1));
        check(&roster.gone("u", Phase::Succeeded), &["gone u"]);
        check(&roster.ended("u"), &["forget u"]);
    }

    #[test]
    fn a_pod_that_ends_begins_nothing() {
        let mut roster = roster();
        roster.observe(mine("Scheduled", 1));
        roster.observe(mine("Scheduled", 2));
        roster.close();
        check(&roster.ended("u"), &[]);
    }
}

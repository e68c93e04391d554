//! All Workflows that have not ended.

use super::Input;
use super::cache::{ChildSeen, Children, Kind};
use super::flow::{Flow, State, newer, with_version};
use super::work::{Cancel, Turn, Work};
use crate::observe::Retries;
use jiff::{SignedDuration, Timestamp};
use kruntimes_api::Workflow;
use kruntimes_cluster::watch::{ObjectKey, Observed};
use kruntimes_workflow::groups::{Decision, Groups, Member};
use kruntimes_workflow::{Answer, Creation, Effect, Execution, Invalid, Plan, invalid, template};
use kube::{Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};

/// Between two writes of the progress of a Workflow. Its begin and its end are written at once, and nothing waits for it.
const PROGRESS_EVERY: SignedDuration = SignedDuration::from_millis(250);
/// What a Workflow is told when a newer one of its group takes its place.
const SUPERSEDED: &str = "a newer Workflow of its concurrency group takes its place";

pub(super) struct Keep {
    pub(super) work: Work,
    pub(super) retries: Retries<ObjectKey>,
    pub(super) flows: BTreeMap<ObjectKey, Flow>,
    by_uid: BTreeMap<String, ObjectKey>,
    templates: BTreeMap<ObjectKey, Workflow>,
    children: Children,
    groups: Groups<ObjectKey>,
    pub(super) due: BTreeSet<ObjectKey>,
    times: BTreeSet<(Timestamp, ObjectKey)>,
    workflows_synced: bool,
    runs_synced: bool,
}

impl Keep {
    pub(super) fn new(client: Client) -> Self {
        Self {
            work: Work::new(client),
            retries: Retries::new(),
            flows: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            templates: BTreeMap::new(),
            children: Children::default(),
            groups: Groups::new(),
            due: BTreeSet::new(),
            times: BTreeSet::new(),
            workflows_synced: false,
            runs_synced: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.times.first().map(|(at, _)| *at)
    }

    fn is_synced(&self) -> bool {
        self.workflows_synced && self.runs_synced
    }

    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Workflow(observed) => match *observed {
                Observed::Applied(workflow) => self.take_workflow(workflow),
                Observed::Gone(key) => self.workflow_gone(&key),
                Observed::Synced => {
                    self.workflows_synced = true;
                    self.take_up();
                }
                Observed::Interrupted => {}
            },
            Input::Child(seen) => self.take_child(Kind::Run, seen),
        }
    }

    /// Everything that exists has been shown: all that waited for it is taken up.
    fn take_up(&mut self) {
        if self.is_synced() {
            let by_uid = &self.by_uid;
            self.children.keep_only(|owner| by_uid.contains_key(owner));
            self.due.extend(self.flows.keys().cloned());
        }
    }

    fn take_child(&mut self, kind: Kind, seen: ChildSeen) {
        match seen {
            ChildSeen::Is { key, owner, seen } => {
                let of = self.by_uid.get(&owner).cloned();
                let is_there = of.as_ref().is_some_and(|of| of.namespace == key.namespace);
                if !is_there {
                    // Before the first sync its Workflow may still be shown.
                    if !self.is_synced() {
                        self.children.set(kind, key, &owner, Some(*seen));
                    }
                    return;
                }
                let Some(of) = of else { return };
                match self.flows.get_mut(&of).map(|flow| &mut flow.state) {
                    Some(State::Runs(execution)) => {
                        self.children.set(kind, key, &owner, None);
                        execution.see(*seen);
                        self.due.insert(of);
                    }
                    Some(State::New(_) | State::Said) | None => {
                        self.children.set(kind, key, &owner, Some(*seen));
                    }
                }
            }
            ChildSeen::Gone(key) => self.child_gone(kind, &key),
            ChildSeen::Synced => {
                self.runs_synced = true;
                self.take_up();
            }
            ChildSeen::Interrupted => {}
        }
    }

    fn child_gone(&mut self, kind: Kind, key: &ObjectKey) {
        let Some(owner) = self.children.remove(kind, key) else { return };
        let Some(of) = self.by_uid.get(&owner) else { return };
        if let Some(State::Runs(execution)) = self.flows.get_mut(of).map(|flow| &mut flow.state) {
            execution.gone(&key.name);
            self.due.insert(of.clone());
        }
    }

    pub(super) fn take_workflow(&mut self, mut workflow: Workflow) {
        workflow.managed_fields_mut().clear();
        let key = ObjectKey::of(&workflow);
        if let Some(seen) = ChildSeen::of_workflow(&workflow) {
            self.take_child(Kind::Workflow, seen);
        }
        let uid = workflow.uid().unwrap_or_default();
        if self.flows.get(&key).is_some_and(|flow| flow.uid != uid) {
            self.drop_flow(&key);
        }
        if workflow.is_template() {
            self.drop_flow(&key);
            let plan = Plan::of(&workflow.spec);
            let wrong = plan.err();
            if let Some(patch) = template(&workflow, wrong.as_deref(), Timestamp::now()) {
                let version = workflow.resource_version().unwrap_or_default();
                self.work.write(key.clone(), with_version(patch, &version));
            }
            self.templates.insert(key, workflow);
            return;
        }
        self.templates.remove(&key);
        if workflow.phase().is_terminal() {
            self.drop_flow(&key);
            return;
        }
        if workflow.metadata.deletion_timestamp.is_some() {
            // Its children may run until it is gone: so long the next of its group waits.
            self.forget(&key);
            return;
        }
        self.due.insert(key.clone());
        let version = workflow.resource_version().unwrap_or_default();
        match self.flows.get_mut(&key) {
            Some(flow) => {
                flow.version = newer(&flow.version, version);
                match &mut flow.state {
                    State::Runs(execution) => execution.changed(&workflow, Timestamp::now()),
                    State::New(known) => **known = workflow,
                    State::Said => {}
                }
            }
            None => {
                // One of its name may have been deleted without a word.
                self.leave_group(&key);
                self.by_uid.insert(uid.clone(), key.clone());
                let metadata =
                    Workflow { metadata: workflow.metadata.clone(), ..Workflow::default() };
                let state = State::New(Box::new(workflow));
                let flow = Flow { uid, metadata, version, state, is_writing: false, written: None };
                self.flows.insert(key, flow);
            }
        }
    }

    fn workflow_gone(&mut self, key: &ObjectKey) {
        self.child_gone(Kind::Workflow, key);
        self.templates.remove(key);
        self.drop_flow(key);
    }

    /// A Workflow has ended or is gone.
    pub(super) fn drop_flow(&mut self, key: &ObjectKey) {
        self.forget(key);
        self.leave_group(key);
    }

    fn forget(&mut self, key: &ObjectKey) {
        let Some(flow) = self.flows.remove(key) else { return };
        self.by_uid.remove(&flow.uid);
        self.children.forget(&flow.uid);
        self.work.drop_creations(key);
    }

    fn leave_group(&mut self, key: &ObjectKey) {
        if let Some(next) = self.groups.leave(key) {
            self.decide(Decision::Admit(next));
        }
    }

    fn decide(&mut self, decision: Decision<ObjectKey>) {
        let (key, is_admitted) = match decision {
            Decision::Admit(key) => (key, true),
            Decision::Cancel(key) => (key, false),
        };
        if let Some(State::Runs(execution)) = self.flows.get_mut(&key).map(|flow| &mut flow.state) {
            if is_admitted {
                execution.admit();
            } else {
                execution.cancel(SUPERSEDED, Timestamp::now());
            }
            self.due.insert(key);
        }
    }

    /// Goes on with every Workflow to which something has happened.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.times.first().cloned().filter(|(at, _)| *at <= now) {
            self.times.remove(&(at, key.clone()));
            self.due.insert(key);
        }
        if self.is_synced() {
            loop {
                while let Some(key) = self.due.pop_first() {
                    self.advance_one(&key, now);
                }
                let Some(turn) = self.work.turn() else { return };
                self.send(turn);
            }
        }
    }

    fn answered(&mut self, key: &ObjectKey, creation: &Creation, answer: Answer) {
        if let Some(State::Runs(execution)) = self.flows.get_mut(key).map(|flow| &mut flow.state) {
            execution.answered(creation, answer);
            self.due.insert(key.clone());
        }
    }

    /// Sends the next of what a Workflow wants. A child that can't be made ends its step, which may want more.
    fn send(&mut self, turn: Turn) {
        let Turn { key, uid, effect } = turn;
        let creation = match effect {
            Effect::Cancel { name, child, why } => {
                return self.work.cancel(key, Cancel { name, child, why });
            }
            Effect::Create(creation) => creation,
        };
        let Some(flow) = self.flows.get(&key).filter(|flow| flow.uid == uid) else { return };
        match flow.object(&creation, &self.templates) {
            Ok(Some(object)) => self.work.create(key, uid, creation, object),
            Ok(None) => self.answered(&key, &creation, Answer::Unwanted),
            Err(why) => self.answered(&key, &creation, Answer::Refused(why)),
        }
    }

    fn advance_one(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(flow) = self.flows.get(key) else { return };
        if let State::New(workflow) = &flow.state {
            let earlier = workflow.spec.reuse.as_ref().map(|reuse| reuse.workflow.clone());
            match earlier.filter(|_| !flow.is_writing) {
                // `is_writing` keeps it from being asked for twice.
                Some(name) => {
                    self.set_writing(key, true);
                    self.work.read_earlier(key.clone(), name);
                    return;
                }
                None if flow.is_writing => return,
                None => self.resume(key, None, now),
            }
        }
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::Runs(execution) = &mut flow.state else { return };
        self.work.push(key, &flow.uid, execution.advance(now));
        if let Some(at) = execution.deadline() {
            self.times.insert((at, key.clone()));
        }
        self.write_if_due(key, now);
    }

    pub(super) fn set_writing(&mut self, key: &ObjectKey, is_writing: bool) {
        if let Some(flow) = self.flows.get_mut(key) {
            flow.is_writing = is_writing;
        }
    }

    /// Takes up a Workflow where its status and its children left it.
    pub(super) fn resume(&mut self, key: &ObjectKey, earlier: Option<&Workflow>, now: Timestamp) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::New(workflow) = &flow.state else { return };
        let children = self.children.take(&flow.uid);
        let resumed = Execution::resume(workflow, children, earlier, now).and_then(|execution| {
            let group = execution.group();
            let group =
                group.map_err(|problem| vec![Invalid::new("spec.concurrency.group", problem)]);
            group.map(|group| (execution, group))
        });
        match resumed {
            Ok((execution, group)) => {
                let concurrency = workflow.spec.concurrency.as_ref();
                let member = Member {
                    key: key.clone(),
                    created: workflow.creation_timestamp().map_or(now, |time| time.0),
                    cancels: concurrency.is_some_and(|it| it.cancel_in_progress == Some(true)),
                    has_begun: execution.has_begun(),
                };
                flow.state = State::Runs(Box::new(execution));
                if let Some(group) = group {
                    let group = (key.namespace.clone(), group);
                    let decisions = self.groups.enter(group, member);
                    decisions.into_iter().for_each(|decision| self.decide(decision));
                }
            }
            Err(wrong) => {
                let patch = with_version(invalid(workflow, &wrong, now), &flow.version);
                flow.state = State::Said;
                self.work.write(key.clone(), patch);
            }
        }
    }

    fn write_if_due(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::Runs(execution) = &mut flow.state else { return };
        if flow.is_writing || !execution.has_changed() {
            return;
        }
        let next = flow.written.and_then(|written| written.checked_add(PROGRESS_EVERY).ok());
        match next.filter(|next| *next > now && !execution.phase().is_terminal()) {
            Some(next) => {
                self.times.insert((next, key.clone()));
            }
            None => {
                let patch = with_version(execution.take_patch(), &flow.version);
                flow.is_writing = true;
                flow.written = Some(now);
                self.work.write(key.clone(), patch);
            }
        }
    }
}

//! All Workflows that have not ended: what the watches show and what came of requests goes in, requests come out.
//!
//! Invariants: one status of a Workflow at a time is on its way, under the version that is known; creations and
//! cancellations of each Workflow go in turn; children are matched by owner UID, never by name alone. A process that
//! starts anew is given everything that exists, and goes on.

mod answers;
mod cache;
mod flow;
mod found;
mod members;
mod messages;
mod queues;
mod retries;

use crate::execution::{Answer, Creation, Effect, Execution, invalid, template};
use crate::groups::{GroupKey, Groups, Member};
use crate::plan::{Invalid, Plan};
use cache::{ChildSeen, Children, Kind};
use flow::{Asked, Flow, State, newer, with_version};
use jiff::{SignedDuration, Timestamp};
use kruntimes_api::{Run, Workflow};
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::observed::{ObjectKey, Observed};
use kube::ResourceExt;
use queues::{Queues, Turn};
use retries::Retries;
use std::collections::{BTreeMap, BTreeSet};

pub use flow::Object;
pub use found::{found, is_asked, is_final};
pub use messages::{Done, Failure, Request, Whose};

/// Between two writes of the progress of a Workflow. Its begin and its end are written at once, and nothing waits for it.
const PROGRESS_EVERY: SignedDuration = SignedDuration::from_millis(250);

/// Creations and cancellations on their way at once.
const AT_ONCE: usize = 64;

/// All Workflows that have not ended.
#[derive(Debug, Default)]
pub struct Keep {
    queues: Queues,
    on_its_way: usize,
    requests: Vec<(Whose, Request)>,
    retries: Retries<ObjectKey>,
    flows: BTreeMap<ObjectKey, Flow>,
    by_uid: BTreeMap<String, ObjectKey>,
    templates: BTreeMap<ObjectKey, Workflow>,
    children: Children,
    groups: Groups<ObjectKey>,
    /// Members that are to enter their group.
    entering: Vec<(GroupKey, Member<ObjectKey>)>,
    due: BTreeSet<ObjectKey>,
    times: BTreeSet<(Timestamp, ObjectKey)>,
    workflows_synced: bool,
    runs_synced: bool,
}

impl Keep {
    /// When [`Self::advance`] is to be asked again though nothing has happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let time = self.times.first().map(|(at, _)| *at);
        [time, self.retries.deadline()].into_iter().flatten().min()
    }

    fn is_synced(&self) -> bool {
        self.workflows_synced && self.runs_synced
    }

    /// The watch of Workflows has shown something.
    pub fn workflow_seen(&mut self, observed: Observed<Workflow>, now: Timestamp) {
        match observed {
            Observed::Applied(workflow) => self.take_workflow(workflow, now),
            Observed::Gone(key) => self.workflow_gone(&key, now),
            Observed::Synced => {
                self.workflows_synced = true;
                self.take_up();
            }
            Observed::Interrupted => {}
        }
    }

    /// The watch of Runs with the label of a Workflow has shown something.
    pub fn run_seen(&mut self, observed: Observed<Run>) {
        self.take_child(Kind::Run, ChildSeen::of_run(observed));
    }

    fn ask(&mut self, key: &ObjectKey, uid: &str, request: Request) {
        let whose = Whose { key: key.clone(), uid: uid.to_owned() };
        self.requests.push((whose, request));
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

    fn take_workflow(&mut self, mut workflow: Workflow, now: Timestamp) {
        workflow.managed_fields_mut().clear();
        let key = ObjectKey::of(&workflow);
        if let Some(seen) = ChildSeen::of_workflow(&workflow) {
            self.take_child(Kind::Workflow, seen);
        }
        let uid = workflow.uid().unwrap_or_default();
        if self.flows.get(&key).is_some_and(|flow| flow.uid != uid) {
            self.drop_flow(&key, now);
        }
        if workflow.is_template() {
            self.drop_flow(&key, now);
            let plan = Plan::of(&workflow.spec);
            let wrong = plan.err();
            if let Some(patch) = template(&workflow, wrong.as_deref(), now) {
                let version = workflow.resource_version().unwrap_or_default();
                self.ask(&key, &uid, Request::Write(with_version(patch, &version)));
            }
            self.templates.insert(key, workflow);
            return;
        }
        self.templates.remove(&key);
        if workflow.phase().is_terminal() {
            self.drop_flow(&key, now);
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
                    State::Runs(execution) => execution.changed(&workflow, now),
                    State::New(known) => **known = workflow,
                    State::Said => {}
                }
            }
            None => {
                // One of its name may have been deleted without a word.
                self.leave_group(&key, now);
                self.by_uid.insert(uid.clone(), key.clone());
                let metadata =
                    Workflow { metadata: workflow.metadata.clone(), ..Workflow::default() };
                let state = State::New(Box::new(workflow));
                let asked = Asked::Nothing;
                let flow = Flow { uid, metadata, version, state, asked, written: None };
                self.flows.insert(key, flow);
            }
        }
    }

    fn workflow_gone(&mut self, key: &ObjectKey, now: Timestamp) {
        self.child_gone(Kind::Workflow, key);
        self.templates.remove(key);
        self.drop_flow(key, now);
    }

    /// A Workflow has ended or is gone.
    fn drop_flow(&mut self, key: &ObjectKey, now: Timestamp) {
        self.forget(key);
        self.leave_group(key, now);
    }

    fn forget(&mut self, key: &ObjectKey) {
        let Some(flow) = self.flows.remove(key) else { return };
        self.by_uid.remove(&flow.uid);
        self.children.forget(&flow.uid);
        self.queues.drop_creations(key);
        self.entering.retain(|(_, member)| member.key != *key);
    }

    /// Goes on with every Workflow to which something has happened.
    pub fn advance(&mut self, now: Timestamp) -> Vec<(Whose, Request)> {
        while let Some(key) = self.retries.next(now) {
            self.try_again(key, now);
        }
        while let Some((at, key)) = self.times.first().cloned().filter(|(at, _)| *at <= now) {
            self.times.remove(&(at, key.clone()));
            self.due.insert(key);
        }
        if self.is_synced() {
            loop {
                self.begin_new(now);
                self.enter_groups(now);
                while let Some(key) = self.due.pop_first() {
                    self.advance_one(&key, now);
                }
                let turn = (self.on_its_way < AT_ONCE).then(|| self.queues.turn()).flatten();
                let Some(turn) = turn else { break };
                self.send(turn);
            }
        }
        std::mem::take(&mut self.requests)
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
            Effect::Cancel { name, child, kind, why } => {
                self.on_its_way += 1;
                return self.ask(&key, &uid, Request::Cancel { name, child, kind, why });
            }
            Effect::Supersede => {
                self.on_its_way += 1;
                return self.ask(&key, &uid, Request::Supersede);
            }
            Effect::Create(creation) => creation,
        };
        let Some(flow) = self.flows.get(&key).filter(|flow| flow.uid == uid) else { return };
        match flow.object(&creation, &self.templates) {
            Ok(Some(object)) => {
                self.on_its_way += 1;
                self.ask(&key, &uid, Request::Create { creation, object });
            }
            Ok(None) => self.answered(&key, &creation, Answer::Unwanted),
            Err(why) => self.answered(&key, &creation, Answer::Refused(why)),
        }
    }

    /// Takes up all that is due for it, before any of them goes on.
    fn begin_new(&mut self, now: Timestamp) {
        let new = |key: &&ObjectKey| {
            self.flows.get(*key).is_some_and(|flow| matches!(flow.state, State::New(_)))
        };
        for key in self.due.iter().filter(new).cloned().collect::<Vec<_>>() {
            self.begin_one(&key, now);
        }
    }

    fn begin_one(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(flow) = self.flows.get(key) else { return };
        let State::New(workflow) = &flow.state else { return };
        let earlier = workflow.spec.reuse.as_ref().map(|reuse| reuse.workflow.clone());
        match earlier.filter(|_| flow.asked == Asked::Nothing) {
            Some(name) => {
                let uid = flow.uid.clone();
                self.set_asked(key, Asked::OnItsWay);
                self.ask(key, &uid, Request::ReadEarlier(name));
            }
            None if flow.asked != Asked::Nothing => {}
            None => self.resume(key, None, now),
        }
    }

    fn advance_one(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::Runs(execution) = &mut flow.state else { return };
        self.queues.push(key, &flow.uid, execution.advance(now));
        if let Some(at) = execution.deadline() {
            self.times.insert((at, key.clone()));
        }
        self.write_if_due(key, now);
    }

    fn set_asked(&mut self, key: &ObjectKey, asked: Asked) {
        if let Some(flow) = self.flows.get_mut(key) {
            flow.asked = asked;
        }
    }

    /// Takes up a Workflow where its status and its children left it.
    fn resume(&mut self, key: &ObjectKey, earlier: Option<&Workflow>, now: Timestamp) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::New(workflow) = &flow.state else { return };
        let mut children = self.children.take(&flow.uid);
        if mutant::is(Mutant::ChildrenForgotten) {
            children.clear();
        }
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
                    self.entering.push(((key.namespace.clone(), group), member));
                }
            }
            Err(wrong) => {
                let patch = with_version(invalid(workflow, &wrong, now), &flow.version);
                flow.state = State::Said;
                let uid = flow.uid.clone();
                self.ask(key, &uid, Request::Write(patch));
            }
        }
    }

    fn write_if_due(&mut self, key: &ObjectKey, now: Timestamp) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::Runs(execution) = &mut flow.state else { return };
        if flow.asked != Asked::Nothing || !execution.has_changed() {
            return;
        }
        let next = flow.written.and_then(|written| written.checked_add(PROGRESS_EVERY).ok());
        match next.filter(|next| *next > now && !execution.phase().is_terminal()) {
            Some(next) => {
                self.times.insert((next, key.clone()));
            }
            None => {
                let patch = with_version(execution.take_patch(), &flow.version);
                flow.asked = Asked::OnItsWay;
                flow.written = Some(now);
                let uid = flow.uid.clone();
                self.ask(key, &uid, Request::Write(patch));
            }
        }
    }
}

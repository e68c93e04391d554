//! What came of what was sent.

use super::flow::{Asked, State, newer};
use super::{Done, Failure, Keep, Request, Whose};
use crate::execution::{Answer, Creation, Effect, Seen};
use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::observed::ObjectKey;
use kube::ResourceExt;

impl Keep {
    /// Something was sent. What came of it means nothing to another Workflow that has the name by now.
    pub fn done(&mut self, whose: Whose, done: Done, now: Timestamp) {
        let Whose { key, uid } = whose;
        self.on_its_way -=
            usize::from(matches!(done, Done::Created { .. } | Done::Cancelled | Done::Again(_)));
        let is_there = self.flows.get(&key).is_some_and(|flow| flow.uid == uid);
        match done {
            Done::Again(Effect::Create(creation)) if mutant::is(Mutant::CreatedUnderOtherName) => {
                self.created(&key, &creation, Answer::Taken, None);
            }
            Done::Again(effect) if is_there || !matches!(effect, Effect::Create(_)) => {
                let effect = match effect {
                    Effect::Create(creation) => Effect::Create(creation.unanswered()),
                    // What runs is asked to end though its Workflow is gone.
                    Effect::Cancel { .. } | Effect::Supersede => effect,
                };
                self.queues.again(&key, &uid, effect);
                self.retries.failed(key, now);
                return;
            }
            Done::Cancelled => self.went_well(&key),
            _ if !is_there && !mutant::is(Mutant::AnswersByName) => return,
            Done::Created { creation, answer, there } => {
                self.created(&key, &creation, answer, there);
            }
            Done::Again(_) => return,
            Done::Written(written) => self.written(&key, written, now),
            Done::Read(read) => self.read(&key, read, now),
            Done::Earlier(read) => {
                self.set_asked(&key, Asked::Nothing);
                match read {
                    Ok(earlier) => self.resume(&key, earlier.as_ref(), now),
                    Err(_) => {
                        self.retries.failed(key, now);
                        return;
                    }
                }
            }
        }
        self.due.insert(key);
    }

    /// Something of it was sent. What could not be is still to be tried again.
    fn went_well(&mut self, key: &ObjectKey) {
        let is_asked = self.flows.get(key).is_some_and(|flow| flow.asked != Asked::Nothing);
        if !is_asked && !self.queues.is_paused(key) {
            self.retries.succeeded(key);
        }
    }

    fn created(
        &mut self,
        key: &ObjectKey,
        creation: &Creation,
        answer: Answer,
        there: Option<Seen>,
    ) {
        self.went_well(key);
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::Runs(execution) = &mut flow.state else { return };
        execution.answered(creation, answer);
        if let Some(seen) = there {
            execution.see(seen);
        }
    }

    fn written(&mut self, key: &ObjectKey, written: Result<Workflow, Failure>, now: Timestamp) {
        self.set_asked(key, Asked::Nothing);
        let Some(flow) = self.flows.get_mut(key) else { return };
        match written {
            Ok(workflow) => {
                flow.version =
                    newer(&flow.version, workflow.resource_version().unwrap_or_default());
                self.went_well(key);
                if workflow.phase().is_terminal() {
                    self.drop_flow(key, now);
                }
            }
            Err(Failure::Missing) => self.drop_flow(key, now),
            Err(failure) => {
                if let State::Runs(execution) = &mut flow.state
                    && !mutant::is(Mutant::UnwrittenForgotten)
                {
                    execution.not_written();
                }
                if failure == Failure::Conflict {
                    flow.asked = Asked::OnItsWay;
                    let uid = flow.uid.clone();
                    self.ask(key, &uid, Request::Read);
                } else {
                    flow.asked = Asked::Failed;
                    self.retries.failed(key.clone(), now);
                }
            }
        }
    }

    /// Somebody else has written meanwhile: this is its version now.
    fn read(&mut self, key: &ObjectKey, read: Result<Option<Workflow>, Failure>, now: Timestamp) {
        match read {
            Ok(Some(workflow)) => {
                self.set_asked(key, Asked::Nothing);
                if let Some(flow) = self.flows.get_mut(key) {
                    flow.version = workflow.resource_version().unwrap_or_default();
                    flow.written = None;
                    if let State::Said = flow.state {
                        flow.state = State::New(Box::new(workflow.clone()));
                    }
                }
                self.take_workflow(workflow, now);
            }
            Ok(None) => self.drop_flow(key, now),
            Err(_) => {
                self.set_asked(key, Asked::Failed);
                self.retries.failed(key.clone(), now);
            }
        }
    }

    /// The time for another try has come.
    pub(super) fn try_again(&mut self, key: ObjectKey, now: Timestamp) {
        self.retries.postpone(&key, now);
        self.queues.unpause(&key);
        let flow = self.flows.get(&key);
        match flow.map(|flow| (flow.uid.clone(), flow.asked, &flow.state)) {
            Some((uid, Asked::Failed, State::Runs(_) | State::Said)) => {
                self.set_asked(&key, Asked::OnItsWay);
                self.ask(&key, &uid, Request::Read);
            }
            Some(_) => {
                self.due.insert(key);
            }
            None => self.retries.succeeded(&key),
        }
    }
}

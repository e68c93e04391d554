//! What came of what was sent.

use super::flow::{State, newer};
use super::{Done, Failure, Keep, Request};
use crate::execution::{Answer, Creation, Effect, Seen};
use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_rules::observed::ObjectKey;
use kube::ResourceExt;

impl Keep {
    /// Something was sent.
    pub fn done(&mut self, key: ObjectKey, done: Done, now: Timestamp) {
        self.on_its_way -=
            usize::from(matches!(done, Done::Created { .. } | Done::Cancelled | Done::Again(_)));
        match done {
            Done::Created { creation, answer, there } => {
                self.created(&key, &creation, answer, there);
            }
            Done::Cancelled => self.went_well(&key),
            Done::Again(effect) => {
                let uid = self.flows.get(&key).map(|flow| flow.uid.clone());
                // What runs is asked to end though its Workflow is gone.
                if uid.is_some() || !matches!(effect, Effect::Create(_)) {
                    self.queues.again(&key, &uid.unwrap_or_default(), effect);
                    self.retries.failed(key, now);
                }
                return;
            }
            Done::Written(written) => self.written(&key, written, now),
            Done::Read(read) => self.read(&key, read, now),
            Done::Earlier(read) => {
                self.set_writing(&key, false);
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
        let is_writing = self.flows.get(key).is_some_and(|flow| flow.is_writing);
        if !is_writing && !self.queues.is_paused(key) {
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
        self.set_writing(key, false);
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
                if let State::Runs(execution) = &mut flow.state {
                    execution.not_written();
                }
                flow.is_writing = true;
                if failure == Failure::Conflict {
                    self.ask(key.clone(), Request::Read);
                } else {
                    self.retries.failed(key.clone(), now);
                }
            }
        }
    }

    /// Somebody else has written meanwhile: this is its version now.
    fn read(&mut self, key: &ObjectKey, read: Result<Option<Workflow>, Failure>, now: Timestamp) {
        match read {
            Ok(Some(workflow)) => {
                self.set_writing(key, false);
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
                self.retries.failed(key.clone(), now);
            }
        }
    }

    /// The time for another try has come.
    pub(super) fn try_again(&mut self, key: ObjectKey, now: Timestamp) {
        self.retries.postpone(&key, now);
        self.queues.unpause(&key);
        match self.flows.get(&key).map(|flow| (flow.is_writing, &flow.state)) {
            Some((true, State::Runs(_) | State::Said)) => self.ask(key, Request::Read),
            Some(_) => {
                self.due.insert(key);
            }
            None => self.retries.succeeded(&key),
        }
    }
}

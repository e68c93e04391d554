//! What came of what was sent.

use super::flow::{State, newer, warn};
use super::keep::Keep;
use super::work::Done;
use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_cluster::watch::ObjectKey;
use kruntimes_workflow::{Answer, Creation, Effect};
use kube::ResourceExt;

impl Keep {
    /// Something was sent.
    pub(super) fn done(&mut self, (key, done): (ObjectKey, Done)) {
        match done {
            Done::Created { creation, answer, there } => {
                self.created(&key, &creation, answer, there);
            }
            Done::Cancelled => self.went_well(&key),
            Done::Again(effect, error) => {
                warn(&key, &error, "a child of a Workflow could not be written");
                let uid = self.flows.get(&key).map(|flow| flow.uid.clone());
                // What runs is asked to end though its Workflow is gone.
                if uid.is_some() || matches!(effect, Effect::Cancel { .. }) {
                    self.work.again(&key, &uid.unwrap_or_default(), effect);
                    self.retries.failed(key);
                }
                return;
            }
            Done::Written(written) => self.written(&key, written),
            Done::Read(read) => self.read(&key, read),
            Done::Earlier(read) => {
                self.set_writing(&key, false);
                match read {
                    Ok(earlier) => self.resume(&key, earlier.as_ref(), Timestamp::now()),
                    Err(error) => {
                        warn(&key, &error, "an earlier Workflow could not be read");
                        self.retries.failed(key);
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
        if !is_writing && !self.work.is_paused(key) {
            self.retries.succeeded(key);
        }
    }

    fn created(
        &mut self,
        key: &ObjectKey,
        creation: &Creation,
        answer: Answer,
        there: Option<kruntimes_workflow::Seen>,
    ) {
        self.went_well(key);
        let Some(flow) = self.flows.get_mut(key) else { return };
        let State::Runs(execution) = &mut flow.state else { return };
        execution.answered(creation, answer);
        if let Some(seen) = there {
            execution.see(seen);
        }
    }

    fn written(&mut self, key: &ObjectKey, written: Result<Workflow, kube::Error>) {
        self.set_writing(key, false);
        let Some(flow) = self.flows.get_mut(key) else { return };
        match written {
            Ok(workflow) => {
                flow.version =
                    newer(&flow.version, workflow.resource_version().unwrap_or_default());
                self.went_well(key);
                if workflow.phase().is_terminal() {
                    self.drop_flow(key);
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => self.drop_flow(key),
            Err(error) => {
                let is_conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
                if !is_conflict {
                    warn(key, &error, "the status of a Workflow could not be written");
                }
                if let State::Runs(execution) = &mut flow.state {
                    execution.not_written();
                }
                flow.is_writing = true;
                if is_conflict {
                    self.work.read(key.clone());
                } else {
                    self.retries.failed(key.clone());
                }
            }
        }
    }

    /// Somebody else has written meanwhile: this is its version now.
    fn read(&mut self, key: &ObjectKey, read: Result<Option<Workflow>, kube::Error>) {
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
                self.take_workflow(workflow);
            }
            Ok(None) => self.drop_flow(key),
            Err(error) => {
                warn(key, &error, "a Workflow could not be read");
                self.retries.failed(key.clone());
            }
        }
    }

    /// The time for another try has come.
    pub(super) fn try_again(&mut self, key: ObjectKey) {
        self.retries.postpone(&key);
        self.work.unpause(&key);
        match self.flows.get(&key).map(|flow| (flow.is_writing, &flow.state)) {
            Some((true, State::Runs(_) | State::Said)) => self.work.read(key),
            Some(_) => {
                self.due.insert(key);
            }
            None => self.retries.succeeded(&key),
        }
    }
}

//! What happens to children.

use super::state::{Outputs, StepState, Stop};
use super::status::{bytes_of, encoded};
use super::{Answer, Effect, End, Execution, How, LegId, NewChild, Seen};
use crate::child::Child;
use crate::plan::Work;
use kruntimes_api::{JobPhase, Run, limits};

/// Why a Run did not succeed, in one line.
pub(super) fn why(run: &Run) -> String {
    let Some(status) = run.status.as_ref() else { return String::new() };
    let reason = status.reason.as_deref().unwrap_or_default();
    match (reason, status.message.as_deref().unwrap_or_default()) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

impl Execution {
    /// A child that belongs to this Workflow by its owner reference is like this now.
    pub fn see(&mut self, seen: Seen) {
        if !seen.child.names(&self.identity).contains(&seen.name) {
            return;
        }
        let Some((leg, child)) = self.active.get(&seen.name) else {
            self.see_early(seen);
            return;
        };
        if *child != seen.child {
            return;
        }
        if let Some(end) = seen.end {
            let leg = *leg;
            self.active.remove(&seen.name);
            self.step_ended(leg, end);
        }
    }

    /// No step waits for it: it is of one that comes, or has ended, or was never to start.
    fn see_early(&mut self, seen: Seen) {
        if self.is_over(&seen.child) {
            if seen.end.is_none() {
                self.cancel_child(seen.child, seen.name, Stop::Cancelled);
            }
        } else if self.early.len() < Self::most_early() {
            self.early.insert(seen.child.clone(), seen);
        }
    }

    fn is_over(&self, child: &Child) -> bool {
        let Some(job) = self.plan.by_name.get(&child.job) else { return true };
        if self.phase.is_terminal() || self.jobs[*job].phase.is_terminal() {
            return true;
        }
        let Some(leg) = self.jobs[*job].legs.iter().find(|leg| leg.name == child.leg) else {
            // A job that has no legs yet may get it.
            return !self.jobs[*job].legs.is_empty();
        };
        if leg.phase.is_terminal() || child.attempt < leg.attempt {
            return true;
        }
        child.attempt == leg.attempt && self.step_of(*job, child).is_none_or(|step| step < leg.at)
    }

    /// The place of its step in the job.
    pub(super) fn step_of(&self, job: usize, child: &Child) -> Option<usize> {
        match (&self.plan.jobs[job].work, &child.step) {
            (Work::Steps { steps, .. }, Some(name)) => {
                steps.iter().position(|step| step.name == *name)
            }
            (Work::Uses { .. }, None) => Some(0),
            _ => None,
        }
    }

    pub(super) fn cancel_child(&mut self, child: Child, name: String, why: Stop) {
        self.effects.push(Effect::Cancel { name, child, why });
    }

    /// A child does not exist any more.
    pub fn gone(&mut self, name: &str) {
        self.early.retain(|_, seen| seen.name != name);
        if let Some((leg, _)) = self.active.remove(name) {
            let message = format!("{name} was deleted before its end");
            let end = End { how: How::Failed, outputs: Default::default(), message };
            self.step_ended(leg, end);
        }
    }

    /// What came of a creation.
    pub fn answered(&mut self, object: &NewChild, answer: Answer) {
        let name = object.name();
        let Some((leg, child)) = self.active.get(name).cloned() else { return };
        let message = match answer {
            Answer::Made => return,
            Answer::Taken => {
                let [first, other] = child.names(&self.identity);
                if name == first {
                    self.active.remove(name);
                    self.create_as(leg, child, object, other);
                    return;
                }
                format!("both names of its child belong to others: {first} and {other}")
            }
            Answer::Refused(message) => message,
        };
        self.active.remove(name);
        self.step_ended(leg, End { how: How::Failed, outputs: Default::default(), message });
    }

    fn create_as(&mut self, leg: LegId, child: Child, object: &NewChild, name: String) {
        let mut object = object.clone();
        match &mut object {
            NewChild::Run(run) => run.metadata.name = Some(name.clone()),
            NewChild::Made(workflow) => workflow.metadata.name = Some(name.clone()),
            NewChild::Workflow { metadata, .. } => metadata.name = Some(name.clone()),
        }
        let (job, index) = leg;
        let at = self.jobs[job].legs[index].at;
        self.jobs[job].legs[index].steps[at].child = Some(name.clone());
        self.active.insert(name, (leg, child.clone()));
        self.effects.push(Effect::Create { child, object: Box::new(object) });
        self.written.touch(leg);
    }

    /// The step that a leg is at has ended.
    pub(super) fn step_ended(&mut self, id: LegId, end: End) {
        let (job, index) = id;
        let outputs = bytes_of(&end.outputs);
        let phase = match end.how {
            How::Succeeded => JobPhase::Succeeded,
            How::Failed | How::Cancelled(Stop::TimedOut) => JobPhase::Failed,
            How::Cancelled(Stop::Cancelled) => JobPhase::Cancelled,
        };
        let most = limits::WORKFLOW_OUTPUTS_BYTES;
        let (phase, outputs, message) = if self.output_bytes + outputs <= most {
            self.output_bytes += outputs;
            (phase, end.outputs, Some(end.message).filter(|_| phase != JobPhase::Succeeded))
        } else {
            let message = format!(
                "the outputs of all steps of a Workflow may have {most} bytes, and with this step's they have more: keep what is large as artifacts"
            );
            (JobPhase::Failed, Outputs::new(), Some(message))
        };
        let message = message.and_then(|message| self.within_limit(message));
        let leg = &mut self.jobs[job].legs[index];
        if let How::Cancelled(stop) = end.how {
            // After a restart the mark on the child tells what the leg has forgotten.
            leg.stop = Some(stop);
        }
        let step = &mut leg.steps[leg.at];
        *step = StepState { phase, child: step.child.take(), outputs, message };
        leg.at += 1;
        self.due.push_back(id);
        self.written.touch(id);
    }

    /// A message as the status takes it; none where it has too many.
    pub(super) fn within_limit(&mut self, message: String) -> Option<String> {
        let message = cut(message);
        let bytes = self.message_bytes + encoded(&message);
        let fits = !message.is_empty() && bytes <= limits::WORKFLOW_MESSAGES_BYTES;
        fits.then(|| {
            self.message_bytes = bytes;
            message
        })
    }
}

/// Within what the status takes: a Workflow has many messages.
pub(super) fn cut(message: String) -> String {
    cut_to(message, 256)
}

pub(super) fn cut_to(mut message: String, most: usize) -> String {
    if message.len() > most {
        message.truncate(message.floor_char_boundary(most));
        message.push('…');
    }
    message
}

//! What happens to children.

use super::state::{Active, Outputs, StepState, Stop};
use super::status::{bytes_of, encoded};
use super::{Answer, Creation, Effect, End, Execution, How, Kind, LegId, Seen};
use crate::child::Child;
use crate::plan::Work;
use kruntimes_api::{JobPhase, Run, limits};
use kruntimes_rules::mutant::{self, Mutant};

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
        if self.holders.get(&seen.name).is_some_and(|holder| holder.child == seen.child) {
            return self.see_holder(seen);
        }
        let Some(active) = self.active.get(&seen.name) else {
            self.see_early(seen);
            return;
        };
        if active.child != seen.child {
            return;
        }
        match seen.end {
            Some(end) => {
                let leg = active.leg;
                self.active.remove(&seen.name);
                self.step_ended(leg, end);
            }
            None => self.exists(&seen.name),
        }
    }

    /// A child is there: if its leg was stopped while it was on its way, it is told only now.
    fn exists(&mut self, name: &str) {
        let Some(active) = self.active.get_mut(name).filter(|active| !active.exists) else {
            return;
        };
        active.exists = true;
        let (job, index) = active.leg;
        if let Some(why) = active.is_stopped_by(&self.jobs[job].legs[index]) {
            let child = active.child.clone();
            self.cancel_child(child, name.to_owned(), why);
        }
    }

    /// No step waits for it: it is of one that comes, or has ended, or was never to start.
    fn see_early(&mut self, seen: Seen) {
        if self.is_over(&seen.child) {
            if seen.end.is_none() {
                self.end_child(seen);
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
        let is_past = || self.step_of(*job, child).is_none_or(|step| step < leg.at);
        child.attempt == leg.attempt && !self.is_holder(child) && is_past()
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
        let is_run = child.step.is_some() || self.is_holder(&child);
        let kind = if is_run { Kind::Run } else { Kind::Workflow };
        self.effects.push(Effect::Cancel { name, child, kind, why });
    }

    /// Ends a child that nothing waits for.
    pub(super) fn end_child(&mut self, seen: Seen) {
        if self.is_holder(&seen.child) {
            self.end_holder(seen);
        } else {
            self.cancel_child(seen.child, seen.name, Stop::Cancelled);
        }
    }

    /// A child does not exist any more.
    pub fn gone(&mut self, name: &str) {
        self.early.retain(|_, seen| seen.name != name);
        if mutant::is(Mutant::DeletedChildAwaited) {
            return;
        }
        self.holder_ended(name, format!("{name} was deleted before its end"));
        if let Some(Active { leg, .. }) = self.active.remove(name) {
            let message = format!("{name} was deleted before its end");
            let end = End { how: How::Failed, outputs: Default::default(), message };
            self.step_ended(leg, end);
        }
    }

    /// What came of a creation.
    pub fn answered(&mut self, creation: &Creation, answer: Answer) {
        let name = &creation.name;
        if self.holders.get(name).is_some_and(|holder| holder.child == creation.child) {
            return match answer {
                Answer::Made => self.holder_exists(name),
                Answer::Taken => self.holder_is_taken(creation),
                Answer::Unwanted => drop(self.holders.remove(name)),
                Answer::Refused(why) => self.holder_ended(name, why),
            };
        }
        let of_step = self.active.get(name).filter(|active| active.child == creation.child);
        let Some(Active { leg, child, .. }) = of_step.cloned() else { return };
        let message = match answer {
            Answer::Made => return self.exists(name),
            Answer::Unwanted => {
                self.active.remove(name);
                self.step_mut(leg).child = None;
                let (job, index) = leg;
                let of = &mut self.jobs[job].legs[index];
                of.stop = of.stop.or(of.held.is_lost());
                self.skip_step(leg);
                self.due.push_back(leg);
                return;
            }
            Answer::Taken => {
                let [first, other] = child.names(&self.identity);
                if *name == first {
                    self.active.remove(name);
                    self.create(
                        leg,
                        Creation { name: other, may_exist: false, ..creation.clone() },
                    );
                    return;
                }
                format!("both names of its child belong to others: {first} and {other}")
            }
            Answer::Refused(message) => message,
        };
        self.active.remove(name);
        self.step_mut(leg).child = None;
        self.step_ended(leg, End { how: How::Failed, outputs: Default::default(), message });
    }

    /// The step that a leg is at.
    fn step_mut(&mut self, (job, index): LegId) -> &mut StepState {
        let leg = &mut self.jobs[job].legs[index];
        &mut leg.steps[leg.at]
    }

    /// The step that a leg is at has ended.
    pub(super) fn step_ended(&mut self, id: LegId, end: End) {
        let (job, index) = id;
        let outputs = bytes_of(&end.outputs);
        let phase = match end.how {
            How::Succeeded => JobPhase::Succeeded,
            How::Failed | How::Cancelled(Stop::TimedOut | Stop::Lost) => JobPhase::Failed,
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

//! The legs of a job: each goes from step to step.

use super::state::{Active, After, Leg, Stop};
use super::status::{bytes_of, encoded};
use super::step::Next;
use super::workspace::Held;
use super::{Creation, Effect, End, Execution, How, LegId, Timer};
use crate::child::Child;
use crate::plan::{JobId, JobPlan, Work};
use jiff::Timestamp;
use kruntimes_api::JobPhase;
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::run::retry;
use std::collections::BTreeMap;

impl Execution {
    /// Starts legs as far as `max-parallel` allows.
    pub(super) fn start_legs(&mut self, job: JobId, now: Timestamp) {
        let most = self.plan.jobs[job].legs.as_ref().map_or(1, |legs| legs.max_parallel);
        let most = if mutant::is(Mutant::MaxParallelIgnored) { usize::MAX } else { most };
        while self.jobs[job].running_legs < most
            && self.jobs[job].next_leg < self.jobs[job].legs.len()
        {
            let index = self.jobs[job].next_leg;
            self.jobs[job].next_leg += 1;
            if self.jobs[job].legs[index].phase.is_terminal() {
                continue;
            }
            self.jobs[job].running_legs += 1;
            self.jobs[job].legs[index].phase = JobPhase::Running;
            self.leg_starts((job, index), now);
        }
    }

    fn leg_starts(&mut self, id: LegId, now: Timestamp) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        let started = *leg.started.get_or_insert(now);
        let attempt = leg.attempt;
        if let Some(timeout) = self.plan.jobs[job].timeout {
            self.set_timer(started, timeout, Timer::Leg(id, attempt));
        }
        self.due.push_back(id);
        self.written.touch(id);
    }

    /// Goes on with a leg until it waits for a child, or for its turn to have one, or is at its end.
    pub(super) fn leg_goes_on(&mut self, id: LegId, now: Timestamp) {
        let (job, index) = id;
        loop {
            let leg = &self.jobs[job].legs[index];
            // A leg may be due for two reasons.
            if leg.phase != JobPhase::Running || self.active_at(id) {
                return;
            }
            let Some(child) = self.child_at(id) else {
                self.leg_ends(id, now);
                return;
            };
            if let Some(seen) = self.early.remove(&child) {
                self.adopt(id, child, seen);
                if self.active_at(id) {
                    return;
                }
                // It has ended, and has put the leg back where it was taken from.
                self.due.pop_back();
                continue;
            }
            if leg.at < leg.decided {
                self.skip_step(id);
                continue;
            }
            match self.next_of(id) {
                Next::Skip => self.skip_step(id),
                Next::Fail(message) => {
                    self.step_ended(id, failed(message));
                    self.due.pop_back();
                }
                Next::Create if !self.may_create() => {
                    // Who holds a workspace holds a slot, for which the others wait.
                    match self.jobs[job].legs[index].held {
                        Held::By(_) => self.queued.push_front(id),
                        Held::No | Held::Lost(_) => self.queued.push_back(id),
                    }
                    return;
                }
                Next::Create => {
                    self.hold(id);
                    if self.jobs[job].legs[index].held.is_lost().is_some() {
                        self.step_is_lost(id);
                        continue;
                    }
                    let name = self.free_name(&child);
                    let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
                    let after = self.after(leg, plan.finally);
                    self.create(id, Creation { name, child, after, may_exist: false });
                    return;
                }
            }
        }
    }

    /// The child of the step that a leg is at; none at its end.
    fn child_at(&self, id: LegId) -> Option<Child> {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        let step = match &plan.work {
            Work::Steps { steps, .. } => Some(steps.get(leg.at)?.name.as_str()),
            Work::Uses { .. } if leg.at == 0 => None,
            Work::Uses { .. } => return None,
        };
        Some(leg.child(plan, step))
    }

    fn active_at(&self, id: LegId) -> bool {
        let (job, index) = id;
        let leg = &self.jobs[job].legs[index];
        leg.steps.get(leg.at).is_some_and(|step| step.phase == JobPhase::Running)
    }

    fn adopt(&mut self, id: LegId, child: Child, seen: super::Seen) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        let at = leg.at;
        leg.steps[at].child = Some(seen.name.clone());
        match seen.end {
            Some(end) => self.step_ended(id, end),
            None => {
                leg.steps[at].phase = JobPhase::Running;
                if let Some(After::Leg(stop)) = seen.after {
                    leg.stop = Some(stop);
                }
                let active = Active { leg: id, child, exists: true, after: seen.after };
                if let Some(why) = active.is_stopped_by(leg) {
                    self.cancel_child(active.child.clone(), seen.name.clone(), why);
                }
                self.active.insert(seen.name, active);
                self.written.touch(id);
            }
        }
    }

    /// What a child of this leg is created after.
    pub(super) fn after(&self, leg: &Leg, finally: bool) -> Option<After> {
        match leg.stop {
            Some(stop) => Some(After::Leg(stop)),
            None if finally => None,
            None => self.stop.as_ref().map(|_| After::Whole),
        }
    }

    pub(super) fn skip_step(&mut self, id: LegId) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        let at = leg.at;
        leg.steps[at].phase = JobPhase::Skipped;
        leg.at += 1;
        self.written.touch(id);
    }

    pub(super) fn create(&mut self, id: LegId, creation: Creation) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        let at = leg.at;
        leg.steps[at].phase = JobPhase::Running;
        leg.steps[at].child = Some(creation.name.clone());
        let (child, after) = (creation.child.clone(), creation.after);
        let active = Active { leg: id, child, exists: false, after };
        self.active.insert(creation.name.clone(), active);
        self.effects.push(Effect::Create(creation));
        self.written.touch(id);
    }

    /// An attempt of a leg takes too long.
    pub(super) fn leg_is_late(&mut self, id: LegId, attempt: i32) {
        let (job, index) = id;
        let leg = &self.jobs[job].legs[index];
        if leg.phase == JobPhase::Running && leg.attempt == attempt && leg.stop.is_none() {
            self.stop_leg(id, Stop::TimedOut);
        }
    }

    /// Ends all legs of a job; those that have not started never do.
    pub(super) fn stop_legs(&mut self, job: JobId, stop: Stop, now: Timestamp) {
        for index in 0..self.jobs[job].legs.len() {
            match self.jobs[job].legs[index].phase {
                JobPhase::Running => self.stop_leg((job, index), stop),
                JobPhase::Pending | JobPhase::Waiting => {
                    let leg = &mut self.jobs[job].legs[index];
                    leg.phase = JobPhase::Cancelled;
                    self.jobs[job].ended_legs += 1;
                    self.written.touch((job, index));
                }
                JobPhase::Succeeded
                | JobPhase::Failed
                | JobPhase::Skipped
                | JobPhase::Cancelled => {}
            }
        }
        self.job_ends_with_legs(job, now);
    }

    fn stop_leg(&mut self, id: LegId, stop: Stop) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        // What cleans up after a leg that took too long can still be cancelled.
        match (leg.stop, stop) {
            (None, _) | (Some(Stop::TimedOut | Stop::Lost), Stop::Cancelled) => {}
            (Some(_), _) => return,
        }
        leg.stop = Some(stop);
        let running = leg.steps.get(leg.at).filter(|step| step.phase == JobPhase::Running);
        match running.and_then(|step| step.child.clone()) {
            Some(name) => {
                if let Some(active) = self.active.get(&name).filter(|active| active.exists) {
                    self.cancel_child(active.child.clone(), name, stop);
                }
            }
            // It waits for its turn, or for its next attempt: now it goes on to its end.
            None => self.due.push_back(id),
        }
    }

    /// The time for another attempt has come.
    pub(super) fn retry(&mut self, id: LegId, now: Timestamp) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        if leg.phase == JobPhase::Running && leg.at == leg.steps.len() && leg.stop.is_none() {
            let outputs: usize = leg.steps.iter().map(|step| bytes_of(&step.outputs)).sum();
            let messages = leg.steps.iter().filter_map(|step| step.message.as_deref());
            let messages: usize = messages.map(encoded).sum();
            leg.restart();
            self.output_bytes = self.output_bytes.saturating_sub(outputs);
            self.message_bytes = self.message_bytes.saturating_sub(messages);
            self.leg_starts(id, now);
        }
    }

    /// When a leg that failed is tried again, if it is.
    pub(super) fn retry_after(&self, id: LegId) -> Option<std::time::Duration> {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        let policy = Some(&plan.retries);
        let again = leg.stop != Some(Stop::Cancelled) && leg.attempt < retry::max_attempts(policy);
        again.then(|| retry::delay_before(policy, leg.attempt + 1))
    }
}

pub(super) fn failed(message: String) -> End {
    End { how: How::Failed, outputs: BTreeMap::new(), message }
}

impl Leg {
    /// The child that a step of its attempt is, or the whole of it.
    pub(super) fn child(&self, plan: &JobPlan, step: Option<&str>) -> Child {
        Child {
            job: plan.name.clone(),
            leg: self.name.clone(),
            step: step.map(str::to_owned),
            attempt: self.attempt,
        }
    }

    /// Why it failed, in one line.
    pub(super) fn why(&self, plan: &JobPlan) -> String {
        match (self.stop, &self.held) {
            (Some(Stop::TimedOut), _) => {
                return "it took longer than its timeoutSeconds".to_owned();
            }
            (Some(Stop::Lost), Held::Lost(why)) => {
                return format!("the workspace that its steps share was lost: {why}");
            }
            (Some(Stop::Lost), Held::No | Held::By(_)) => {
                return "the workspace that its steps share was lost".to_owned();
            }
            (Some(Stop::Cancelled) | None, _) => {}
        }
        let Some(index) = self.failed_step(plan) else { return String::new() };
        let message = self.steps[index].message.as_deref().unwrap_or_default();
        match &plan.work {
            Work::Steps { steps, .. } => format!("step {}: {message}", steps[index].name),
            Work::Uses { workflow, .. } => format!("{workflow}: {message}"),
        }
    }
}

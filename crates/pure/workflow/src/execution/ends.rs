//! The ends of legs, of jobs, and of the whole.

use super::context::View;
use super::state::{JobState, Outputs, Stop, WholeStop};
use super::step::texts;
use super::{Execution, LegId, Timer, children};
use crate::child::Child;
use crate::plan::{JobId, Work};
use jiff::Timestamp;
use kruntimes_api::{JobPhase, WorkflowPhase, limits, workflows};
use kruntimes_expressions::Budget;

impl Execution {
    /// A leg is behind its last step.
    pub(super) fn leg_ends(&mut self, id: LegId, now: Timestamp) {
        let (job, index) = id;
        let plan = &self.plan.jobs[job];
        let leg = &self.jobs[job].legs[index];
        let (mut phase, mut message) = match leg.stop {
            Some(Stop::TimedOut | Stop::Lost) => (JobPhase::Failed, Some(leg.why(plan))),
            _ if leg.failed_step(plan).is_some() => (JobPhase::Failed, Some(leg.why(plan))),
            // After a restart the stop may be known before what had ended by then.
            Some(Stop::Cancelled)
                if leg.steps.iter().all(|step| step.phase == JobPhase::Succeeded) =>
            {
                (JobPhase::Succeeded, None)
            }
            Some(Stop::Cancelled) => (JobPhase::Cancelled, None),
            None => (JobPhase::Succeeded, None),
        };
        let mut outputs = Outputs::new();
        if phase == JobPhase::Succeeded {
            match self.outputs_of_leg(id) {
                Ok(all) => outputs = all,
                Err(why) => (phase, message) = (JobPhase::Failed, Some(why)),
            }
        }
        self.let_go(id);
        if phase == JobPhase::Failed
            && let Some(wait) = self.retry_after(id)
        {
            self.jobs[job].legs[index].stop = None;
            self.set_timer(now, wait, Timer::Retry(id));
            return;
        }
        // A job without a matrix says it itself.
        let message = match self.jobs[job].legs[index].name {
            Some(_) => message.and_then(|message| self.within_limit(message)),
            None => message.map(children::cut),
        };
        let leg = &mut self.jobs[job].legs[index];
        (leg.phase, leg.message, leg.outputs) = (phase, message, outputs);
        self.written.touch(id);
        self.jobs[job].running_legs -= 1;
        self.jobs[job].ended_legs += 1;
        if phase == JobPhase::Failed && self.is_fail_fast(job) {
            self.stop_legs(job, Stop::Cancelled, now);
        } else {
            self.start_legs(job, now);
            self.job_ends_with_legs(job, now);
        }
    }

    pub(super) fn outputs_of_leg(&self, id: LegId) -> Result<Outputs, String> {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        match &plan.work {
            Work::Uses { .. } => Ok(leg.steps[0].outputs.clone()),
            Work::Steps { .. } => {
                let view = View { of: self, job: Some(job), leg: Some(leg), env: None };
                within_limit("outputs", texts("outputs", &plan.outputs, &view, &mut Budget::new())?)
            }
        }
    }

    /// Ends a job whose legs have all ended.
    pub(super) fn job_ends_with_legs(&mut self, job: JobId, now: Timestamp) {
        let state = &self.jobs[job];
        if state.phase != JobPhase::Running || state.ended_legs < state.legs.len() {
            return;
        }
        let (phase, message) = of_legs(state);
        if phase == JobPhase::Succeeded {
            let legs = std::mem::take(&mut self.jobs[job].legs);
            for leg in &legs {
                // An empty one of a later leg hides none of an earlier.
                let given = leg.outputs.iter().filter(|(_, value)| !value.is_empty());
                self.jobs[job]
                    .outputs
                    .extend(given.map(|(key, value)| (key.clone(), value.clone())));
                for (key, value) in &leg.outputs {
                    self.jobs[job].outputs.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            self.jobs[job].legs = legs;
        }
        self.job_ends(job, phase, message, now);
    }

    /// A job has ended: those that need it may start, and a failure may end the others.
    pub(super) fn job_ends(
        &mut self,
        id: JobId,
        phase: JobPhase,
        message: Option<String>,
        now: Timestamp,
    ) {
        let state = &mut self.jobs[id];
        (state.phase, state.message) = (phase, message.map(children::cut));
        state.ended = state.started.map(|_| now);
        self.written.touch_job(id);
        self.job_is_done(id);
        if phase == JobPhase::Failed && self.ends_the_others(id) {
            let name = self.plan.jobs[id].name.clone();
            self.stop_whole(WholeStop::Failed(name), now);
        }
    }

    /// Whether the failure of this job ends the others.
    pub(super) fn ends_the_others(&self, id: JobId) -> bool {
        let plan = &self.plan.jobs[id];
        self.settings.fail_fast && !plan.continue_on_error && !plan.finally
    }

    /// Whether the failure of a leg of this job ends its other legs.
    pub(super) fn is_fail_fast(&self, id: JobId) -> bool {
        let plan = &self.plan.jobs[id];
        plan.legs.as_ref().is_some_and(|legs| legs.fail_fast) && !plan.continue_on_error
    }

    /// Lets those that need it go on.
    pub(super) fn job_is_done(&mut self, id: JobId) {
        self.make_value(id);
        for dependent in self.plan.jobs[id].needed_by.clone() {
            self.jobs[dependent].waits -= 1;
            let is_due = !self.plan.jobs[dependent].finally || self.open == 0;
            if self.jobs[dependent].waits == 0 && is_due && self.started.is_some() {
                self.ready.push_back(dependent);
            }
        }
        self.cancel_early(id);
        self.left -= 1;
        if !self.plan.jobs[id].finally {
            self.open -= 1;
            self.start_finally_if_due();
        }
    }

    /// Children of a job that has ended, which no step has waited for.
    fn cancel_early(&mut self, id: JobId) {
        let name = &self.plan.jobs[id].name;
        let of_job = |child: &Child| child.job == *name;
        let early: Vec<Child> = self.early.keys().filter(|child| of_job(child)).cloned().collect();
        for child in early {
            if let Some(seen) = self.early.remove(&child).filter(|seen| seen.end.is_none()) {
                self.end_child(seen);
            }
        }
    }

    /// Jobs in `finally` start when all others have ended.
    pub(super) fn start_finally_if_due(&mut self) {
        if self.open > 0 || self.started.is_none() {
            return;
        }
        for id in 0..self.jobs.len() {
            if self.plan.jobs[id].finally && self.jobs[id].waits == 0 {
                self.ready.push_back(id);
            }
        }
    }

    /// Ends the whole when nothing of it is left.
    pub(super) fn end_if_done(&mut self, now: Timestamp) {
        if self.left > 0 || !self.holders.is_empty() {
            return;
        }
        let counts = |id: &JobId| self.counted(*id) == JobPhase::Failed;
        let failed: Vec<&str> = (0..self.jobs.len())
            .filter(counts)
            .map(|id| self.plan.jobs[id].name.as_str())
            .collect();
        let (phase, reason, message) = match &self.stop {
            Some(WholeStop::Cancelled(why)) => {
                (WorkflowPhase::Cancelled, workflows::CANCELLED, why.clone())
            }
            Some(WholeStop::TimedOut) => {
                let message = "it took longer than its timeoutSeconds".to_owned();
                (WorkflowPhase::Failed, workflows::TIMED_OUT, message)
            }
            Some(WholeStop::Failed(_)) | None if !failed.is_empty() => {
                let message = format!("one or more jobs failed: {}", failed.join(", "));
                (WorkflowPhase::Failed, workflows::JOB_FAILED, message)
            }
            Some(WholeStop::Failed(_)) | None => match self.whole_outputs() {
                Ok(outputs) => {
                    self.outputs = outputs;
                    let message = "all jobs completed".to_owned();
                    (WorkflowPhase::Succeeded, workflows::JOBS_COMPLETED, message)
                }
                Err(message) => (WorkflowPhase::Failed, workflows::JOB_FAILED, message),
            },
        };
        (self.phase, self.reason) = (phase, reason);
        self.message = Some(message);
        self.ended = Some(now);
        self.timers.clear();
        self.written.touch_root();
    }

    fn whole_outputs(&self) -> Result<Outputs, String> {
        let view = View { of: self, job: None, leg: None, env: None };
        within_limit(
            "spec.outputs",
            texts("spec.outputs", &self.plan.outputs, &view, &mut Budget::new())?,
        )
    }
}

/// What a job came to, from its legs.
fn of_legs(state: &JobState) -> (JobPhase, Option<String>) {
    let of = |phase: JobPhase| state.legs.iter().find(move |leg| leg.phase == phase);
    if let Some(leg) = of(JobPhase::Failed) {
        let message = leg.message.clone().unwrap_or_default();
        let message = match &leg.name {
            Some(name) => format!("leg {name}: {message}"),
            None => message,
        };
        return (JobPhase::Failed, Some(message));
    }
    match of(JobPhase::Cancelled) {
        Some(_) => (JobPhase::Cancelled, None),
        None => (JobPhase::Succeeded, None),
    }
}

/// The schema of the status takes no longer value: it would be refused for ever.
fn within_limit(path: &str, outputs: Outputs) -> Result<Outputs, String> {
    let most = limits::OUTPUT_VALUE_BYTES;
    match outputs.iter().find(|(_, value)| value.len() > most) {
        Some((name, value)) => {
            let bytes = value.len();
            Err(format!(
                "{path}.{name} has {bytes} bytes, and may have {most}: keep what is large as artifacts"
            ))
        }
        None => Ok(outputs),
    }
}

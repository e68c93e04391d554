//! What is to be done because of what has happened.

use super::state::{Leg, Stop, WholeStop};
use super::{Effect, Execution, Timer};
use crate::plan::{JobId, Work};
use jiff::Timestamp;
use kruntimes_api::{JobPhase, WorkflowPhase, limits};
use kruntimes_expressions::{MatrixError, MatrixProblem, StatusFunction};
use kruntimes_rules::mutant::{self, Mutant};
use serde_json::Value;

/// Whether a job starts.
enum Start {
    Now,
    Unapproved,
    Skipped(String),
    Failed(String),
}

impl Execution {
    /// Goes on as far as nothing has to be waited for.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        if !self.phase.is_terminal() {
            self.begin(now);
            self.expire(now);
            if self.started.is_some() {
                self.go_on(now);
                self.end_if_done(now);
            }
        }
        std::mem::take(&mut self.effects)
    }

    fn begin(&mut self, now: Timestamp) {
        if self.started.is_some() {
            return;
        }
        if self.stop.is_some() {
            self.never_begins(now);
        } else if self.may_begin() {
            self.message = None;
            self.start_at(now);
        }
    }

    /// It was ended before its first job: there is nothing that jobs in `finally` could clean up.
    fn never_begins(&mut self, now: Timestamp) {
        for id in 0..self.jobs.len() {
            self.jobs[id].phase = JobPhase::Skipped;
            self.written.touch_job(id);
        }
        (self.open, self.left) = (0, 0);
        self.end_if_done(now);
    }

    fn may_begin(&mut self) -> bool {
        let waits = match (self.admitted, self.suspended) {
            (true, false) => return true,
            (false, _) => "waits for the Workflow of its group that runs",
            (true, true) => "is suspended: set spec.suspend to false",
        };
        if self.message.as_deref() != Some(waits) {
            self.message = Some(waits.to_owned());
            self.written.touch_root();
        }
        false
    }

    /// It runs from now on.
    pub(super) fn start_at(&mut self, now: Timestamp) {
        self.started = Some(now);
        self.phase = WorkflowPhase::Running;
        self.written.touch_root();
        if let Some(timeout) = self.settings.timeout {
            self.set_timer(now, timeout, Timer::Whole);
        }
        for id in 0..self.jobs.len() {
            if self.plan.jobs[id].finally || self.jobs[id].phase.is_terminal() {
                continue;
            }
            if self.jobs[id].waits == 0 || mutant::is(Mutant::NeedsIgnored) {
                self.ready.push_back(id);
            } else if !self.begun.contains_key(&id) {
                self.jobs[id].phase = JobPhase::Waiting;
            }
            self.written.touch_job(id);
        }
        // All jobs of it may have been taken from an earlier Workflow.
        self.start_finally_if_due();
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Whole => self.stop_whole(WholeStop::TimedOut, now),
                Timer::Leg(leg, attempt) => self.leg_is_late(leg, attempt),
                Timer::Retry(leg) => self.retry(leg, now),
            }
        }
    }

    /// Every leg and job that can go on does; each that ends may let others.
    fn go_on(&mut self, now: Timestamp) {
        loop {
            if let Some(leg) = self.due.pop_front() {
                self.leg_goes_on(leg, now);
            } else if let Some(job) = self.next_job() {
                self.start_job(job, now);
            } else if self.may_create()
                && let Some(leg) = self.queued.pop_front()
            {
                self.leg_goes_on(leg, now);
            } else {
                return;
            }
        }
    }

    fn next_job(&mut self) -> Option<JobId> {
        // What had begun before a restart may hold what the others wait for.
        match self.ready.iter().position(|id| self.begun.contains_key(id)) {
            Some(begun) => self.ready.remove(begun),
            None if self.suspended && self.stop.is_none() => None,
            None => self.ready.pop_front(),
        }
    }

    /// Whether another child may be created. After a restart those count too whose step has not been taken up.
    pub(super) fn may_create(&self) -> bool {
        let most = self.settings.parallelism;
        if self.suspended && self.stop.is_none() {
            return false;
        }
        let early = || self.early.values().filter(|seen| seen.end.is_none()).count();
        if mutant::is(Mutant::RestoredNotCounted) {
            return self.active.len() < most;
        }
        let is_free = most == usize::MAX || self.active.len() + early() < most;
        is_free || mutant::is(Mutant::ParallelismIgnored)
    }

    fn start_job(&mut self, id: JobId, now: Timestamp) {
        if self.jobs[id].phase.is_terminal() || self.jobs[id].started.is_some() {
            return;
        }
        if let Some(record) = self.begun.remove(&id) {
            return self.resume_job(id, &record, now);
        }
        match self.start_of(id) {
            Start::Now => self.run_job(id, now),
            Start::Unapproved => {
                let name = &self.plan.jobs[id].name;
                let state = &mut self.jobs[id];
                state.phase = JobPhase::Waiting;
                let workflow = &self.identity.name;
                state.message =
                    Some(format!("waits for an approval: krt workflow approve {workflow} {name}"));
                self.unapproved.insert(id);
                self.written.touch_job(id);
            }
            Start::Skipped(why) => self.job_ends(id, JobPhase::Skipped, Some(why), now),
            Start::Failed(why) => self.job_ends(id, JobPhase::Failed, Some(why), now),
        }
    }

    fn start_of(&self, id: JobId) -> Start {
        let plan = &self.plan.jobs[id];
        let asks = plan.condition.as_ref().is_some_and(|condition| condition.uses_status());
        let goes_on = mutant::is(Mutant::CancelledGoesOn);
        if let Some(stop) = self.stop.as_ref().filter(|_| !plan.finally && !asks && !goes_on) {
            return Start::Skipped(stopped(stop));
        }
        let view = super::context::View { of: self, job: Some(id), leg: None, env: None };
        if !asks && !plan.finally && !self.job_status(id, StatusFunction::Success) {
            return Start::Skipped("a job that it needs did not succeed".to_owned());
        }
        match plan.condition.as_ref().map(|condition| condition.is_true(&view)) {
            Some(Err(error)) => return Start::Failed(format!("if: {error}")),
            Some(Ok(false)) => return Start::Skipped("its if is false".to_owned()),
            Some(Ok(true)) | None => {}
        }
        match (plan.needs_approval && !self.approvals.contains(&plan.name), &self.stop) {
            (false, _) => Start::Now,
            (true, None) => Start::Unapproved,
            (true, Some(stop)) => Start::Skipped(stopped(stop)),
        }
    }

    fn run_job(&mut self, id: JobId, now: Timestamp) {
        match self.legs_of(id) {
            Ok(legs) if legs.is_empty() => {
                let why = "its matrix has no combinations".to_owned();
                self.job_ends(id, JobPhase::Skipped, Some(why), now);
            }
            Ok(legs) => {
                self.add_legs(id, legs, now);
                self.start_legs(id, now);
            }
            Err(why) => self.job_ends(id, JobPhase::Failed, Some(why), now),
        }
    }

    pub(super) fn add_legs(&mut self, id: JobId, legs: Vec<Leg>, started: Timestamp) {
        self.legs += legs.len();
        self.steps += legs.iter().map(|leg| leg.steps.len()).sum::<usize>();
        let state = &mut self.jobs[id];
        state.phase = JobPhase::Running;
        state.message = None;
        state.started = Some(started);
        state.legs = legs;
        self.written.touch_job(id);
    }

    /// The legs of a job, or why there can be none.
    pub(super) fn legs_of(&self, id: JobId) -> Result<Vec<Leg>, String> {
        let plan = &self.plan.jobs[id];
        let steps = match &plan.work {
            Work::Steps { steps, .. } => steps.len(),
            Work::Uses { .. } => 1,
        };
        let most = (limits::LEGS as usize).saturating_sub(self.legs);
        let Some(of) = &plan.legs else {
            return if most == 0 {
                Err(too_many_legs(1))
            } else {
                self.check_steps(steps)?;
                Ok(vec![Leg::new(None, Value::Null, steps)])
            };
        };
        let view = super::context::View { of: self, job: Some(id), leg: None, env: None };
        let legs = match of.matrix.expand(&view, limits::LEGS as usize) {
            // A list that was computed may have nothing to do in it.
            Err(MatrixError { problem: MatrixProblem::EmptyList, .. }) => Vec::new(),
            legs => legs.map_err(|error| format!("strategy.{error}"))?,
        };
        if legs.len() > most {
            return Err(too_many_legs(legs.len()));
        }
        self.check_steps(legs.len() * steps)?;
        Ok(legs
            .into_iter()
            .map(|leg| Leg::new(Some(leg.name), Value::Object(leg.values), steps))
            .collect())
    }

    fn check_steps(&self, more: usize) -> Result<(), String> {
        let most = limits::LEG_STEPS;
        if self.steps + more > most {
            let all = self.steps + more;
            return Err(format!(
                "the legs of the Workflow would have {all} steps in all; there may be {most}"
            ));
        }
        Ok(())
    }

    /// Ends it before its own end: what runs is cancelled, but for jobs in `finally`.
    pub(super) fn stop_whole(&mut self, stop: WholeStop, now: Timestamp) {
        let is_cancel = matches!(stop, WholeStop::Cancelled(_));
        if matches!(self.stop, Some(WholeStop::Cancelled(_))) || (self.stop.is_some() && !is_cancel)
        {
            return;
        }
        self.stop = Some(stop);
        self.written.touch_root();
        for id in 0..self.jobs.len() {
            let is_taken_up =
                self.jobs[id].phase == JobPhase::Running && !self.begun.contains_key(&id);
            if !self.plan.jobs[id].finally && is_taken_up {
                self.stop_legs(id, Stop::Cancelled, now);
            }
        }
        let waiting: Vec<JobId> = std::mem::take(&mut self.unapproved).into_iter().collect();
        self.ready.extend(waiting);
    }
}

fn stopped(stop: &WholeStop) -> String {
    match stop {
        WholeStop::Cancelled(why) => why.clone(),
        WholeStop::Failed(job) => format!("the job {job} failed"),
        WholeStop::TimedOut => "the Workflow took longer than its timeoutSeconds".to_owned(),
    }
}

fn too_many_legs(more: usize) -> String {
    let most = limits::LEGS;
    format!("with the {more} legs of this job the Workflow would have more than {most}")
}

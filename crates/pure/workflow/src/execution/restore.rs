//! A run as its status and its children left it, and jobs that are taken from an earlier Workflow.

use super::context::View;
use super::state::{After, Leg, StepState, Stop, WholeStop};
use super::status::{bytes_of, encoded};
use super::{Execution, LegId, Seen};
use crate::plan::{Invalid, JobId, Plan, Work};
use jiff::Timestamp;
use kruntimes_api::{JobPhase, JobStatus, LegStatus, StepStatus, Workflow, limits};
use kruntimes_rules::mutant::{self, Mutant};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// Jobs as they ended in an earlier Workflow.
pub(super) type Reused = BTreeMap<JobId, JobStatus>;

/// The jobs that `spec.reuse` names, as its own status has them already, or as the earlier Workflow has them.
pub(super) fn reused(
    workflow: &Workflow,
    plan: &Plan,
    earlier: Option<&Workflow>,
) -> Result<Reused, Vec<Invalid>> {
    let Some(reuse) = &workflow.spec.reuse else { return Ok(Reused::new()) };
    if let Some(own) = of_own_status(workflow, &reuse.jobs, plan) {
        return Ok(own);
    }
    let name = &reuse.workflow;
    let earlier = earlier.filter(|workflow| workflow.uid().as_ref() == Some(&reuse.uid));
    let Some(status) = earlier.and_then(|workflow| workflow.status.as_ref()) else {
        let problem =
            format!("the Workflow {name} with this UID does not exist: run all jobs again");
        return Err(vec![Invalid::new("spec.reuse.workflow", problem)]);
    };
    let mut found = Reused::new();
    let mut wrong = Vec::new();
    for (index, job) in reuse.jobs.iter().enumerate() {
        let ended = status.jobs.get(job).filter(|ended| ended.phase == JobPhase::Succeeded);
        match (plan.by_name.get(job), ended) {
            (Some(id), Some(ended)) => {
                found.insert(*id, ended.clone());
            }
            _ => {
                let problem = format!("{job} did not succeed in {name}, or is no job of this one");
                wrong.push(Invalid::new(format!("spec.reuse.jobs[{index}]"), problem));
            }
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// All of them, where the status has them: the earlier Workflow may be gone by now.
fn of_own_status(workflow: &Workflow, jobs: &[String], plan: &Plan) -> Option<Reused> {
    let status = workflow.status.as_ref()?;
    let own = |name: &String| {
        let job = status.jobs.get(name).filter(|job| job.phase == JobPhase::Succeeded)?;
        Some((*plan.by_name.get(name)?, job.clone()))
    };
    jobs.iter().map(own).collect()
}

impl Execution {
    pub(super) fn restore(&mut self, workflow: &Workflow, children: Vec<Seen>, reused: &Reused) {
        let status = workflow.status.clone().unwrap_or_default();
        let ended = |(name, job): (&String, &JobStatus)| {
            let id = self.plan.by_name.get(name).filter(|_| job.phase.is_terminal())?;
            Some((*id, job.clone()))
        };
        let mut ended: Reused = status.jobs.iter().filter_map(ended).collect();
        if status.phase.is_terminal() {
            ended.clear();
        }
        ended.extend(reused.clone());
        // The legs of one may come from outputs of jobs before it.
        let mut ended: Vec<(JobId, JobStatus)> = ended.into_iter().collect();
        ended.sort_by_key(|(id, _)| self.plan.jobs[*id].ancestors.len());
        self.phase = status.phase;
        self.message = status.message;
        if status.phase.is_terminal() {
            return;
        }
        for seen in children {
            if seen.child.names(&self.identity).contains(&seen.name) {
                self.early.insert(seen.child.clone(), seen);
            }
        }
        ended.iter().for_each(|(id, job)| self.restore_ended(*id, job));
        let begun = status.start_time.map(|time| time.0);
        let first = self.early.values().filter_map(|seen| seen.created).min();
        let Some(started) = begun.or(first) else { return };
        self.admitted = true;
        for id in 0..self.jobs.len() {
            let name = &self.plan.jobs[id].name;
            let record = status.jobs.get(name).filter(|job| job.phase == JobPhase::Running);
            let has_children = self.early.keys().any(|child| child.job == *name);
            if !self.jobs[id].phase.is_terminal() && (record.is_some() || has_children) {
                self.jobs[id].phase = JobPhase::Running;
                self.begun.insert(id, record.cloned().unwrap_or_default());
            }
        }
        self.start_at(started);
    }

    /// A job that has ended.
    fn restore_ended(&mut self, id: JobId, job: &JobStatus) {
        let mut legs: Vec<Leg> = Vec::new();
        let of =
            |name: Option<String>, phase, steps: &BTreeMap<String, StepStatus>, plan: &Plan| {
                let mut leg = Leg::new(name, serde_json::Value::Null, 0);
                leg.phase = phase;
                leg.steps = match &plan.jobs[id].work {
                    Work::Steps { steps: planned, .. } => planned
                        .iter()
                        .map(|step| steps.get(&step.name).map(restored).unwrap_or_default())
                        .collect(),
                    Work::Uses { .. } => Vec::new(),
                };
                leg
            };
        if self.plan.jobs[id].legs.is_some() {
            for name in self.in_order(id, &job.legs) {
                let leg = &job.legs[&name];
                legs.push(of(Some(name), leg.phase, &leg.steps, &self.plan));
            }
        } else if !job.steps.is_empty() {
            let mut leg = of(None, job.phase, &job.steps, &self.plan);
            leg.steps.iter_mut().for_each(|step| step.message = None);
            legs.push(leg);
        }
        let outputs = legs.iter().flat_map(|leg| &leg.steps).map(|step| bytes_of(&step.outputs));
        self.output_bytes += outputs.sum::<usize>();
        let messages = job.legs.values().filter_map(|leg| leg.message.as_deref());
        let of_steps =
            job.legs.values().flat_map(|leg| leg.steps.values()).chain(job.steps.values());
        let messages = messages.chain(of_steps.filter_map(|step| step.message.as_deref()));
        self.message_bytes += messages.map(encoded).sum::<usize>();
        self.legs += legs.len();
        let state = &mut self.jobs[id];
        state.phase = job.phase;
        state.message.clone_from(&job.message);
        state.outputs.clone_from(&job.outputs);
        state.started = job.start_time.as_ref().map(|time| time.0);
        state.ended = job.completion_time.as_ref().map(|time| time.0);
        state.ended_legs = legs.len();
        state.next_leg = legs.len();
        state.legs = legs;
        self.written.touch_job(id);
        for index in 0..self.jobs[id].legs.len() {
            self.written.touch((id, index));
        }
        if job.phase == JobPhase::Failed && self.ends_the_others(id) && self.stop.is_none() {
            self.stop = Some(WholeStop::Failed(self.plan.jobs[id].name.clone()));
        }
        self.job_is_done(id);
    }

    /// The legs of a job that has ended in the order of its matrix, where the last that gives an output wins.
    fn in_order(&self, id: JobId, known: &BTreeMap<String, LegStatus>) -> Vec<String> {
        let view = View { of: self, job: Some(id), leg: None, env: None };
        let matrix = self.plan.jobs[id].legs.as_ref().map(|legs| &legs.matrix);
        let legs = matrix.and_then(|matrix| matrix.expand(&view, limits::LEGS as usize).ok());
        let names = legs.into_iter().flatten().map(|leg| leg.name);
        let mut ordered: Vec<String> = names.filter(|name| known.contains_key(name)).collect();
        let found: BTreeSet<String> = ordered.iter().cloned().collect();
        ordered.extend(known.keys().filter(|name| !found.contains(*name)).cloned());
        ordered
    }

    /// A job that has begun before: its legs are there again, and what their children did is taken in as it comes.
    pub(super) fn resume_job(&mut self, id: JobId, record: &JobStatus, now: Timestamp) {
        let legs = match self.legs_of(id) {
            Ok(legs) => legs,
            Err(why) => return self.job_ends(id, JobPhase::Failed, Some(why), now),
        };
        let name = &self.plan.jobs[id].name;
        let children = self.early.values().filter(|seen| seen.child.job == *name);
        let began_after = children.clone().any(|seen| seen.after == Some(After::Whole));
        let first = children.filter_map(|seen| seen.created).min();
        let started = record.start_time.as_ref().map(|time| time.0).or(first).unwrap_or(now);
        self.add_legs(id, legs, started);
        for index in 0..self.jobs[id].legs.len() {
            match &self.jobs[id].legs[index].name {
                Some(name) => {
                    let leg = record.legs.get(name).cloned().unwrap_or_default();
                    self.resume_leg((id, index), &leg);
                }
                None => {
                    let (steps, attempt) = (record.steps.clone(), record.attempt);
                    let leg = LegStatus { steps, attempt, ..LegStatus::default() };
                    self.resume_leg((id, index), &leg);
                }
            }
        }
        self.start_legs(id, now);
        let failed = self.jobs[id].legs.iter().any(|leg| leg.phase == JobPhase::Failed);
        let is_stopped = self.stop.is_some() && !self.plan.jobs[id].finally && !began_after;
        if is_stopped || (failed && self.is_fail_fast(id)) {
            self.stop_legs(id, Stop::Cancelled, now);
        } else {
            self.job_ends_with_legs(id, now);
        }
    }

    fn resume_leg(&mut self, id: LegId, record: &LegStatus) {
        let (job, index) = id;
        let plan = &self.plan.jobs[job];
        let leg = &self.jobs[job].legs[index];
        let of_leg = |seen: &&Seen| seen.child.job == plan.name && seen.child.leg == leg.name;
        let children: Vec<&Seen> = self.early.values().filter(of_leg).collect();
        let attempts = children.iter().map(|seen| seen.child.attempt).chain(record.attempt);
        let attempt = attempts.max().unwrap_or(1);
        let of_attempt = || children.iter().filter(|seen| seen.child.attempt == attempt);
        let decided = of_attempt().filter_map(|seen| self.step_of(job, &seen.child)).max();
        let decided = decided.unwrap_or(0);
        let started = of_attempt().filter_map(|seen| seen.created).min();
        let leg = &mut self.jobs[job].legs[index];
        (leg.attempt, leg.decided, leg.started) = (attempt, decided, started);
        if record.attempt.unwrap_or(1) == attempt {
            self.take_recorded(id, &record.steps);
        }
        if record.phase.is_terminal() {
            let outputs = self.outputs_of_leg(id).unwrap_or_default();
            let leg = &mut self.jobs[job].legs[index];
            (leg.phase, leg.outputs) = (record.phase, outputs);
            if mutant::is(Mutant::FailedLegRestoredWell) {
                leg.phase = JobPhase::Succeeded;
            }
            leg.message.clone_from(&record.message);
            self.message_bytes += record.message.as_deref().map_or(0, encoded);
            self.jobs[job].ended_legs += 1;
        }
        self.take_up_holders(id);
    }

    /// Steps that the status shows at their end need no child any more.
    fn take_recorded(&mut self, id: LegId, recorded: &BTreeMap<String, StepStatus>) {
        let (job, index) = id;
        let plan = &self.plan.jobs[job];
        let Work::Steps { steps, .. } = &plan.work else { return };
        for step in steps {
            let ended = recorded.get(&step.name).filter(|step| step.phase.is_terminal());
            let Some(status) = ended else { return };
            let leg = &mut self.jobs[job].legs[index];
            let at = leg.at;
            leg.steps[at] = restored(status);
            leg.at += 1;
            let child = leg.child(plan, Some(&step.name));
            self.output_bytes += bytes_of(&status.outputs);
            self.message_bytes += status.message.as_deref().map_or(0, encoded);
            self.early.remove(&child);
        }
    }
}

fn restored(step: &StepStatus) -> StepState {
    StepState {
        phase: step.phase,
        child: step.run_name.clone(),
        outputs: step.outputs.clone(),
        message: step.message.clone(),
    }
}

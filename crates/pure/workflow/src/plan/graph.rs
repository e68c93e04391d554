//! Which job waits for which.

use super::{Invalid, JobId, Plan};
use kruntimes_api::WorkflowSpec;
use std::collections::BTreeSet;

/// Adds the needs that are named to those that were found in expressions, and looks for cycles.
pub(super) fn connect(plan: &mut Plan, spec: &WorkflowSpec, wrong: &mut Vec<Invalid>) {
    for (id, job) in spec.jobs.values().enumerate() {
        for (index, need) in job.needs.iter().enumerate() {
            let path = || format!("spec.jobs.{}.needs[{index}]", plan.jobs[id].name);
            match plan.by_name.get(need) {
                Some(needed) => plan.jobs[id].needs.push(*needed),
                None => wrong.push(Invalid::new(path(), format!("there is no job {need}"))),
            }
        }
    }
    for id in 0..plan.jobs.len() {
        connect_one(plan, id, wrong);
    }
    match order(plan) {
        Ok(order) => spread(plan, &order),
        Err(cycle) => {
            let names: Vec<&str> = cycle.iter().map(|id| plan.jobs[*id].name.as_str()).collect();
            let problem = format!("jobs need each other in a circle: {}", names.join(" -> "));
            wrong.push(Invalid::new(format!("spec.jobs.{}.needs", names[0]), problem));
        }
    }
}

fn connect_one(plan: &mut Plan, id: JobId, wrong: &mut Vec<Invalid>) {
    let needs: BTreeSet<JobId> = plan.jobs[id].needs.iter().copied().collect();
    let is_finally = plan.jobs[id].finally;
    for need in &needs {
        let (name, needed) = (&plan.jobs[id].name, &plan.jobs[*need]);
        if needed.finally && !is_finally {
            let problem = format!("{} is in spec.finally, and runs after this job", needed.name);
            wrong.push(Invalid::new(format!("spec.jobs.{name}.needs"), problem));
        }
    }
    // A job in finally waits for all others anyway, whatever comes of them.
    let needs: Vec<JobId> =
        needs.into_iter().filter(|need| plan.jobs[*need].finally == is_finally).collect();
    for need in &needs {
        plan.jobs[*need].needed_by.push(id);
    }
    plan.jobs[id].needs = needs;
}

/// The jobs, each behind those that it needs; or a circle, with its first job at both ends.
fn order(plan: &Plan) -> Result<Vec<JobId>, Vec<JobId>> {
    let mut waits: Vec<usize> = plan.jobs.iter().map(|job| job.needs.len()).collect();
    let mut order: Vec<JobId> = (0..waits.len()).filter(|id| waits[*id] == 0).collect();
    let mut next = 0;
    while let Some(id) = order.get(next).copied() {
        next += 1;
        for dependent in &plan.jobs[id].needed_by {
            waits[*dependent] -= 1;
            if waits[*dependent] == 0 {
                order.push(*dependent);
            }
        }
    }
    match (0..waits.len()).find(|id| waits[*id] > 0) {
        None => Ok(order),
        Some(stuck) => Err(circle(plan, &waits, stuck)),
    }
}

/// Follows needs that never end until a job comes again.
fn circle(plan: &Plan, waits: &[usize], from: JobId) -> Vec<JobId> {
    let mut walk = vec![from];
    loop {
        let last = walk[walk.len() - 1];
        let Some(next) = plan.jobs[last].needs.iter().copied().find(|need| waits[*need] > 0) else {
            return walk;
        };
        if let Some(start) = walk.iter().position(|id| *id == next) {
            walk.push(next);
            return walk.split_off(start);
        }
        walk.push(next);
    }
}

fn spread(plan: &mut Plan, order: &[JobId]) {
    for id in order {
        let mut ancestors = BTreeSet::new();
        for need in &plan.jobs[*id].needs {
            ancestors.insert(*need);
            ancestors.extend(plan.jobs[*need].ancestors.iter().copied());
        }
        plan.jobs[*id].ancestors = ancestors.into_iter().collect();
    }
    let others: Vec<JobId> = (0..plan.jobs.len()).filter(|id| !plan.jobs[*id].finally).collect();
    for job in plan.jobs.iter_mut().filter(|job| job.finally) {
        job.ancestors.extend(&others);
    }
}

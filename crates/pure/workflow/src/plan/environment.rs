//! The variables that a step's Run has: its own, its job's, the Workflow's, and those of the expressions in its script.

use super::{Invalid, JobPlan, Plan, Work};
use crate::script::PREFIX;
use kruntimes_api::limits;
use kruntimes_expressions::Template;
use std::collections::BTreeSet;

type Variables = [(String, Template)];

/// Refuses names that hide values of expressions, and more variables than a Run takes.
pub(super) fn check(plan: &Plan, wrong: &mut Vec<Invalid>) {
    check_names("spec.env", &plan.env, wrong);
    for job in &plan.jobs {
        let path = format!("spec.jobs.{}", job.name);
        check_names(&format!("{path}.env"), &job.env, wrong);
        let Work::Steps { steps, .. } = &job.work else { continue };
        for (index, step) in steps.iter().enumerate() {
            let path = format!("{path}.steps[{index}].env");
            check_names(&path, &step.env, wrong);
            check_count(&path, plan, job, (&step.env, step.script.variables.len()), wrong);
        }
    }
}

fn check_names(path: &str, env: &Variables, wrong: &mut Vec<Invalid>) {
    for (name, _) in env.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let problem = format!(
            "names that begin with {PREFIX} are those of the values of expressions in run: take another"
        );
        wrong.push(Invalid::new(format!("{path}.{name}"), problem));
    }
}

fn check_count(
    path: &str,
    plan: &Plan,
    job: &JobPlan,
    (own, of_script): (&Variables, usize),
    wrong: &mut Vec<Invalid>,
) {
    let all = [&plan.env, &job.env, own].into_iter().flatten();
    let names: BTreeSet<&str> = all.map(|(name, _)| name.as_str()).collect();
    let (count, most) = (names.len() + of_script, limits::ENV_ITEMS as usize);
    if count > most {
        let problem = format!(
            "with those of the Workflow, of the job and of the {of_script} expressions in run the step has {count} variables; there may be {most}"
        );
        wrong.push(Invalid::new(path, problem));
    }
}

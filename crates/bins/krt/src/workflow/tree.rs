//! A Workflow as a tree: its jobs, their legs and steps, each with what it is and how long it took.

use crate::duration;
use crate::table::plain;
use jiff::Timestamp;
use kruntimes_api::{JobPhase, JobStatus, Run, StepStatus, Workflow};
use kruntimes_workflow::Child;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::Duration;

/// Legs of a job that are shown one by one; of more only those that are worth a look.
const LEGS_SHOWN: usize = 16;
/// Characters of a message that a line shows.
const MESSAGE_CHARS: usize = 120;

/// The Runs of a Workflow, by what they are of it.
pub(super) type Runs = BTreeMap<Child, Run>;

/// A tree, line by line.
pub(super) fn lines(workflow: &Workflow, runs: &Runs, now: Timestamp) -> Vec<String> {
    let status = workflow.status.clone().unwrap_or_default();
    let mut tree = Tree { runs, now, lines: Vec::new() };
    let took =
        spent(status.start_time.map(|time| time.0), status.completion_time.map(|time| time.0), now);
    let message = status.message.unwrap_or_default();
    let name = workflow.name_any();
    tree.line("", status_mark(status.phase.as_str()), &name, status.phase.as_str(), took, &message);
    let count = workflow.spec.jobs.len();
    for (index, (name, job)) in workflow.spec.jobs.iter().enumerate() {
        let known = status.jobs.get(name).cloned().unwrap_or_default();
        let order: Vec<&str> = job.steps.iter().map(|step| step.name.as_str()).collect();
        tree.job(name, &known, &order, index + 1 == count);
    }
    tree.lines
}

struct Tree<'a> {
    runs: &'a Runs,
    now: Timestamp,
    lines: Vec<String>,
}

impl Tree<'_> {
    fn line(
        &mut self,
        branch: &str,
        mark: char,
        name: &str,
        phase: &str,
        took: Option<Duration>,
        message: &str,
    ) {
        let mut text = format!("{branch}{mark} {name}  {phase}");
        if let Some(took) = took {
            text.push_str(&format!("  {}", duration::show(took)));
        }
        if !message.is_empty() {
            let short: String = plain(message).chars().take(MESSAGE_CHARS).collect();
            text.push_str(&format!("  {short}"));
        }
        self.lines.push(text);
    }

    fn job(&mut self, name: &str, job: &JobStatus, order: &[&str], is_last: bool) {
        let (branch, below) = branches("", is_last);
        let took = spent(
            job.start_time.as_ref().map(|time| time.0),
            job.completion_time.as_ref().map(|time| time.0),
            self.now,
        );
        let mut message = job.message.clone().unwrap_or_default();
        if let Some(workflow) = &job.workflow_name {
            message = format!("workflow {workflow} {message}");
        }
        if !job.legs.is_empty() {
            message = format!("{} {message}", counted(job));
        }
        self.line(&branch, mark(job.phase), name, job.phase.as_str(), took, message.trim_end());
        self.steps(&below, name, None, &job.steps, order);
        self.legs(&below, name, job, order);
    }

    fn legs(&mut self, below: &str, name: &str, job: &JobStatus, order: &[&str]) {
        let is_worth_it = |phase: JobPhase| {
            matches!(phase, JobPhase::Running | JobPhase::Failed | JobPhase::Cancelled)
        };
        let all = job.legs.len() <= LEGS_SHOWN;
        let shown: Vec<_> = job
            .legs
            .iter()
            .filter(|(_, leg)| all || is_worth_it(leg.phase))
            .take(LEGS_SHOWN)
            .collect();
        let hidden = job.legs.len() - shown.len();
        for (index, (leg_name, leg)) in shown.iter().enumerate() {
            let (branch, below) = branches(below, index + 1 == shown.len() && hidden == 0);
            let message = leg.message.as_deref().unwrap_or_default();
            self.line(&branch, mark(leg.phase), leg_name, leg.phase.as_str(), None, message);
            self.steps(&below, name, Some(leg_name), &leg.steps, order);
        }
        if hidden > 0 {
            self.lines.push(format!("{below}└─ and {hidden} more legs"));
        }
    }

    fn steps(
        &mut self,
        below: &str,
        job: &str,
        leg: Option<&str>,
        steps: &BTreeMap<String, StepStatus>,
        order: &[&str],
    ) {
        let shown: Vec<_> =
            order.iter().filter_map(|name| Some((*name, steps.get(*name)?))).collect();
        for (index, (name, step)) in shown.iter().enumerate() {
            let (branch, _) = branches(below, index + 1 == shown.len());
            let took = self.took(job, leg, name);
            let message = step.message.as_deref().unwrap_or_default();
            self.line(&branch, mark(step.phase), name, step.phase.as_str(), took, message);
        }
    }

    /// How long the Run of a step took, in its newest attempt of the job.
    fn took(&self, job: &str, leg: Option<&str>, step: &str) -> Option<Duration> {
        let of = |child: &&Child| {
            child.job == job && child.leg.as_deref() == leg && child.step.as_deref() == Some(step)
        };
        let run = self.runs.keys().filter(of).max_by_key(|child| child.attempt)?;
        let status = self.runs[run].status.as_ref()?;
        let timeline = status.timeline.as_ref();
        let micro = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime>| {
            time.map(|time| time.0)
        };
        let start = micro(timeline.and_then(|timeline| timeline.received.as_ref()))
            .or(status.start_time.as_ref().map(|time| time.0));
        let end = micro(timeline.and_then(|timeline| timeline.finished.as_ref()))
            .or(status.completion_time.as_ref().map(|time| time.0));
        spent(start, end, self.now)
    }
}

/// How many legs are where.
fn counted(job: &JobStatus) -> String {
    let mut counts: BTreeMap<JobPhase, usize> = BTreeMap::new();
    for leg in job.legs.values() {
        *counts.entry(leg.phase).or_default() += 1;
    }
    let of_each: Vec<String> =
        counts.iter().map(|(phase, count)| format!("{count} {}", phase.as_str())).collect();
    format!("{} legs: {}", job.legs.len(), of_each.join(", "))
}

fn spent(start: Option<Timestamp>, end: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let start = start?;
    Duration::try_from(end.unwrap_or(now).duration_since(start)).ok()
}

/// What stands before a line, and before the lines below it.
fn branches(below: &str, is_last: bool) -> (String, String) {
    if is_last {
        (format!("{below}└─ "), format!("{below}   "))
    } else {
        (format!("{below}├─ "), format!("{below}│  "))
    }
}

fn status_mark(phase: &str) -> char {
    match phase {
        "Succeeded" => '✓',
        "Failed" => '✗',
        "Cancelled" => '⊘',
        "Running" => '●',
        _ => '○',
    }
}

pub(super) fn mark(phase: JobPhase) -> char {
    if phase == JobPhase::Skipped { '-' } else { status_mark(phase.as_str()) }
}

//! The story of a Run on one screen: where its time went, its attempts, why it ended, or what it waits for.

use super::reason;
use super::run::{Facts, Wait};
use crate::duration;
use crate::table::{columns, details, plain};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{AttemptRecord, Phase, Run, RunStatus, Timeline};
use std::time::Duration;

/// Characters of the longest bar.
const BAR: u128 = 24;

/// The whole text, as of `now`.
pub(super) fn tell(facts: &Facts, now: Timestamp) -> String {
    let nothing = RunStatus::default();
    let status = facts.run.status.as_ref().unwrap_or(&nothing);
    let mut text = head(&facts.run, status);
    if let Some(wait) = &facts.wait {
        text += &waiting(wait, status, now);
    }
    text += &timeline(status, now);
    text += &attempts(&status.attempts);
    text += &remedy(status);
    text
}

fn head(run: &Run, status: &RunStatus) -> String {
    let name = run.metadata.name.as_deref().unwrap_or_default();
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    let most = run.spec.retry_policy.as_ref().and_then(|policy| policy.max_attempts).unwrap_or(1);
    let attempt = status.attempt.map(|attempt| format!("{attempt} of {most}"));
    details(&[
        ("Run", format!("{namespace}/{name}, Runtime {}", run.spec.runtime)),
        ("Phase", status.phase.to_string()),
        ("Reason", status.reason.clone().unwrap_or_default()),
        ("Message", plain(status.message.as_deref().unwrap_or_default())),
        ("Exit Code", status.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ("Pod", status.assigned_pod.clone().unwrap_or_default()),
        ("Attempt", attempt.unwrap_or_default()),
    ])
}

fn waiting(wait: &Wait, status: &RunStatus, now: Timestamp) -> String {
    let mut text = format!("\nWhat it waits for:\n{}", reason::wrapped(&plain(&wait.why)));
    if let Some(next) = status.next_attempt_time.as_ref().filter(|next| next.0 > now) {
        let left = duration::show(between(now, next.0).unwrap_or_default());
        text += &format!("  The next attempt may start in {left}.\n");
    }
    if wait.before > 0 {
        let before = runs(wait.before);
        text += &format!("  {before} of its Runtime came before it and may go first.\n");
    }
    let why = wait.why.split(':').next().unwrap_or_default();
    if let Some(remedy) = reason::remedy(why) {
        text += &format!("\nWhat would free it:\n{remedy}");
    }
    if wait.holding > 0 {
        let first = if wait.first.len() < wait.holding { "; the first to end" } else { "" };
        text += &format!("\n{} of its Runtime have a pod{first}:\n", runs(wait.holding));
        let rows: Vec<_> = wait.first.iter().map(|run| holder(run, now)).collect();
        text += &indented(&columns(&["NAME", "POD", "PHASE", "FOR", "ENDS WITHIN"], &rows));
    }
    text
}

fn runs(count: usize) -> String {
    if count == 1 { "1 Run".to_owned() } else { format!("{count} Runs") }
}

fn holder(run: &Run, now: Timestamp) -> Vec<String> {
    let status = run.status.clone().unwrap_or_default();
    let since = start(&status);
    let took = since.and_then(|since| between(since, now)).map(duration::show);
    let left = latest_end(run).map(|end| duration::show(between(now, end).unwrap_or_default()));
    vec![
        run.metadata.name.clone().unwrap_or_default(),
        status.assigned_pod.unwrap_or_default(),
        status.phase.to_string(),
        took.unwrap_or_else(|| "-".to_owned()),
        left.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn start(status: &RunStatus) -> Option<Timestamp> {
    let timeline = status.timeline.as_ref()?;
    let first = timeline.received.as_ref().or(timeline.scheduled.as_ref())?;
    Some(first.0)
}

/// When its timeout ends the attempt of a Run that has a pod.
pub(super) fn latest_end(run: &Run) -> Option<Timestamp> {
    let start = start(run.status.as_ref()?)?;
    let seconds = run.spec.timeout_seconds?;
    start.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
}

/// What happened between two times of a timeline, in order.
const STAGES: [&str; 7] = [
    "on its way to the scheduler",
    "waited for a pod",
    "on its way to the pod",
    "workspace and source made",
    "process started",
    "your command ran",
    "outputs read, end written",
];

fn times(timeline: &Timeline) -> [Option<Timestamp>; 8] {
    let time = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0);
    [
        time(&timeline.submitted),
        time(&timeline.seen),
        time(&timeline.scheduled),
        time(&timeline.received),
        time(&timeline.prepared),
        time(&timeline.started),
        time(&timeline.exited),
        time(&timeline.finished),
    ]
}

/// Stages whose times are known; of a Run that has not ended the one it is in.
fn timeline(status: &RunStatus, now: Timestamp) -> String {
    let Some(timeline) = &status.timeline else { return String::new() };
    let times = times(timeline);
    let known: Vec<(usize, Timestamp)> =
        times.iter().enumerate().filter_map(|(at, time)| Some((at, (*time)?))).collect();
    let mut stages: Vec<(String, Option<Duration>)> = known
        .windows(2)
        .map(|pair| (name(pair[0].0, pair[1].0), between(pair[0].1, pair[1].1)))
        .collect();
    let Some((last, since)) = known.last() else { return String::new() };
    if !status.phase.is_terminal() && *last < STAGES.len() {
        stages.push((format!("{} (so far)", STAGES[*last]), between(*since, now)));
    }
    let total: Duration = stages.iter().filter_map(|(_, took)| *took).sum();
    let attempt = status.attempt.filter(|attempt| *attempt > 1);
    let attempt = attempt.map(|attempt| format!(" of attempt {attempt}")).unwrap_or_default();
    let mut rows: Vec<_> = stages.iter().map(|(name, took)| row(name, *took, total)).collect();
    rows.push(row("in all", Some(total), Duration::ZERO));
    format!("\nWhere the time{attempt} went:\n{}", indented(&lines(&rows)))
}

fn name(from: usize, to: usize) -> String {
    STAGES[from..to].join(", ")
}

fn row(name: &str, took: Option<Duration>, total: Duration) -> [String; 3] {
    let Some(took) = took else {
        return [name.to_owned(), "?".to_owned(), "the clocks of two machines differ".to_owned()];
    };
    let share = took.as_nanos() * BAR / total.as_nanos().max(1);
    let bar = if total.is_zero() { 0 } else { usize::try_from(share).unwrap_or(0) };
    [name.to_owned(), millis(took), "█".repeat(bar)]
}

/// Milliseconds with one digit behind the point below a second.
fn millis(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{}.{} ms", took.as_millis(), took.as_micros() % 1_000 / 100)
    } else {
        duration::show(took)
    }
}

/// Columns without headers, the second one to the right.
fn lines(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (names, times) = (width(0).unwrap_or(0), width(1).unwrap_or(0));
    let line = |[name, took, bar]: &[String; 3]| {
        format!("{}\n", format!("{name:<names$}   {took:>times$}   {bar}").trim_end())
    };
    rows.iter().map(line).collect()
}

fn attempts(attempts: &[AttemptRecord]) -> String {
    if attempts.len() < 2 {
        return String::new();
    }
    let row = |attempt: &AttemptRecord| {
        let (start, end) = (attempt.start_time.as_ref(), attempt.end_time.as_ref());
        let took = start.zip(end).and_then(|(start, end)| between(start.0, end.0));
        vec![
            attempt.number.to_string(),
            attempt.pod.clone().unwrap_or_default(),
            attempt.reason.clone().unwrap_or_default(),
            attempt.exit_code.map(|code| code.to_string()).unwrap_or_default(),
            took.map(millis).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = attempts.iter().map(row).collect();
    let table = columns(&["ATTEMPT", "POD", "REASON", "EXIT CODE", "TOOK"], &rows);
    format!("\nAttempts that ended:\n{}", indented(&table))
}

/// What to do about the reason of a Run that did not succeed.
fn remedy(status: &RunStatus) -> String {
    let failed = status.phase.is_terminal() && status.phase != Phase::Succeeded;
    let reason = status.reason.as_deref().filter(|_| failed);
    let remedy = reason.and_then(reason::remedy);
    remedy.map(|remedy| format!("\nWhat to do:\n{remedy}")).unwrap_or_default()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// None when `to` is before `from`.
fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;

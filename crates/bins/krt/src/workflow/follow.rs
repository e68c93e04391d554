//! Follows a Workflow: a tree that is drawn anew on a terminal, a line for each change elsewhere.

use super::tree::{self, mark};
use super::{Named, show};
use crate::failure::{Failure, NO, chain};
use crate::home::Home;
use crate::progress::{Progress, put};
use crate::run::CANCELLED;
use crate::signals::Signals;
use crate::{duration, objects};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kruntimes_api::{JobPhase, JobStatus, Workflow, WorkflowPhase};
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the times of a tree on a terminal are drawn anew.
const REDRAW: Duration = Duration::from_millis(200);

/// Follows a Workflow that this process has created: the first signal cancels it, the second leaves.
pub(super) async fn follow(
    home: &Home,
    named: &Named,
    signals: &mut Signals,
    progress: &Progress,
) -> Result<u8, Failure> {
    to_the_end(home, named, signals, progress, OnSignal::Cancel).await
}

/// Follows a Workflow: a signal only ends the following.
pub(super) async fn watch(
    home: &Home,
    name: &str,
    signals: &mut Signals,
    progress: &Progress,
) -> Result<u8, Failure> {
    let named = Named { namespace: home.namespace.clone(), name: name.to_owned() };
    let workflow = show::read(home, &named.namespace, name).await?;
    if workflow.is_template() {
        return Err(Failure::new(format!("{name} is a template: it never runs by itself")));
    }
    to_the_end(home, &named, signals, progress, OnSignal::Leave).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnSignal {
    Cancel,
    Leave,
}

async fn to_the_end(
    home: &Home,
    named: &Named,
    signals: &mut Signals,
    progress: &Progress,
    mut on_signal: OnSignal,
) -> Result<u8, Failure> {
    let Named { namespace, name } = named;
    let api: Api<Workflow> = Api::namespaced(home.client.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut screen = Screen::new();
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.try_next() => match event {
                Ok(Some(watcher::Event::Apply(workflow) | watcher::Event::InitApply(workflow))) => {
                    screen.show(workflow);
                    if screen.phase().is_terminal() {
                        break;
                    }
                }
                Ok(Some(watcher::Event::Delete(_)) | None) => {
                    screen.clear();
                    return Err(Failure::new(format!("{name} was deleted")));
                }
                Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
                Err(error) => progress.note(&format!("{name}: {}", chain(&error))),
            },
            () = signals.next() => {
                if on_signal == OnSignal::Leave {
                    screen.clear();
                    return Err(Failure { lines: vec![format!("{name} goes on; its end was not awaited")], code: CANCELLED });
                }
                on_signal = OnSignal::Leave;
                let cancel = json!({"spec": {"cancelRequested": true}});
                objects::patch(&home.client, namespace, super::PLURAL, name, &cancel).await?;
                progress.note(&format!("{name} is being cancelled; once more leaves at once"));
            }
            _ = redraw.tick(), if screen.is_live() => screen.draw(),
        }
    }
    screen.clear();
    let Some(workflow) = screen.last else { return Ok(0) };
    let runs = show::runs(home, namespace, name).await?;
    crate::table::print(&(tree::lines(&workflow, &runs, Timestamp::now()).join("\n") + "\n"))?;
    Ok(match workflow.phase() {
        WorkflowPhase::Succeeded => 0,
        WorkflowPhase::Cancelled => CANCELLED,
        WorkflowPhase::Failed | WorkflowPhase::Pending | WorkflowPhase::Running => NO,
    })
}

/// Where the state is shown.
struct Screen {
    is_terminal: bool,
    drawn: usize,
    last: Option<Workflow>,
}

impl Screen {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), drawn: 0, last: None }
    }

    fn phase(&self) -> WorkflowPhase {
        self.last.as_ref().map_or(WorkflowPhase::Pending, Workflow::phase)
    }

    fn is_live(&self) -> bool {
        self.is_terminal && self.last.is_some()
    }

    fn show(&mut self, workflow: Workflow) {
        if !self.is_terminal {
            let before = self.last.as_ref().map(phases).unwrap_or_default();
            for (place, (phase, text)) in phases(&workflow) {
                if before.get(&place).is_none_or(|(former, _)| *former != phase) {
                    put(&format!("{} {place}  {}{text}\n", mark(phase), phase.as_str()));
                }
            }
        }
        self.last = Some(workflow);
        if self.is_terminal {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let Some(workflow) = &self.last else { return };
        let mut lines = tree::lines(workflow, &BTreeMap::new(), Timestamp::now());
        let most = terminal_lines();
        if lines.len() > most {
            lines.truncate(most.saturating_sub(1));
            lines.push("…".to_owned());
        }
        self.clear();
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.drawn = lines.len();
        put(&text);
    }

    fn clear(&mut self) {
        if self.drawn > 0 {
            // Up to the first line, and all below it erased.
            put(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

/// Lines that a tree may take without scrolling what it can't erase.
fn terminal_lines() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map_or(24, |size| usize::from(size.ws_row)).saturating_sub(1).max(2)
}

/// What has a phase, by `job`, `job/step` or `job/leg`.
fn phases(workflow: &Workflow) -> BTreeMap<String, (JobPhase, String)> {
    let mut all = BTreeMap::new();
    for (name, job) in workflow.status.iter().flat_map(|status| &status.jobs) {
        all.insert(name.clone(), (job.phase, said(job)));
        for (step, status) in &job.steps {
            let message = status.message.as_deref().map(with_colon).unwrap_or_default();
            all.insert(format!("{name}/{step}"), (status.phase, message));
        }
        for (leg, status) in &job.legs {
            let message = status.message.as_deref().map(with_colon).unwrap_or_default();
            all.insert(format!("{name}/{leg}"), (status.phase, message));
        }
    }
    all
}

fn said(job: &JobStatus) -> String {
    let mut text = String::new();
    if let (Some(start), Some(end)) = (&job.start_time, &job.completion_time)
        && let Ok(took) = Duration::try_from(end.0.duration_since(start.0))
    {
        text.push_str(&format!("  {}", duration::show(took)));
    }
    text.push_str(&job.message.as_deref().map(with_colon).unwrap_or_default());
    text
}

fn with_colon(message: &str) -> String {
    format!(": {}", crate::table::plain(message))
}

//! `krt workflow logs`: what the steps wrote, each line with its step before it, from their pods or from the archive when these are gone.

use super::args::LogsArgs;
use super::show;
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::logs::archive;
use crate::output::{Patience, Piece, Reader, Sink, Target, thrown_away};
use crate::progress::Progress;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, Workflow};
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_workflow::{Child, LABEL_WORKFLOW};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// Runs that are read at once.
const AT_ONCE: usize = 16;
/// Lines that wait to be printed.
const QUEUE: usize = 256;
/// A longer line is cut into several.
const LINE_BYTES: usize = 1 << 16;

struct Line {
    stream: i32,
    text: Vec<u8>,
}

/// Prints what the steps wrote.
pub(super) async fn logs(home: &Home, args: &LogsArgs) -> Result<(), Failure> {
    let workflow = show::read(home, &home.namespace, &args.name).await?;
    if let Some(job) = args.job.as_ref().filter(|job| !workflow.spec.jobs.contains_key(*job)) {
        return Err(Failure::usage(format!("{} has no job {job}", args.name)));
    }
    if args.follow && !workflow.phase().is_terminal() {
        return follow(home, args).await;
    }
    let runs = show::runs(home, &home.namespace, &args.name).await?;
    let mut runs: Vec<(Child, Run)> =
        runs.into_iter().filter(|(child, _)| is_wanted(args, child)).collect();
    runs.sort_by_key(|(_, run)| started(run));
    let mut sink = Sink::new();
    for (child, run) in runs {
        let (lines, mut read) = mpsc::channel(QUEUE);
        let reading = read_run(home, child, run, lines);
        let printing = async {
            while let Some(line) = read.recv().await {
                sink.write(line.stream, &line.text).await;
            }
        };
        let (failed, ()) = tokio::join!(reading, printing);
        if let Some(why) = failed {
            Progress::new(false).say(&why);
        }
    }
    Ok(())
}

/// What holds the workspace of a job is no step, and writes nothing.
fn is_wanted(args: &LogsArgs, child: &Child) -> bool {
    child.step.is_some() && args.job.as_ref().is_none_or(|job| *job == child.job)
}

fn started(run: &Run) -> (Option<jiff::Timestamp>, String) {
    let timeline = run.status.as_ref().and_then(|status| status.timeline.as_ref());
    (timeline.and_then(|timeline| timeline.received.as_ref()).map(|time| time.0), run.name_any())
}

/// Reads Runs as they get their pods, until the Workflow has ended and all are read.
async fn follow(home: &Home, args: &LogsArgs) -> Result<(), Failure> {
    let runs: Api<Run> = Api::namespaced(home.client.clone(), &home.namespace);
    let labels = format!("{LABEL_WORKFLOW}={}", args.name);
    let mut runs =
        watcher(runs, watcher::Config::default().labels(&labels)).default_backoff().boxed();
    let workflows: Api<Workflow> = Api::namespaced(home.client.clone(), &home.namespace);
    let own = watcher::Config::default().fields(&format!("metadata.name={}", args.name));
    let mut workflow = watcher(workflows, own).default_backoff().boxed();
    let (lines, mut read) = mpsc::channel::<Line>(QUEUE);
    let mut sink = Sink::new();
    let mut seen: BTreeSet<(String, i32)> = BTreeSet::new();
    let mut waiting: BTreeMap<(String, i32), (Child, Run)> = BTreeMap::new();
    let mut reading = FuturesUnordered::new();
    let mut has_ended = false;
    loop {
        while reading.len() < AT_ONCE
            && let Some((_, (child, run))) = waiting.pop_first()
        {
            reading.push(read_run(home, child, run, lines.clone()));
        }
        if has_ended && reading.is_empty() && waiting.is_empty() {
            break;
        }
        tokio::select! {
            event = runs.try_next() => if let Ok(Some(watcher::Event::Apply(run) | watcher::Event::InitApply(run))) = event {
                let child = Child::of(run.labels()).filter(|child| is_wanted(args, child));
                if let (Some(child), Some(attempt)) = (child, attempt(&run)) {
                    let key = (run.uid().unwrap_or_default(), attempt);
                    if seen.insert(key.clone()) {
                        waiting.insert(key, (child, run));
                    }
                }
            },
            event = workflow.try_next() => match event {
                Ok(Some(watcher::Event::Apply(workflow) | watcher::Event::InitApply(workflow))) => {
                    has_ended = workflow.phase().is_terminal();
                }
                Ok(Some(watcher::Event::Delete(_)) | None) => has_ended = true,
                Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
                Err(error) => Progress::new(false).note(&chain(&error)),
            },
            Some(line) = read.recv() => sink.write(line.stream, &line.text).await,
            Some(done) = reading.next(), if !reading.is_empty() => {
                if let Some(why) = done {
                    Progress::new(false).say(&why);
                }
            }
        }
    }
    drop(lines);
    while let Some(line) = read.recv().await {
        sink.write(line.stream, &line.text).await;
    }
    Ok(())
}

fn pods(home: &Home) -> Api<Pod> {
    Api::namespaced(home.client.clone(), &home.namespace)
}

fn target(run: &Run) -> Option<Target> {
    Target::of(&run.uid()?, run.status.as_ref()?)
}

/// The attempt that there may be something of: one that has a pod, or the last one of a Run that lost its pod.
fn attempt(run: &Run) -> Option<i32> {
    let newest = run.status.as_ref().and_then(|status| status.attempt).unwrap_or(0);
    let is_there = target(run).is_some() || (run.phase().is_terminal() && newest > 0);
    is_there.then_some(newest)
}

/// Reads one Run to its end; the answer is why it could not be read.
async fn read_run(
    home: &Home,
    child: Child,
    run: Run,
    lines: mpsc::Sender<Line>,
) -> Option<String> {
    let attempt = attempt(&run)?;
    let mut prefixed = Prefixed { prefix: prefix(&child), begun: [Vec::new(), Vec::new()], lines };
    let why = match target(&run) {
        Some(target) => of_pod(home, &run, target, &mut prefixed).await,
        None => of_archive(home, &run, attempt, &mut prefixed).await,
    };
    prefixed.finish().await;
    why.map(|why| format!("{}: {why}", run.name_any()))
}

/// The output as its pod has it, or the archive where the pod has it no more.
async fn of_pod(home: &Home, run: &Run, target: Target, prefixed: &mut Prefixed) -> Option<String> {
    let attempt = target.attempt;
    let patience = if run.phase().is_terminal() { Patience::Once } else { Patience::Retry };
    let mut reader = Reader::new(pods(home), target, patience);
    loop {
        match reader.next().await {
            Ok(Some(Piece::Output(bytes))) => prefixed.push(bytes.stream, &bytes.data).await,
            Ok(Some(Piece::Connected)) => {}
            Ok(Some(Piece::Exited(exited))) => return dropped(exited.dropped_bytes),
            Ok(None) => return None,
            Err(error) if error.is_final() && reader.is_at_the_beginning() => {
                return of_archive(home, run, attempt, prefixed).await;
            }
            Err(error) => return Some(error.to_string()),
        }
    }
}

async fn of_archive(
    home: &Home,
    run: &Run,
    attempt: i32,
    prefixed: &mut Prefixed,
) -> Option<String> {
    let mut events = match archive::open(home, run, attempt).await {
        Ok(Ok(events)) => events,
        Ok(Err(why)) => return Some(why),
        Err(failure) => return Some(failure.lines.join("; ")),
    };
    loop {
        match events.message().await {
            Ok(Some(event)) => match event.event {
                Some(Event::Output(output)) => prefixed.push(output.stream, &output.data).await,
                Some(Event::Exited(exited)) => return dropped(exited.dropped_bytes),
                Some(Event::Started(_)) | None => {}
            },
            Ok(None) => return None,
            Err(status) => return Some(status.message().to_owned()),
        }
    }
}

fn dropped(bytes: i64) -> Option<String> {
    (bytes > 0).then(|| thrown_away(bytes))
}

/// `job/step: `, or `job/leg/step: `.
fn prefix(child: &Child) -> String {
    let parts = [Some(&child.job), child.leg.as_ref(), child.step.as_ref()];
    let names: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    format!("{}: ", names.join("/"))
}

/// Cuts pieces into lines, each with its prefix: no line that a Run writes can pass for another step's.
struct Prefixed {
    prefix: String,
    begun: [Vec<u8>; 2],
    lines: mpsc::Sender<Line>,
}

impl Prefixed {
    async fn push(&mut self, stream: i32, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[usize::from(stream != 1)];
            begun.extend_from_slice(piece);
            if begun.ends_with(b"\n") || begun.len() >= LINE_BYTES {
                self.send(stream).await;
            }
        }
    }

    async fn send(&mut self, stream: i32) {
        let text = std::mem::take(&mut self.begun[usize::from(stream != 1)]);
        if text.is_empty() {
            return;
        }
        let mut line = self.prefix.clone().into_bytes();
        line.extend_from_slice(&text);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        // Nobody prints any more: the command ends.
        drop(self.lines.send(Line { stream, text: line }).await);
    }

    async fn finish(&mut self) {
        self.send(1).await;
        self.send(2).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Child, LogsArgs, is_wanted};

    #[test]
    fn steps_of_the_job_are_wanted_and_not_what_holds_its_workspace() {
        let child = |job: &str, step: Option<&str>| Child {
            job: job.to_owned(),
            leg: None,
            step: step.map(str::to_owned),
            attempt: 1,
        };
        let all = LogsArgs { name: "w".to_owned(), job: None, follow: false };
        let one = LogsArgs { job: Some("a".to_owned()), name: "w".to_owned(), follow: false };
        for (child, by_all, by_one) in [
            (child("a", Some("s")), true, true),
            (child("b", Some("s")), true, false),
            (child("a", None), false, false),
        ] {
            assert_eq!(
                [is_wanted(&all, &child), is_wanted(&one, &child)],
                [by_all, by_one],
                "{child:?}"
            );
        }
    }
}

//! `krt workflow logs`: what the steps wrote, each line with its step before it.

use super::args::LogsArgs;
use super::show;
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::output::{Patience, Piece, Reader, Sink, Target, thrown_away};
use crate::progress::Progress;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Run, Workflow};
use kruntimes_workflow::{Child, LABEL_WORKFLOW};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

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
        let reading = read_run(pods(home), child, run, Patience::Once, lines);
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

fn is_wanted(args: &LogsArgs, child: &Child) -> bool {
    args.job.as_ref().is_none_or(|job| *job == child.job)
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
    let mut reading = JoinSet::new();
    let mut has_ended = false;
    loop {
        while reading.len() < AT_ONCE
            && let Some((_, (child, run))) = waiting.pop_first()
        {
            reading.spawn(read_run(pods(home), child, run, Patience::Retry, lines.clone()));
        }
        if has_ended && reading.is_empty() && waiting.is_empty() {
            break;
        }
        tokio::select! {
            event = runs.try_next() => if let Ok(Some(watcher::Event::Apply(run) | watcher::Event::InitApply(run))) = event {
                let child = Child::of(run.labels()).filter(|child| is_wanted(args, child));
                if let (Some(child), Some(Target { run_uid, attempt, .. })) = (child, target(&run)) {
                    let key = (run_uid, attempt);
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
            Some(done) = reading.join_next(), if !reading.is_empty() => {
                if let Ok(Some(why)) = done {
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

/// Reads one Run to its end; the answer is why it could not be read.
async fn read_run(
    pods: Api<Pod>,
    child: Child,
    run: Run,
    patience: Patience,
    lines: mpsc::Sender<Line>,
) -> Option<String> {
    let target = target(&run)?;
    let mut reader = Reader::new(pods, target, patience);
    let mut prefixed = Prefixed { prefix: prefix(&child), begun: [Vec::new(), Vec::new()], lines };
    let why = loop {
        match reader.next().await {
            Ok(Some(Piece::Output(bytes))) => prefixed.push(bytes.stream, &bytes.data).await,
            Ok(Some(Piece::Connected)) => {}
            Ok(Some(Piece::Exited(exited))) => {
                let dropped = Some(exited.dropped_bytes).filter(|bytes| *bytes > 0);
                break dropped.map(thrown_away);
            }
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    prefixed.finish().await;
    why.map(|why| format!("{}: {why}", run.name_any()))
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

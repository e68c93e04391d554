//! Follows a Run: its status by a watch, its output from its pod, and the user's signals, beside each other.

use super::{ending, why};
use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::output::{OutputError, Patience, Piece, Reader, Sink, Target, thrown_away};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{objects, table};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kruntimes_api::{Phase, Run, RunStatus};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::Value;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// A Run that waits says why after this long.
const SAY_WHY: Duration = Duration::from_secs(1);
/// How long a cancelled Run may take to end.
const CANCEL: Duration = Duration::from_secs(3);
/// How long the output may come after the terminal status.
const OUTPUT_END: Duration = Duration::from_secs(2);
/// How long the API server may be away.
const API_SERVER: Duration = Duration::from_secs(60);

type Events = BoxStream<'static, Result<watcher::Event<Run>, watcher::Error>>;

struct Follow<'a> {
    home: &'a Home,
    namespace: String,
    name: String,
    uid: String,
    runtime: String,
    /// The last reason to wait that was said.
    said: String,
    progress: &'a Progress,
    status: RunStatus,
    output: Option<(Target, JoinHandle<Result<(), OutputError>>)>,
}

enum Next {
    Changed(Box<Run>),
    Gone,
    Failed(watcher::Error),
    SayWhy,
    Signal,
    CancelIsLate,
}

/// Follows the created Run to its end; the answer is krt's exit code.
pub(super) async fn follow(
    home: &Home,
    namespace: &str,
    created: &Value,
    signals: &mut Signals,
    progress: &Progress,
) -> Result<u8, Failure> {
    let mut follow = Follow {
        home,
        namespace: namespace.to_owned(),
        name: table::text(created, "/metadata/name"),
        uid: table::text(created, "/metadata/uid"),
        runtime: table::text(created, "/spec/runtime"),
        said: String::new(),
        progress,
        status: RunStatus::default(),
        output: None,
    };
    let end = follow.watch(signals).await;
    progress.hush();
    if let Err(failure) = end {
        follow.stop_output();
        return Err(failure);
    }
    follow.finish_output().await;
    if let Some(line) = ending::line(&follow.name, &follow.status) {
        progress.say(&line);
    }
    Ok(ending::exit_code(&follow.status))
}

impl Follow<'_> {
    async fn watch(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        let runs: Api<Run> = Api::namespaced(self.home.client.clone(), &self.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events: Events = watcher(runs, config).default_backoff().boxed();
        let mut listed = false;
        let mut say_why = Some(Instant::now() + SAY_WHY);
        let mut cancelled: Option<Instant> = None;
        let mut lost: Option<Instant> = None;
        self.progress.stage(&format!("{} is created", self.name));
        loop {
            let next = tokio::select! {
                event = next_change(&mut events, &mut listed) => event,
                () = at(say_why) => Next::SayWhy,
                () = signals.next() => Next::Signal,
                () = at(cancelled.map(|since| since + CANCEL)) => Next::CancelIsLate,
            };
            match next {
                Next::Changed(run) => {
                    lost = None;
                    if self.update(*run)? {
                        return Ok(());
                    }
                    if say_why.is_none() && why::told(&self.status).is_some() {
                        self.say_why().await;
                    }
                }
                Next::Gone => return Err(Failure::new(format!("{} was deleted", self.name))),
                Next::Failed(error) => {
                    let since = *lost.get_or_insert_with(Instant::now);
                    if is_final(&error) || since.elapsed() >= API_SERVER {
                        return Err(Failure::new(format!(
                            "can't follow {}: {}",
                            self.name,
                            chain(&error)
                        )));
                    }
                }
                Next::SayWhy => {
                    say_why = None;
                    self.say_why().await;
                }
                Next::Signal if cancelled.is_none() => {
                    cancelled = Some(Instant::now());
                    self.cancel().await?;
                }
                Next::Signal => {
                    return Err(left(format!(
                        "{} was asked to cancel; its end was not awaited",
                        self.name
                    )));
                }
                Next::CancelIsLate => {
                    return Err(left(format!(
                        "{} was asked to cancel and has not ended after 3 s",
                        self.name
                    )));
                }
            }
        }
    }

    /// Takes a new state of the Run; true at its end.
    fn update(&mut self, run: Run) -> Result<bool, Failure> {
        if run.uid().is_some_and(|uid| uid != self.uid) {
            return Err(Failure::new(format!("{} was deleted and made anew", self.name)));
        }
        let status = run.status.unwrap_or_default();
        if let Some(target) = Target::of(&self.uid, &status)
            && self.output.as_ref().is_none_or(|(current, _)| *current != target)
        {
            self.start_output(target);
        }
        if status.phase != self.status.phase {
            let pod = status.assigned_pod.as_deref().unwrap_or_default();
            match status.phase {
                Phase::Scheduled => {
                    self.progress.stage(&format!("{} is scheduled on {pod}", self.name))
                }
                Phase::Running => self.progress.stage(&format!("{} runs on {pod}", self.name)),
                Phase::Pending => self.progress.stage(&format!("{} waits", self.name)),
                Phase::Succeeded | Phase::Failed | Phase::Timeout | Phase::Cancelled => {}
            }
        }
        self.status = status;
        Ok(self.status.phase.is_terminal())
    }

    /// Follows the output of a new attempt, after what is left of the one before.
    fn start_output(&mut self, target: Target) {
        let before = self.output.take().map(|(_, task)| task);
        let pods = Api::namespaced(self.home.client.clone(), &self.namespace);
        let reader = Reader::new(pods, target.clone(), Patience::Retry);
        let progress = self.progress.clone();
        let task = tokio::spawn(async move {
            if let Some(mut before) = before
                && timeout(OUTPUT_END, &mut before).await.is_err()
            {
                before.abort();
            }
            print(reader, progress).await
        });
        self.output = Some((target, task));
    }

    fn stop_output(&mut self) {
        if let Some((_, task)) = self.output.take() {
            task.abort();
        }
    }

    /// Lets the output come to its end, for a bounded time.
    async fn finish_output(&mut self) {
        let Some((_, mut task)) = self.output.take() else { return };
        match timeout(OUTPUT_END, &mut task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => self.progress.say(&format!("{}: {error}", self.name)),
            Ok(Err(error)) => self.progress.note(&format!("{}: {error}", self.name)),
            Err(_) => {
                task.abort();
                if self.status.timeline.as_ref().is_some_and(|timeline| timeline.started.is_some())
                {
                    self.progress
                        .note(&format!("{}: the end of its output did not come", self.name));
                }
            }
        }
    }

    async fn cancel(&self) -> Result<(), Failure> {
        self.progress.note(&format!("{} is being cancelled; once more leaves at once", self.name));
        match timeout(CANCEL, objects::cancel(&self.home.client, &self.namespace, &self.name)).await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let failure = Failure::from(error);
                Err(left(format!("can't cancel {}: {}", self.name, failure.lines.join("; "))))
            }
            Err(_) => {
                Err(left(format!("can't cancel {}: the API server does not answer", self.name)))
            }
        }
    }

    /// Says why the Run waits, once for each reason.
    async fn say_why(&mut self) {
        if self.status.phase != Phase::Pending {
            return;
        }
        let (client, status) = (&self.home.client, Some(&self.status));
        let why = why::waits_for(client, &self.namespace, &self.runtime, status).await;
        let reason = why.split(':').next().unwrap_or_default();
        if self.said != reason {
            self.progress.note(&format!("{} waits: {why}", self.name));
            self.said = reason.to_owned();
        }
    }
}

fn left(line: String) -> Failure {
    Failure { lines: vec![line], code: ending::CANCELLED }
}

/// The next state of the Run.
async fn next_change(events: &mut Events, listed: &mut bool) -> Next {
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Apply(run) | watcher::Event::InitApply(run))) => {
                *listed = true;
                return Next::Changed(Box::new(run));
            }
            Ok(Some(watcher::Event::Init)) => *listed = false,
            Ok(Some(watcher::Event::InitDone)) if *listed => {}
            Ok(Some(watcher::Event::InitDone | watcher::Event::Delete(_)) | None) => {
                return Next::Gone;
            }
            Err(error) => return Next::Failed(error),
        }
    }
}

/// Errors that another try can't mend.
fn is_final(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return false,
    };
    matches!(code, 401 | 403)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Prints the output of one attempt as it comes.
async fn print(mut reader: Reader, progress: Progress) -> Result<(), OutputError> {
    let mut sink = Sink::new();
    while let Some(piece) = reader.next().await? {
        match piece {
            Piece::Output(bytes) => {
                progress.hush();
                sink.write(bytes.stream, &bytes.data).await;
            }
            Piece::Exited(exited) if exited.dropped_bytes > 0 => {
                progress.hush();
                progress.say(&thrown_away(exited.dropped_bytes));
            }
            Piece::Exited(_) | Piece::Connected => {}
        }
    }
    Ok(())
}

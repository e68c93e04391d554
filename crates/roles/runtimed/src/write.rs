//! The three kinds of status writes, sent until the API server has answered.

use crate::clock::Clock;
use kruntimes_api::{Phase, Run, Timeline};
use kruntimes_cluster::events::Recorder;
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::run::outcome::Outcome;
use kube::Api;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The last write of an attempt.
#[derive(Debug)]
pub(crate) enum Final {
    Terminal(Outcome, Timeline),
    Retry(Outcome, Timeline),
    HandBack(String),
}

/// Writes phase Running, unless the attempt ends before it is accepted. False when somebody else owns the Run.
pub(crate) async fn running(
    runs: &Api<Run>,
    run: &Run,
    timeline: &Timeline,
    clock: Clock,
    ending: &AtomicBool,
    recorder: &Recorder,
) -> bool {
    // An earlier life of this runtimed, or the keeping of artifacts, has written it.
    if run.phase() == Phase::Running {
        return true;
    }
    let mut pause = FIRST_PAUSE;
    while !ending.load(Ordering::Relaxed) {
        let sent = timeout(ANSWER_WITHIN, status::running(runs, run, timeline, clock.now())).await;
        match sent.map_err(|_| ()) {
            Err(()) => tracing::warn!("phase Running was not answered"),
            Ok(Ok(after)) => {
                recorder.changed(run, &after);
                return true;
            }
            Ok(Err(WriteError::Illegal { .. })) => return true,
            // The end may have overtaken this write: then the Run was ours until its end.
            Ok(Err(WriteError::Stale(_) | WriteError::Gone(_))) => {
                return ending.load(Ordering::Relaxed);
            }
            Ok(Err(WriteError::Failed(error))) => {
                tracing::warn!(error = %Chain(&error), "phase Running could not be written");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    true
}

/// Writes the end of an attempt, until it is accepted or somebody else owns the Run. `gone` says that the watch has shown
/// so: then an answer of any kind is enough.
pub(crate) async fn last(
    runs: &Api<Run>,
    run: &Run,
    last: &Final,
    clock: Clock,
    gone: &AtomicBool,
    recorder: &Recorder,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let sent = timeout(ANSWER_WITHIN, send(runs, run, last, clock)).await;
        match sent.map_err(|_| ()) {
            Err(()) => tracing::warn!("the end of an attempt was not answered"),
            Ok(Ok(after)) => return recorder.changed(run, &after),
            Ok(Err(WriteError::Failed(error))) => {
                tracing::warn!(error = %Chain(&error), "the end of an attempt could not be written");
            }
            Ok(Err(
                error @ (WriteError::Stale(_) | WriteError::Gone(_) | WriteError::Illegal { .. }),
            )) => {
                tracing::info!(error = %Chain(&error), "the Run is not this pod's any more");
                return;
            }
        }
        if gone.load(Ordering::Relaxed) {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn send(runs: &Api<Run>, run: &Run, last: &Final, clock: Clock) -> Result<Run, WriteError> {
    let now = clock.now();
    match last {
        Final::Terminal(outcome, timeline) => {
            status::finish(runs, run, outcome, timeline, now).await
        }
        Final::Retry(outcome, timeline) => status::retry(runs, run, outcome, timeline, now).await,
        Final::HandBack(message) => status::hand_back(runs, run, message, now).await,
    }
}

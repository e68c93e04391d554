//! The three kinds of status writes, sent until the API server has answered.

use crate::clock::Clock;
use kruntimes_api::{Run, Timeline};
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::run::outcome::Outcome;
use kube::Api;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
) -> bool {
    let mut pause = FIRST_PAUSE;
    while !ending.load(Ordering::Relaxed) {
        match status::running(runs, run, timeline, clock.now()).await {
            Ok(_) | Err(WriteError::Illegal { .. }) => return true,
            // The end may have overtaken this write: then the Run was ours until its end.
            Err(WriteError::Stale(_) | WriteError::Gone(_)) => {
                return ending.load(Ordering::Relaxed);
            }
            Err(WriteError::Failed(error)) => {
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
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let now = clock.now();
        let sent = match last {
            Final::Terminal(outcome, timeline) => {
                status::finish(runs, run, outcome, timeline, now).await
            }
            Final::Retry(outcome, timeline) => {
                status::retry(runs, run, outcome, timeline, now).await
            }
            Final::HandBack(message) => status::hand_back(runs, run, message, now).await,
        };
        match sent {
            Ok(_) => return,
            Err(WriteError::Failed(error)) => {
                tracing::warn!(error = %Chain(&error), "the end of an attempt could not be written");
            }
            Err(
                error @ (WriteError::Stale(_) | WriteError::Gone(_) | WriteError::Illegal { .. }),
            ) => {
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

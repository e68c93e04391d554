//! The scheduler: binds pending Runs to ready pods of their Runtime.
//!
//! Watches feed a board (`rules::placement`), the board decides, writes run beside the loop and report back.

mod metrics;
mod observe;
mod write;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kruntimes_api::names;
use kruntimes_cluster::events::{self, Recorder};
use kruntimes_daemon::Shutdown;
use kruntimes_rules::placement::Board;
use kruntimes_rules::run::phase::Writer;
use kube::Client;
use observe::{Input, Watches};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Status writes under way at once.
const WRITES_IN_FLIGHT: usize = 256;
/// Observations that wait for the loop; beyond it the watches wait.
const EVENT_QUEUE: usize = 4096;

pub use metrics::Metrics;

/// What the scheduler needs to know.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What it counts.
    pub metrics: Metrics,
    /// This process, as its Events name it.
    pub instance: String,
}

/// Runs the scheduler until `shutdown`. It never gives up on an API server that does not answer.
pub async fn serve(config: Config, client: Client, mut shutdown: Shutdown) {
    let (sender, inputs) = mpsc::channel(EVENT_QUEUE);
    let watches = observe::run(&client, sender);
    let (recorder, recording) =
        events::recorder(client.clone(), Writer::Scheduler, names::SCHEDULER, config.instance);
    tokio::select! {
        () = shutdown.wait() => {}
        () = watches => {}
        () = recording.run() => {}
        () = run(client.clone(), inputs, &config.metrics, &recorder) => {}
    }
}

async fn run(
    client: Client,
    mut events: mpsc::Receiver<Input>,
    metrics: &Metrics,
    recorder: &Recorder,
) {
    let started = Instant::now();
    let mut board = Board::default();
    let mut watches = Watches::default();
    let mut writes: FuturesUnordered<_> = FuturesUnordered::new();
    let mut inputs = Vec::with_capacity(64);
    loop {
        let deadline = board.deadline().filter(|_| watches.all_synced());
        tokio::select! {
            received = events.recv_many(&mut inputs, 64) => {
                if received == 0 {
                    return;
                }
                for input in inputs.drain(..) {
                    watches.apply(input, &mut board, started.elapsed(), Timestamp::now());
                }
            }
            Some(written) = writes.next(), if !writes.is_empty() => {
                let now = Timestamp::now();
                write::count(metrics, &written, now);
                written.tell(recorder);
                write::feed_back(&mut board, written, started.elapsed(), now);
            }
            () = at(started, deadline), if deadline.is_some() => {}
        }
        if watches.all_synced() {
            let budget = WRITES_IN_FLIGHT.saturating_sub(writes.len());
            for decision in board.decide(started.elapsed(), Timestamp::now(), budget) {
                writes.push(write::perform(client.clone(), decision));
            }
        }
    }
}

async fn at(started: Instant, deadline: Option<Duration>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until((started + deadline).into()).await;
    }
}

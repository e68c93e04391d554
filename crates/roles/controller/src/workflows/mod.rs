//! Workflows: each is taken up from its status and its children, and goes on with every event of either.
//!
//! A step's end starts the next at once; the status follows behind, as a record for people and for restarts. Children are
//! matched by owner UID, never by name alone.

mod clock;
mod collect;
mod work;

use crate::observe::{EVENT_QUEUE, wait_until};
use clock::Clock;
use kruntimes_api::{Run, Workflow};
use kruntimes_cluster::watch::{Observed, forward};
use kruntimes_rules::retention::Policy;
use kruntimes_workflow::LABEL_WORKFLOW;
use kruntimes_workflow::keep::Keep;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::mpsc;
use tokio::time::sleep;
use work::Work;

/// What the watches show.
#[derive(Debug)]
enum Input {
    Workflow(Box<Observed<Workflow>>),
    Run(Box<Observed<Run>>),
}

/// Keeps all Workflows going, for ever.
pub(crate) async fn run(client: Client, policy: Policy) {
    let (sender, inputs) = mpsc::channel(EVENT_QUEUE);
    let workflows = forward(
        Api::<_>::all(client.clone()),
        watcher::Config::default(),
        sender.clone(),
        |seen: Observed<Workflow>| Input::Workflow(Box::new(seen)),
    );
    let runs = forward(
        Api::<_>::all(client.clone()),
        watcher::Config::default().labels(LABEL_WORKFLOW),
        sender,
        |seen: Observed<Run>| Input::Run(Box::new(seen)),
    );
    tokio::join!(workflows, runs, keep(client.clone(), inputs), collect::run(client, policy));
}

async fn keep(client: Client, mut inputs: mpsc::Receiver<Input>) {
    let (mut keep, mut work, clock) = (Keep::default(), Work::new(client), Clock::start());
    loop {
        let wait = keep.deadline().map(|at| wait_until(at, clock.now()));
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => take(&mut keep, input, &clock),
                None => return,
            },
            (whose, done) = work.next() => keep.done(whose, done, clock.now()),
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        while let Ok(input) = inputs.try_recv() {
            take(&mut keep, input, &clock);
        }
        for (whose, request) in keep.advance(clock.now()) {
            work.send(whose, request);
        }
    }
}

fn take(keep: &mut Keep, input: Input, clock: &Clock) {
    match input {
        Input::Workflow(observed) => keep.workflow_seen(*observed, clock.now()),
        Input::Run(observed) => keep.run_seen(*observed),
    }
}

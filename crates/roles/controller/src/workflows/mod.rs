//! Workflows: each is taken up from its status and its children, and goes on with every event of either.
//!
//! A step's end starts the next at once; the status follows behind, as a record for people and for restarts. Children are
//! matched by owner UID, never by name alone.

mod answers;
mod cache;
mod collect;
mod flow;
mod keep;
mod work;

use crate::observe::{EVENT_QUEUE, wait_until};
use cache::ChildSeen;
use jiff::Timestamp;
use keep::Keep;
use kruntimes_api::{Run, Workflow};
use kruntimes_cluster::watch::{Observed, forward};
use kruntimes_rules::retention::Policy;
use kruntimes_workflow::LABEL_WORKFLOW;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// What the watches show.
#[derive(Debug)]
pub(crate) enum Input {
    Workflow(Box<Observed<Workflow>>),
    Child(ChildSeen),
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
        |seen: Observed<Run>| Input::Child(ChildSeen::of_run(seen)),
    );
    tokio::join!(workflows, runs, keep(client.clone(), inputs), collect::run(client, policy));
}

async fn keep(client: Client, mut inputs: mpsc::Receiver<Input>) {
    let mut keep = Keep::new(client);
    loop {
        let wait = keep.deadline().map(|at| wait_until(at, Timestamp::now()));
        tokio::select! {
            input = inputs.recv() => match input {
                Some(input) => keep.take(input),
                None => return,
            },
            done = keep.work.next() => keep.done(done),
            key = keep.retries.next() => keep.try_again(key),
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        while let Ok(input) = inputs.try_recv() {
            keep.take(input);
        }
        keep.advance(Timestamp::now());
    }
}

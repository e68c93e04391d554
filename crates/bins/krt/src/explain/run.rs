//! What is to be known of a Run before its story is told.

use super::story::latest_end;
use crate::failure::Failure;
use crate::home::Home;
use crate::objects;
use crate::run::waits_for;
use jiff::Timestamp;
use kruntimes_api::{Phase, Run};
use kube::Api;
use serde_json::Value;

/// Runs that are shown of those that hold the slots.
const SHOWN: usize = 5;

/// A Run with what it waits for.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) run: Run,
    /// Of a Run that is Pending.
    pub(super) wait: Option<Wait>,
}

/// Why a Run is Pending.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// `Reason: message`.
    pub(super) why: String,
    /// Runs of its Runtime that are Pending too and were created before it.
    pub(super) before: usize,
    /// Those that have a pod: how many, and a few that end first at the latest.
    pub(super) holding: usize,
    pub(super) first: Vec<Run>,
}

/// Asks the API server.
pub(super) async fn gather(home: &Home, name: &str) -> Result<Facts, Failure> {
    let runs: Api<Run> = Api::namespaced(home.client.clone(), &home.namespace);
    let run = runs.get(name).await?;
    let wait = match run.phase() {
        Phase::Pending => Some(wait(home, &run).await?),
        Phase::Scheduled
        | Phase::Running
        | Phase::Succeeded
        | Phase::Failed
        | Phase::Timeout
        | Phase::Cancelled => None,
    };
    Ok(Facts { run, wait })
}

async fn wait(home: &Home, run: &Run) -> Result<Wait, Failure> {
    let why =
        waits_for(&home.client, &home.namespace, &run.spec.runtime, run.status.as_ref()).await;
    let mut wait = Wait { why, ..Wait::default() };
    let created = run.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string());
    each(home, run, Phase::Pending, |other| {
        let time = crate::table::text(&other, "/metadata/creationTimestamp");
        wait.before += usize::from(created.as_ref().is_some_and(|created| time < *created));
    })
    .await?;
    let mut holders: Vec<Run> = Vec::new();
    for phase in [Phase::Scheduled, Phase::Running] {
        each(home, run, phase, |other| {
            wait.holding += 1;
            // One that can't be read holds its slot all the same.
            if let Ok(other) = serde_json::from_value(other) {
                holders.push(other);
                holders.sort_by_key(|run| latest_end(run).unwrap_or(Timestamp::MAX));
                holders.truncate(SHOWN);
            }
        })
        .await?;
    }
    wait.first = holders;
    Ok(wait)
}

/// Each Run of the same Runtime in a phase.
async fn each(
    home: &Home,
    run: &Run,
    phase: Phase,
    take: impl FnMut(Value),
) -> Result<(), Failure> {
    let fields = format!("spec.runtime={},status.phase={}", run.spec.runtime, phase.as_str());
    objects::for_each(&home.client, Some(&home.namespace), "runs", Some(&fields), take).await?;
    Ok(())
}

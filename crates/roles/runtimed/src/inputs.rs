//! Artifacts of earlier Runs on their way into a workspace: from the store of this pod's Runtime alone, for which it has the
//! credentials (ADR 8).

use crate::artifacts::Artifacts;
use crate::execute;
use crate::pod::Pod;
use crate::source::Stop;
use crate::workspace::{Place as Workplace, PrepareError};
use kruntimes_api::{Reason, Run};
use kruntimes_artifacts::{Inputs, Place, PutError, Stop as Halt};
use kruntimes_cluster::watch::Chain;
use kruntimes_rules::artifact::input::{InputFailure, Wanted, resolve};
use kruntimes_rules::artifact::shown;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// Workspaces that inputs are put into at once: each takes a thread, and a mebibyte of an object.
const AT_ONCE: usize = 4;
/// All inputs of one attempt.
const PUT_WITHIN: Duration = Duration::from_mins(30);
/// How long an API server that does not answer is asked for the earlier Runs.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// Why an input is not there: a sentence for the status of its Run.
#[derive(Debug, Error)]
pub(crate) enum InputError {
    #[error(transparent)]
    Refused(#[from] InputFailure),
    #[error("spec.inputs[{index}] ({name}): {source}")]
    Put { index: usize, name: String, source: PutError },
    #[error("spec.inputs: the earlier Runs can't be read: {0}")]
    Unread(String),
    #[error("spec.inputs: not all of them came within {} minutes", PUT_WITHIN.as_secs() / 60)]
    Late,
    #[error("spec.inputs: not wanted any more")]
    Stopped,
}

impl InputError {
    /// The reason of an attempt that ends with this.
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Refused(failure) => failure.why.reason(),
            Self::Put { source, .. } => match source {
                PutError::Path(_) | PutError::Hostile(_) => Reason::InputInvalid,
                PutError::TooLarge { .. } => Reason::DiskLimit,
                PutError::Broken(_)
                | PutError::Store(_)
                | PutError::Disk(_)
                | PutError::Stopped => Reason::InputUnavailable,
            },
            Self::Unread(_) | Self::Late | Self::Stopped => Reason::InputUnavailable,
        }
    }
}

/// How many inputs are under way in this pod.
#[derive(Debug)]
pub(crate) struct Slots(Semaphore);

impl Slots {
    pub(crate) const fn new() -> Self {
        Self(Semaphore::const_new(AT_ONCE))
    }
}

/// What the inputs of a Run are, as the API server has the earlier Runs now.
pub(crate) async fn find(pod: &Pod, run: &Run, stop: &Stop) -> Result<Vec<Wanted>, InputError> {
    let mut earlier: BTreeMap<&str, Option<Run>> = BTreeMap::new();
    for name in run.spec.inputs.iter().filter_map(|input| input.from_run.as_deref()) {
        if !earlier.contains_key(name) {
            earlier.insert(name, read(pod, name, stop).await?);
        }
    }
    let store = pod.artifacts.as_ref().map(|artifacts| &artifacts.named);
    let resolved = run.spec.inputs.iter().enumerate().map(|(index, input)| {
        let from = input.from_run.as_deref().and_then(|name| earlier.get(name)?.as_ref());
        resolve(run, index, input, from, store)
    });
    Ok(resolved.collect::<Result<_, _>>()?)
}

async fn read(pod: &Pod, name: &str, stop: &Stop) -> Result<Option<Run>, InputError> {
    let until = Instant::now() + FOUND_WITHIN;
    loop {
        let found = tokio::select! {
            found = pod.runs.get_opt(name) => found,
            () = stop.wait() => return Err(InputError::Stopped),
        };
        match found {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= until => {
                return Err(InputError::Unread(Chain(&error).to_string()));
            }
            Err(error) => {
                tracing::warn!(name, error = %Chain(&error), "an earlier Run can't be read")
            }
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.wait() => return Err(InputError::Stopped),
        }
    }
}

/// Puts all of them into the working directory, which was made just now. Nothing of it runs any more when this returns.
pub(crate) async fn put(
    pod: Arc<Pod>,
    place: Workplace,
    run: Arc<Run>,
    wanted: Vec<Wanted>,
    stop: &Stop,
) -> Result<(), PrepareError> {
    let Some(artifacts) = pod.artifacts.clone() else { return Ok(()) };
    let slots = Arc::clone(&pod.inputs);
    let _slot = tokio::select! {
        slot = slots.0.acquire() => slot,
        () = stop.wait() => return Err(InputError::Stopped.into()),
    };
    let halt = Halt::default();
    let until = Instant::now() + PUT_WITHIN;
    let given_up = halt.or(move || Instant::now() >= until);
    let work = move || {
        let put = put_all(&pod, &place, &run, &artifacts, wanted, &given_up);
        match put {
            Err(PrepareError::Input(InputError::Put { source: PutError::Stopped, .. }))
                if Instant::now() >= until =>
            {
                Err(InputError::Late.into())
            }
            put => put,
        }
    };
    let mut putting = spawn_blocking(work);
    let ended = tokio::select! {
        ended = &mut putting => ended,
        () = stop.wait() => {
            halt.fire();
            putting.await
        }
    };
    ended.unwrap_or_else(|error| {
        Err(PrepareError::Io { what: "inputs", source: std::io::Error::other(error) })
    })
}

fn put_all(
    pod: &Pod,
    place: &Workplace,
    run: &Run,
    artifacts: &Artifacts,
    wanted: Vec<Wanted>,
    stop: &Halt,
) -> Result<(), PrepareError> {
    let directory = pod.workspaces.open_working(place)?;
    let disk = execute::bounds(run, pod.run_limits).disk;
    let mut inputs = Inputs::within(disk.unwrap_or(u64::MAX));
    let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
    for Wanted { index, run_uid, artifact, path } in wanted {
        let opened = artifacts.store.open(Place::of(namespace, &run_uid), &artifact.name, stop);
        let put = opened
            .map_err(
                |error| if stop.is_fired() { PutError::Stopped } else { PutError::Store(error) },
            )
            .and_then(|opened| inputs.put(opened, &artifact, &directory, &path, stop));
        put.map_err(|source| InputError::Put {
            index,
            name: shown(artifact.name.as_bytes()),
            source,
        })?;
    }
    Ok(())
}

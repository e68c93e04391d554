//! The artifacts of a Run that succeeded: from its workspace into the store of its Runtime.
//!
//! Invariant: nothing is kept before the Run's status names the store and its finalizer is seen: from then on what is kept
//! is removed when the Run is deleted, whatever happens here. Nothing is kept any more when [`keep`] has returned.

use crate::clock::Clock;
use crate::pod::Pod;
use futures::{FutureExt, StreamExt, TryFutureExt, stream};
use kruntimes_api::{ArtifactRef, ArtifactStore, Reason, Run, Timeline};
use kruntimes_artifacts::{Found, KeepError, Place, Stop, Store, survey};
use kruntimes_cluster::status::{self, WriteError};
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::crash;
use kruntimes_rules::artifact;
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the controller may take to set the finalizer.
const GUARDED_WITHIN: Duration = Duration::from_secs(60);
/// Artifacts of a Run that are kept at once.
const AT_ONCE: usize = 4;
/// How often a store is tried that fails, and how long it is left alone between.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
/// What a store gets to remove what is not kept after all.
const TIDIED_WITHIN: Duration = Duration::from_secs(10);
/// All tries together; less than the attempt waits for them.
const KEPT_WITHIN: Duration = Duration::from_mins(50);

/// Where the artifacts of this pod's Runs go.
#[derive(Debug, Clone)]
pub(crate) struct Artifacts {
    /// As the Runtime says it.
    pub(crate) named: ArtifactStore,
    pub(crate) store: Store,
}

/// Has the keeping of one attempt end, and tells it what the watch shows.
#[derive(Debug)]
pub(crate) struct Keeping {
    stop: Stop,
    stopped: watch::Sender<bool>,
    guarded: watch::Sender<bool>,
}

impl Keeping {
    /// Nothing is kept while the pod's Lease is not held: another attempt may keep its own under the same names.
    pub(crate) fn under_lease_of(pod: &Arc<Pod>) -> Self {
        let pod = Arc::clone(pod);
        Self {
            stop: Stop::unless(move || pod.lease.is_held()),
            stopped: watch::Sender::new(false),
            guarded: watch::Sender::new(false),
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.fire();
        self.stopped.send_replace(true);
    }

    /// The watch shows the Run like this.
    pub(crate) fn seen(&self, run: &Run, artifacts: &Artifacts) {
        self.guarded.send_replace(artifact::is_guarded(run, &artifacts.named));
    }
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) pod: Arc<Pod>,
    pub(crate) uid: String,
    pub(crate) run: Arc<Run>,
    pub(crate) timeline: Timeline,
    pub(crate) clock: Clock,
    pub(crate) keeping: Arc<Keeping>,
}

type Refused = (Reason, String);

fn failed(why: &str) -> Refused {
    (Reason::ArtifactStoreFailed, why.to_owned())
}

/// Keeps all of them, or none.
pub(crate) async fn keep(job: Job, artifacts: &Artifacts) -> Result<Vec<ArtifactRef>, Refused> {
    let (pod, uid) = (Arc::clone(&job.pod), job.uid.clone());
    let looked = spawn_blocking(move || {
        let Some(directory) = pod.workspaces.open_artifacts(&uid)? else { return Ok(None) };
        survey(&directory).map(|found| Some((directory, found)))
    });
    let Some((directory, found)) = looked.await.map_err(crashed)?.map_err(invalid)? else {
        return Ok(Vec::new());
    };
    if found.is_empty() {
        return Ok(Vec::new());
    }
    crash::point("runtimed-keeping");
    job.name_the_store(&artifacts.named).await?;
    job.until_guarded().await?;
    crash::point("runtimed-guarded");
    let kept = job.keep_in(artifacts, Arc::new(directory), found).await;
    crash::point("runtimed-kept");
    kept
}

impl Job {
    fn is_stopped(&self) -> bool {
        *self.keeping.stopped.borrow()
    }

    async fn stopped(&self) {
        // The sender lives as long as this.
        drop(self.keeping.stopped.subscribe().wait_for(|stopped| *stopped).await);
    }

    /// Writes the store into the status: from then on the controller sees that there is something to guard.
    async fn name_the_store(&self, store: &ArtifactStore) -> Result<(), Refused> {
        let (runs, run) = (&self.pod.runs, &self.run);
        let mut pause = FIRST_PAUSE;
        while !self.is_stopped() {
            let writing = status::keeping(runs, run, store, &self.timeline, self.clock.now());
            match timeout(ANSWER_WITHIN, writing).await {
                Ok(Ok(after)) => {
                    self.pod.recorder.changed(run, &after);
                    return Ok(());
                }
                Err(_) => tracing::warn!("the artifact store in the status was not answered"),
                Ok(Err(WriteError::Failed(error))) => {
                    tracing::warn!(error = %Chain(&error), "the artifact store can't be written into the status");
                }
                Ok(Err(error)) => {
                    tracing::info!(error = %Chain(&error), "the Run is not this pod's any more");
                    return Err(failed("the Run is not this pod's any more"));
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stopped() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(failed("stopped"))
    }

    async fn until_guarded(&self) -> Result<(), Refused> {
        let mut guarded = self.keeping.guarded.subscribe();
        tokio::select! {
            // The sender lives as long as this.
            _ = guarded.wait_for(|guarded| *guarded) => Ok(()),
            () = self.stopped() => Err(failed("stopped")),
            () = sleep(GUARDED_WITHIN) => Err(failed(
                "the controller has not set the finalizer of the Run within 60 s: see whether it runs",
            )),
        }
    }

    async fn keep_in(
        &self,
        artifacts: &Artifacts,
        directory: Arc<OwnedFd>,
        found: Vec<Found>,
    ) -> Result<Vec<ArtifactRef>, Refused> {
        let (mut tries, until) = (1, Instant::now() + KEPT_WITHIN);
        loop {
            tokio::select! {
                () = self.pod.lease.held() => {}
                () = self.stopped() => return Err(failed("stopped")),
            }
            // What an earlier attempt kept is not referred to any more.
            let kept = match self.remove(artifacts, self.keeping.stop.clone()).await {
                Ok(()) => self.try_all(artifacts, &directory, &found, until).await,
                Err(error) => Err(error),
            };
            let error = match kept {
                Ok(kept) => return Ok(kept),
                Err(error) => error,
            };
            if Instant::now() >= until {
                self.tidy(artifacts).await;
                let minutes = KEPT_WITHIN.as_secs() / 60;
                return Err(failed(&format!(
                    "the artifact store has not taken all artifacts within {minutes} minutes"
                )));
            }
            // The Lease may be held again in a moment.
            if matches!(error, KeepError::Stopped) && !self.is_stopped() {
                continue;
            }
            let again = matches!(error, KeepError::Store { .. }) && tries < TRIES;
            if !again || self.is_stopped() {
                // What stays goes with the Run.
                self.tidy(artifacts).await;
                return Err(refused(&error));
            }
            tracing::warn!(uid = self.uid, error = %Chain(&error), "artifacts could not be kept");
            tries += 1;
            tokio::select! {
                () = sleep(BETWEEN_TRIES) => {}
                () = self.stopped() => {}
            }
        }
    }

    /// A few at once. The first that fails ends the others; all have ended when this has.
    async fn try_all(
        &self,
        artifacts: &Artifacts,
        directory: &Arc<OwnedFd>,
        found: &[Found],
        until: Instant,
    ) -> Result<Vec<ArtifactRef>, KeepError> {
        let failed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&failed);
        let given_up = move || seen.load(Ordering::Relaxed) || Instant::now() >= until;
        let stop = self.keeping.stop.or(given_up);
        let each = found.iter().map(|one| {
            let (store, directory) = (artifacts.store.clone(), Arc::clone(directory));
            let (one, stop, failed) = (one.clone(), stop.clone(), Arc::clone(&failed));
            let keeping = self.blocking(move |place| {
                if stop.is_fired() {
                    return Err(KeepError::Stopped);
                }
                kruntimes_artifacts::keep(&store, place, &directory, &one, &stop)
            });
            keeping.inspect_err(move |_| failed.store(true, Ordering::Relaxed)).boxed()
        });
        let each: Vec<_> = each.collect();
        let all: Vec<_> = stream::iter(each).buffered(AT_ONCE).collect().await;
        let (namespace, uid) = (self.namespace(), &self.uid);
        let mut refs = Vec::with_capacity(all.len());
        let mut stopped = false;
        for kept in all {
            match kept {
                Ok(kept) => {
                    refs.push(kept.reference(&artifacts.named, namespace, uid, self.clock.now()));
                }
                // Another one's failure may have stopped it: that one counts.
                Err(KeepError::Stopped) => stopped = true,
                Err(error) => return Err(error),
            }
        }
        if stopped { Err(KeepError::Stopped) } else { Ok(refs) }
    }

    async fn remove(&self, artifacts: &Artifacts, stop: Stop) -> Result<(), KeepError> {
        let store = artifacts.store.clone();
        let what = "the artifact store can't be used";
        self.blocking(move |place| {
            store.remove(place, &stop).map_err(|source| match stop.is_fired() {
                true => KeepError::Stopped,
                false => KeepError::Store { what, source },
            })
        })
        .await
    }

    /// What can't be removed soon goes with the Run: somebody waits for the end of the attempt.
    async fn tidy(&self, artifacts: &Artifacts) {
        drop(self.remove(artifacts, Stop::within(TIDIED_WITHIN)).await);
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Place<'_>) -> Result<T, KeepError> + Send + 'static,
    ) -> Result<T, KeepError> {
        let (run, uid) = (Arc::clone(&self.run), self.uid.clone());
        let pod = Arc::clone(&self.pod);
        let work = move || {
            if !pod.lease.is_held() {
                return Err(KeepError::Stopped);
            }
            work(Place {
                namespace: run.metadata.namespace.as_deref().unwrap_or_default(),
                run_uid: &uid,
                run_name: run.metadata.name.as_deref().unwrap_or_default(),
                runtime: &run.spec.runtime,
            })
        };
        spawn_blocking(work).await.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(KeepError::Store { what: "the keeping of artifacts crashed", source })
        })
    }

    fn namespace(&self) -> &str {
        self.run.metadata.namespace.as_deref().unwrap_or_default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn invalid(error: artifact::InvalidArtifact) -> Refused {
    (error.reason(), format!("$KRUNTIME_ARTIFACTS_DIR: {error}"))
}

fn refused(error: &KeepError) -> Refused {
    match error {
        KeepError::Invalid(error) => invalid(error.clone()),
        KeepError::Store { what, source } => failed(&format!("{what}: {source}")),
        KeepError::Stopped => failed("stopped"),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn crashed(error: tokio::task::JoinError) -> Refused {
    failed(&error.to_string())
}

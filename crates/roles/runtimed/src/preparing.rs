//! The making of a workspace: its environment is read, its source fetched, then put in place, and its inputs. It can be stopped at any time.

use crate::inputs;
use crate::pod::Pod;
use crate::source::Stop;
use crate::workspace::{Place, PrepareError};
use kruntimes_api::Run;
use kruntimes_daemon::crash;
use kruntimes_rules::run::env;
use kruntimes_rules::run::event::Event;
use kruntimes_rules::source::GitSource;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use tokio::sync::{oneshot, watch};

/// Names and values of an execution. They may hold Secrets: nothing prints them.
pub(crate) type Variables = BTreeMap<String, String>;

/// What was made for an execution.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) variables: Variables,
    pub(crate) place: Place,
}

/// A workspace in the making.
#[derive(Debug)]
pub(crate) struct Preparing {
    /// Dropped to stop it.
    stop: Option<watch::Sender<()>>,
    /// Resolves when nothing of it runs any more.
    ended: oneshot::Receiver<()>,
}

impl Preparing {
    /// Begins; the answer is the event of the attempt.
    pub(crate) fn begin(
        pod: Arc<Pod>,
        uid: String,
        run: Arc<Run>,
        made: Arc<OnceLock<Made>>,
    ) -> (Self, impl Future<Output = Option<Event>> + Send + 'static) {
        let (stop, stopped) = watch::channel(());
        let (end, ended) = oneshot::channel::<()>();
        let work = async move {
            let new = make(pod, uid, run, Stop(stopped)).await;
            drop(end);
            crash::point("runtimed-prepared");
            Some(match new {
                Ok(new) => {
                    // An attempt is prepared once.
                    drop(made.set(new));
                    Event::Prepared
                }
                Err(error) => Event::PrepareFailed(error.reason(), error.to_string()),
            })
        };
        (Self { stop: Some(stop), ended }, work)
    }

    /// Has it end at once.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits until nothing of it runs any more.
    pub(crate) async fn ended(self) {
        // Nobody sends: the other side is dropped.
        drop(self.ended.await);
    }
}

async fn make(pod: Arc<Pod>, uid: String, run: Arc<Run>, stop: Stop) -> Result<Made, PrepareError> {
    let place = pod.workspaces.place(&uid, &run)?;
    let variables = variables(&pod, &run).await?;
    // What can't be had is known before anything is fetched.
    let wanted = inputs::find(&pod, &run, &stop).await?;
    let source = run.spec.source.as_ref().map(GitSource::of).transpose()?.flatten();
    let fetched = match &source {
        Some(source) => Some(pod.sources.fetch(&uid, source, &stop).await?),
        None => None,
    };
    if pod.workspaces.is_soon_made(&uid, &run) {
        pod.workspaces.prepare(&uid, &run, None)?;
        return Ok(Made { variables, place });
    }
    let (workspaces, own, of) = (pod.workspaces.clone(), uid.clone(), Arc::clone(&run));
    let prepare = move || workspaces.prepare(&own, &of, fetched);
    tokio::task::spawn_blocking(prepare).await.unwrap_or_else(crashed)?;
    if !wanted.is_empty() {
        inputs::put(pod, place.clone(), run, wanted, &stop).await?;
    }
    Ok(Made { variables, place })
}

/// The Run's own variables; files are read only where it names a Secret or ConfigMap.
async fn variables(pod: &Arc<Pod>, run: &Arc<Run>) -> Result<Variables, PrepareError> {
    if run.spec.env.iter().all(|variable| variable.value_from.is_none()) {
        return Ok(env::resolve(run, &BTreeMap::new())?);
    }
    let (pod, run) = (Arc::clone(pod), Arc::clone(run));
    let read = move || pod.mounted.environment(&run).map_err(PrepareError::from);
    tokio::task::spawn_blocking(read).await.unwrap_or_else(crashed)
}

fn crashed<T>(error: tokio::task::JoinError) -> Result<T, PrepareError> {
    Err(PrepareError::Io { what: "prepare", source: std::io::Error::other(error) })
}

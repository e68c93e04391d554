//! The making of a workspace: its source is fetched, then put in place. It can be stopped at any time.

use crate::pod::Pod;
use crate::source::Stop;
use crate::workspace::PrepareError;
use kruntimes_api::Run;
use kruntimes_rules::run::event::Event;
use kruntimes_rules::source::GitSource;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

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
    ) -> (Self, impl Future<Output = Option<Event>> + Send + 'static) {
        let (stop, stopped) = watch::channel(());
        let (end, ended) = oneshot::channel::<()>();
        let work = async move {
            let made = make(pod, uid, run, Stop(stopped)).await;
            drop(end);
            Some(match made {
                Ok(()) => Event::Prepared,
                Err(error) => Event::PrepareFailed(error.to_string()),
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

async fn make(pod: Arc<Pod>, uid: String, run: Arc<Run>, stop: Stop) -> Result<(), PrepareError> {
    let source = run.spec.source.as_ref().map(GitSource::of).transpose()?.flatten();
    let fetched = match &source {
        Some(source) => Some(pod.sources.fetch(&uid, source, &stop).await?),
        None => None,
    };
    let prepare = move || pod.workspaces.prepare(&uid, &run, fetched);
    tokio::task::spawn_blocking(prepare).await.unwrap_or_else(|error| {
        Err(PrepareError::Io { what: "prepare", source: std::io::Error::other(error) })
    })
}

//! What a broken Lease asks for: a consistent list of this pod's open Runs, then the end of all of them here.

use futures::future::BoxFuture;
use kruntimes_api::Run;
use kruntimes_cluster::readable::Readable;
use kruntimes_cluster::watch::Chain;
use kube::Api;
use kube::api::ListParams;
use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const OPEN: &str = "status.phase!=Pending,status.phase!=Succeeded,status.phase!=Failed,status.phase!=Timeout,status.phase!=Cancelled";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Runs that are asked for at once.
const PAGE: u32 = 500;

/// The Runs that are assigned to this pod and have not ended.
#[derive(Debug, Clone)]
pub(crate) struct OpenRuns {
    runs: Api<Readable<Run>>,
    selector: String,
}

impl OpenRuns {
    pub(crate) fn of(runs: Api<Readable<Run>>, pod: &str) -> Self {
        Self { runs, selector: format!("status.assignedPod={pod},{OPEN}") }
    }

    /// As they are stored now: no cache answers. Tried until it succeeds.
    async fn list(self) -> Vec<Readable<Run>> {
        let mut pause = FIRST_PAUSE;
        loop {
            match timeout(ANSWER_WITHIN, self.pages()).await {
                Ok(Ok(runs)) => return runs,
                Ok(Err(error)) => {
                    tracing::warn!(error = %Chain(&error), "the Runs of this pod can't be listed");
                }
                Err(_) => tracing::warn!("the list of this pod's Runs was not answered"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn pages(&self) -> Result<Vec<Readable<Run>>, kube::Error> {
        let mut parameters = ListParams::default().fields(&self.selector).limit(PAGE);
        let mut runs = Vec::new();
        loop {
            let page = self.runs.list(&parameters).await?;
            runs.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(runs),
            }
        }
    }
}

/// How far it is.
#[derive(Default)]
pub(crate) struct Clearing {
    listing: Option<BoxFuture<'static, Vec<Readable<Run>>>>,
    /// The attempts that must have ended; none where nothing is waited for.
    waits: Option<BTreeSet<String>>,
}

impl Clearing {
    pub(crate) fn begin(&mut self, runs: &OpenRuns) {
        self.waits = None;
        self.listing = Some(Box::pin(runs.clone().list()));
    }

    /// The list, once; waits for ever where none was asked for.
    pub(crate) async fn listed(&mut self) -> Vec<Readable<Run>> {
        let listed = match &mut self.listing {
            Some(listing) => listing.await,
            None => pending().await,
        };
        self.listing = None;
        listed
    }

    pub(crate) fn wait_for(&mut self, attempts: BTreeSet<String>) {
        self.waits = Some(attempts);
    }

    pub(crate) fn ended(&mut self, uid: &str) {
        if let Some(waits) = &mut self.waits {
            waits.remove(uid);
        }
    }

    /// True once, when nothing is left.
    pub(crate) fn is_done(&mut self) -> bool {
        self.waits.take_if(|waits| waits.is_empty()).is_some()
    }
}

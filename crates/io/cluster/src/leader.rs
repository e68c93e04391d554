//! One of several replicas does the work: the others wait for its Lease.
//!
//! Invariants: the work starts only under a Lease that this process wrote, and is dropped before another may take it.

use crate::lease::{self, Written};
use crate::watch::{Observed, forward};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_rules::leader::{Answer, Election, Record, Step, Timing};
use kube::api::Api;
use kube::core::ObjectMeta;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// Longer than this no single request may hold up the decision whether to go on.
const REQUEST: Duration = Duration::from_secs(5);
/// The watch shows one object: more than a few changes never wait.
const QUEUE: usize = 16;

/// Who stands for election, and where.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// This process: unique, also between two starts of one pod.
    pub identity: String,
    /// How long, how often.
    pub timing: Timing,
}

/// The Lease is no longer this process's; what the work has not written yet is another's to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the leader's Lease was lost: another replica may lead now")]
pub struct Lost;

struct Booth {
    leases: Api<Lease>,
    candidate: Candidate,
    election: Election,
    started: Instant,
    shown: mpsc::Receiver<Observed<Lease>>,
}

/// Waits for the Lease, or for the end of `shutdown`; then does `work` for as long as this process holds it. When the
/// work ends the Lease is given back, so that another replica takes over at once.
///
/// # Errors
/// When the Lease was lost; the work has been dropped by then.
pub async fn lead(
    client: Client,
    candidate: Candidate,
    shutdown: impl Future<Output = ()>,
    work: impl Future<Output = ()>,
) -> Result<(), Lost> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &candidate.namespace);
    let (sender, shown) = mpsc::channel(QUEUE);
    let one = watcher::Config::default().fields(&format!("metadata.name={}", candidate.lease));
    let watch = forward(Api::namespaced(client, &candidate.namespace), one, sender, |seen| seen);
    let election = Election::new(candidate.identity.clone(), candidate.timing);
    let mut booth = Booth { leases, candidate, election, started: Instant::now(), shown };
    let led = async {
        tokio::select! {
            () = booth.stand() => {}
            () = shutdown => return Ok(()),
        }
        tracing::info!(lease = booth.candidate.lease, "this replica leads");
        let ended = {
            let mut work = pin!(work);
            tokio::select! {
                () = &mut work => Ok(()),
                lost = booth.hold() => Err(lost),
            }
        };
        if ended.is_ok() {
            booth.give_back().await;
        }
        ended
    };
    tokio::select! {
        ended = led => ended,
        () = watch => Err(Lost),
    }
}

impl Booth {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Until this process leads.
    async fn stand(&mut self) {
        while !self.election.leads() {
            self.next().await;
        }
    }

    /// Until it leads no more.
    async fn hold(&mut self) -> Lost {
        while self.election.step(self.now()) != Step::Lost {
            self.next().await;
        }
        Lost
    }

    async fn next(&mut self) {
        let until = match self.election.step(self.now()) {
            Step::Create => return self.write(None, 0).await,
            Step::Take { version, transitions } | Step::Renew { version, transitions } => {
                return self.write(Some(version), transitions).await;
            }
            Step::Lost => return,
            Step::Wait(until) => until,
        };
        let alarm = async {
            match until {
                Some(until) => sleep_until(self.started + until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            shown = self.shown.recv() => match shown {
                Some(seen) => self.observe(&seen),
                None => std::future::pending().await,
            },
            () = alarm => {}
        }
    }

    fn observe(&mut self, seen: &Observed<Lease>) {
        let now = self.now();
        match seen {
            Observed::Applied(lease) => self.election.observe(Some(record(lease)), now),
            Observed::Gone(_) => self.election.observe(None, now),
            Observed::Synced => self.election.shown_all(),
            Observed::Interrupted => {}
        }
    }

    async fn write(&mut self, version: Option<String>, transitions: i32) {
        let sent = self.now();
        let body = self.lease(self.candidate.identity.clone(), version, transitions);
        let answer = match lease::write(&self.leases, &body, REQUEST).await {
            Written::Stored(lease) => Answer::Stored(record(&lease)),
            Written::Conflict => Answer::Conflict,
            Written::Failed => Answer::Failed,
        };
        let conflict = answer == Answer::Conflict;
        self.election.answered(answer, sent, self.started.elapsed());
        if conflict {
            self.look().await;
        }
    }

    /// After a conflict: the watch may be behind.
    async fn look(&mut self) {
        let looked = timeout(REQUEST, self.leases.get_opt(&self.candidate.lease)).await;
        let now = self.started.elapsed();
        match looked {
            Ok(Ok(lease)) => self.election.observe(lease.as_ref().map(record), now),
            Ok(Err(_)) | Err(_) => self.election.answered(Answer::Failed, now, now),
        }
    }

    async fn give_back(&mut self) {
        if let Some((version, transitions)) = self.election.held() {
            let body = self.lease(String::new(), Some(version), transitions);
            let written = lease::write(&self.leases, &body, REQUEST).await;
            if !matches!(written, Written::Stored(_)) {
                tracing::warn!(
                    "the Lease could not be given back: the next leader waits for its end"
                );
            }
        }
    }

    fn lease(&self, holder: String, version: Option<String>, transitions: i32) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.candidate.lease.clone()),
                namespace: Some(self.candidate.namespace.clone()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder),
                lease_duration_seconds: i32::try_from(self.candidate.timing.lease.as_secs()).ok(),
                lease_transitions: Some(transitions),
                acquire_time: now.clone(),
                renew_time: now,
                ..LeaseSpec::default()
            }),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    Record {
        version: lease.resource_version().unwrap_or_default(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
    }
}

//! The loop that keeps this pod's Lease: it has the steps of `rules::fence` done, one request at a time.

use crate::lease::Told;
use crate::pod::Pod;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kruntimes_api::labels;
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::boottime::{self, Alarm};
use kruntimes_daemon::crash;
use kruntimes_rules::fence::{Answer, Holder, LeaseHolder, LeaseView, Step, Timing};
use kruntimes_rules::run::roster::Identity;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An answer that takes longer counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What the supervisor must see to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// What executes is killed.
    Fence,
    /// The Lease was broken: everything ends here; [`Told::Cleared`] is the answer.
    Clear,
}

/// Which Lease, and how it is kept.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) leases: Api<Lease>,
    pub(crate) me: Identity,
    pub(crate) runtime: String,
    pub(crate) timing: Timing,
}

enum Landed {
    Looked(Result<Option<Lease>, kube::Error>),
    Written {
        sent: Duration,
        result: Result<Lease, kube::Error>,
    },
    /// Nothing was heard of the request for too long.
    Silent {
        sent: Duration,
        looked: bool,
    },
}

type Flight = Pin<Box<dyn Future<Output = Landed> + Send>>;
type Arming = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Keeper {
    pod: Arc<Pod>,
    terms: Terms,
    holder: Holder,
    alarm: Alarm,
    flight: Option<Flight>,
    arming: Option<Arming>,
}

/// Keeps the Lease for ever.
///
/// # Errors
/// When the system has no timer left.
pub(crate) async fn keep(
    pod: Arc<Pod>,
    terms: Terms,
    mut told: mpsc::UnboundedReceiver<Told>,
    notices: mpsc::UnboundedSender<Notice>,
) -> io::Result<()> {
    let now = boottime::now();
    let lives_on = !pod.journal.open_uids().is_empty();
    let start = if lives_on { Holder::resume } else { Holder::new };
    let holder = start(terms.timing, now);
    let alarm = Alarm::new()?;
    let mut keeper = Keeper { pod, terms, holder, alarm, flight: None, arming: None };
    let mut mode = keeper.pod.registry.mode();
    loop {
        let step = keeper.holder.step(boottime::now());
        keeper.pod.lease.set_held_until(keeper.holder.held_until());
        let until = match step {
            Step::Wait(until) => until,
            Step::Fence | Step::Clear => {
                let notice = if step == Step::Fence { Notice::Fence } else { Notice::Clear };
                tracing::warn!(?notice, pod = keeper.terms.me.name, "the Lease is not held");
                // The supervisor is gone when the pod ends: then everything ends.
                let _ = notices.send(notice);
                continue;
            }
            Step::Look | Step::Hold(_) | Step::Release(_) => {
                keeper.flight = Some(keeper.request(step));
                continue;
            }
        };
        if let Some(until) = until {
            keeper.alarm.set(until)?;
        }
        tokio::select! {
            Some(word) = told.recv() => keeper.hear(word),
            landed = resolved(&mut keeper.flight) => keeper.land(landed),
            () = resolved(&mut keeper.arming) => {}
            // A server that comes back knows nothing of the Lease.
            Ok(()) = mode.changed() => keeper.arm(),
            () = keeper.alarm.rings(), if until.is_some() => {}
        }
    }
}

/// The output of what is under way, which is then no more; waits for ever where nothing is.
async fn resolved<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    let output = match future {
        Some(future) => future.await,
        None => pending().await,
    };
    *future = None;
    output
}

impl Keeper {
    fn hear(&mut self, told: Told) {
        match told {
            Told::Work => self.holder.work(),
            Told::Idle => self.holder.idle(boottime::now()),
            Told::Suspect => self.holder.suspect(),
            Told::Cleared => self.holder.cleared(),
        }
    }

    fn request(&self, step: Step) -> Flight {
        let (leases, name) = (self.terms.leases.clone(), self.terms.me.name.clone());
        let sent = boottime::now();
        let uid = self.terms.me.uid.clone();
        let (version, holder) = match step {
            Step::Hold(version) => (version, uid),
            Step::Release(version) => (Some(version), String::new()),
            Step::Look | Step::Fence | Step::Clear | Step::Wait(_) => {
                return Box::pin(async move {
                    match timeout(ANSWER_WITHIN, leases.get_opt(&name)).await {
                        Ok(result) => Landed::Looked(result),
                        Err(_) => Landed::Silent { sent, looked: true },
                    }
                });
            }
        };
        let lease = self.lease(version.clone(), holder);
        Box::pin(async move {
            let parameters = PostParams::default();
            let write = async {
                match version {
                    None => leases.create(&parameters, &lease).await,
                    Some(_) => leases.replace(&name, &parameters, &lease).await,
                }
            };
            match timeout(ANSWER_WITHIN, write).await {
                Ok(result) => Landed::Written { sent, result },
                Err(_) => Landed::Silent { sent, looked: false },
            }
        })
    }

    fn land(&mut self, landed: Landed) {
        let now = boottime::now();
        match landed {
            Landed::Looked(Ok(lease)) => {
                self.holder.looked(lease.map(|lease| view(&lease, &self.terms.me)));
            }
            Landed::Looked(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "the Lease can't be read");
                self.holder.not_looked(now);
            }
            Landed::Silent { looked: true, .. } => self.holder.not_looked(now),
            Landed::Silent { sent, looked: false } => {
                tracing::warn!("a renewal of the Lease was not answered");
                self.holder.answered(Answer::Failed, sent, now);
            }
            Landed::Written { sent, result } => {
                crash::point("runtimed-lease");
                self.holder.answered(answer(result), sent, now);
                self.pod.lease.set_held_until(self.holder.held_until());
                if self.holder.is_held(now) {
                    self.arm();
                }
            }
        }
    }

    fn arm(&mut self) {
        let pod = Arc::clone(&self.pod);
        self.arming = Some(Box::pin(async move {
            let mode = *pod.registry.mode().borrow();
            pod.lease.rearm(&pod.server, mode).await;
        }));
    }

    fn lease(&self, version: Option<String>, holder: String) -> Lease {
        let Terms { me, runtime, timing, .. } = &self.terms;
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: me.name.clone(),
            uid: me.uid.clone(),
            ..OwnerReference::default()
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(me.name.clone()),
                labels: Some(BTreeMap::from([(labels::RUNTIME.to_owned(), runtime.clone())])),
                owner_references: Some(vec![owner]),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder),
                lease_duration_seconds: i32::try_from(timing.fence_after.as_secs()).ok(),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn view(lease: &Lease, me: &Identity) -> LeaseView {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    LeaseView {
        version: lease.resource_version().unwrap_or_default(),
        holder: if lease.labels().contains_key(labels::BROKEN) {
            LeaseHolder::Broken
        } else if holder == me.uid {
            LeaseHolder::Me
        } else {
            LeaseHolder::Nobody
        },
    }
}

fn answer(result: Result<Lease, kube::Error>) -> Answer {
    match result {
        Ok(lease) => Answer::Stored(lease.resource_version().unwrap_or_default()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Answer::Conflict,
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the Lease could not be written");
            Answer::Failed
        }
    }
}

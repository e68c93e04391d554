//! The loop that keeps this pod's Lease: it has the steps of `rules::fence` done, one request at a time.

use crate::lease::Told;
use crate::pod::Pod;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kruntimes_cluster::lease::{self, Written};
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::boottime::{self, Alarm};
use kruntimes_daemon::crash;
use kruntimes_rules::fence::object::{self, Change, Owner};
use kruntimes_rules::fence::{Answer, Holder, LeaseView, Step, Timing};
use kruntimes_rules::run::roster::Identity;
use kube::{Api, ResourceExt};
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
    Looked(Option<LeaseView>),
    NotLooked,
    Written { sent: Duration, written: Written },
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
    let holder = if pod.journal.is_new() { holder } else { holder.after_another(now) };
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
        let Terms { leases, me, runtime, timing } = &self.terms;
        let (leases, name) = (leases.clone(), me.name.clone());
        let sent = boottime::now();
        let (version, change) = match step {
            Step::Hold(version) => (version, Change::Hold(timing.fence_after)),
            Step::Release(version) => (Some(version), Change::Release(timing.fence_after)),
            Step::Look | Step::Fence | Step::Clear | Step::Wait(_) => {
                let uid = me.uid.clone();
                return Box::pin(async move {
                    match timeout(ANSWER_WITHIN, leases.get_opt(&name)).await {
                        Ok(Ok(lease)) => {
                            Landed::Looked(lease.map(|lease| LeaseView::of(&lease, &uid)))
                        }
                        Ok(Err(error)) => {
                            tracing::warn!(error = %Chain(&error), "the Lease can't be read");
                            Landed::NotLooked
                        }
                        Err(_) => Landed::NotLooked,
                    }
                });
            }
        };
        let owner = Owner { name: &me.name, uid: &me.uid, runtime };
        let lease = object::lease(owner, version, change, Timestamp::now());
        Box::pin(async move {
            Landed::Written { sent, written: lease::write(&leases, &lease, ANSWER_WITHIN).await }
        })
    }

    fn land(&mut self, landed: Landed) {
        let now = boottime::now();
        match landed {
            Landed::Looked(view) => self.holder.looked(view),
            Landed::NotLooked => self.holder.not_looked(now),
            Landed::Written { sent, written } => {
                crash::point("runtimed-lease");
                self.holder.answered(answer(written), sent, now);
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
}

fn answer(written: Written) -> Answer {
    match written {
        Written::Stored(lease) => Answer::Stored(lease.resource_version().unwrap_or_default()),
        Written::Conflict => Answer::Conflict,
        Written::Failed => Answer::Failed,
    }
}

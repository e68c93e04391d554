//! What the attempts of this pod know of its Lease, and the dead-man switch of the Runtime Server that goes with it.

use crate::registry::Mode;
use crate::runtime::{RenewError, RuntimeServer};
use kruntimes_cluster::watch::Chain;
use kruntimes_daemon::boottime;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};

/// What the keeper of the Lease is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// There are Runs.
    Work,
    /// There are none any more.
    Idle,
    /// The pod may have slept through something.
    Suspect,
    /// All that a break asks for is done.
    Cleared,
}

/// What the last renewal of the server was good for: another stream of events may be that of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Armed {
    epoch: u64,
    mode: Mode,
}

/// The Lease as attempts see it.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Until when it is held, by CLOCK_BOOTTIME.
    held_until: watch::Sender<Option<Duration>>,
    /// Rises each time that it comes to be held.
    epoch: AtomicU64,
    armed: Mutex<Option<Armed>>,
    /// Bounded by what happens: one word a change.
    told: mpsc::UnboundedSender<Told>,
}

impl Lease {
    /// A Lease that is not held, and where its keeper hears what happens.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (told, hears) = mpsc::unbounded_channel();
        let lease = Self {
            held_until: watch::Sender::new(None),
            epoch: AtomicU64::new(0),
            armed: Mutex::default(),
            told,
        };
        (lease, hears)
    }

    pub(crate) fn tell(&self, told: Told) {
        // The keeper is gone when the pod ends.
        let _ = self.told.send(told);
    }

    pub(crate) fn set_held_until(&self, until: Option<Duration>) {
        self.held_until.send_if_modified(|held| {
            if held.is_none() && until.is_some() {
                self.epoch.fetch_add(1, Ordering::Relaxed);
            }
            std::mem::replace(held, until) != until
        });
    }

    /// Whether something may be executed now.
    pub(crate) fn is_held(&self) -> bool {
        is_ahead(*self.held_until.borrow())
    }

    /// Resolves when something may be executed.
    pub(crate) async fn held(&self) {
        // The sender lives as long as this.
        drop(self.held_until.subscribe().wait_for(|until| is_ahead(*until)).await);
    }

    /// Has the server kill by itself what outlives the Lease. Answers at once where that is done already.
    pub(crate) async fn arm(&self, server: &RuntimeServer, mode: Mode) -> Result<(), RenewError> {
        let mut armed = self.armed.lock().await;
        let wanted = self.armed_for(mode);
        if *armed == Some(wanted) && mode != Mode::Disconnected {
            return Ok(());
        }
        self.renew(server, wanted, &mut armed).await
    }

    /// Tells the server of a renewal.
    pub(crate) async fn rearm(&self, server: &RuntimeServer, mode: Mode) {
        let mut armed = self.armed.lock().await;
        let renewed = self.renew(server, self.armed_for(mode), &mut armed).await;
        if let Err(error @ RenewError::Failed(_)) = renewed {
            tracing::warn!(error = %Chain(&error), "the Runtime Server could not be renewed");
        }
    }

    async fn renew(
        &self,
        server: &RuntimeServer,
        wanted: Armed,
        armed: &mut Option<Armed>,
    ) -> Result<(), RenewError> {
        *armed = None;
        let until = *self.held_until.borrow();
        let left = until.unwrap_or_default().saturating_sub(boottime::now());
        if left.is_zero() {
            return Err(RenewError::NotHeld);
        }
        server.renew(left).await?;
        *armed = Some(wanted);
        Ok(())
    }

    fn armed_for(&self, mode: Mode) -> Armed {
        Armed { epoch: self.epoch.load(Ordering::Relaxed), mode }
    }
}

fn is_ahead(until: Option<Duration>) -> bool {
    until.is_some_and(|until| boottime::now() < until)
}

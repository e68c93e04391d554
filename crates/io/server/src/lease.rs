//! The dead-man switch: once renewed, it expires when the next renewal stays away.

use kruntimes_daemon::boottime::{self, Alarm};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Lease {
    alarm: Alarm,
    until: Mutex<Option<Duration>>,
}

impl Lease {
    /// A lease that never expires until it is renewed for the first time.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { alarm: Alarm::new()?, until: Mutex::default() })
    }

    pub(crate) fn renew(&self, ttl: Duration) -> io::Result<()> {
        let mut until = self.until();
        let at = boottime::now().saturating_add(ttl);
        self.alarm.set(at)?;
        *until = Some(at);
        Ok(())
    }

    /// Whether the last renewal is over. Then nothing may start: who asks for it may have slept since it was allowed to.
    pub(crate) fn has_expired(&self) -> bool {
        self.until().is_some_and(|until| until <= boottime::now())
    }

    /// Resolves at each expiry.
    pub(crate) async fn expires(&self) {
        loop {
            self.alarm.rings().await;
            if self.has_expired() {
                return;
            }
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Duration>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

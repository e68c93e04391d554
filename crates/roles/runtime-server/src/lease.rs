//! The dead-man switch: once renewed, it expires when the next renewal stays away.
//!
//! The timer runs on the clock that goes on while the machine sleeps, so that a woken machine is late by nothing.

use crate::watched::watched;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(crate) struct Lease(AsyncFd<OwnedFd>);

impl Lease {
    /// A lease that never expires until it is renewed for the first time.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self(watched(timer, Interest::READABLE)?))
    }

    pub(crate) fn renew(&self, ttl: Duration) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec::try_from(ttl).map_err(|_| io::ErrorKind::InvalidInput)?;
        let once = Itimerspec { it_interval: never, it_value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Resolves at each expiry.
    pub(crate) async fn expired(&self) {
        loop {
            // Without a reactor nothing of this server works any more.
            let Ok(mut guard) = self.0.readable().await else { return future::pending().await };
            let mut expirations = [0; 8];
            let read = guard.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?));
            if matches!(read, Ok(Ok(_))) {
                return;
            }
        }
    }
}

//! The clock that goes on while the machine sleeps (CLOCK_BOOTTIME, clock_gettime(2)), and an alarm on it.
//!
//! What must end in time ends by this clock: a woken machine is late by nothing.

use crate::watched::watched;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::future;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Time since the machine was booted, sleep included.
#[must_use]
pub fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// Names this boot of the machine (proc_sys_kernel(5), `random/boot_id`): times of two boots can't be compared.
///
/// # Errors
/// When there is no `/proc`.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Rings once at the time that it was last set to.
#[derive(Debug)]
pub struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the system has no timer left (timerfd_create(2)).
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self(watched(timer, Interest::READABLE)?))
    }

    /// Sets it to a time of [`now`]'s clock; one that has passed rings at once.
    ///
    /// # Errors
    /// When the time is beyond what the system counts to.
    pub fn set(&self, at: Duration) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would switch it off.
        let at = at.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
        let once = Itimerspec { it_interval: never, it_value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Resolves each time that it rings.
    pub async fn rings(&self) {
        loop {
            // Without a reactor nothing of this process works any more.
            let Ok(mut guard) = self.0.readable().await else { return future::pending().await };
            let mut expirations = [0; 8];
            let read = guard.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?));
            if matches!(read, Ok(Ok(_))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_its_last_time_and_at_once_for_the_past() {
        let alarm = Alarm::new().unwrap();
        alarm.set(now() + Duration::from_secs(3600)).unwrap();
        let at = now() + Duration::from_millis(20);
        alarm.set(at).unwrap();
        alarm.rings().await;
        assert!(now() >= at);
        alarm.set(Duration::ZERO).unwrap();
        alarm.rings().await;
    }
}

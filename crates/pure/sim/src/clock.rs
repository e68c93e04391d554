//! The clocks of one machine: a monotonic one with a rate of its own, and a wall clock that also steps.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Rates differ by so many millionths at most.
pub(crate) const DRIFT_PPM: i64 = 10_000;
const MILLION: i128 = 1_000_000;
/// 2026-01-01T00:00:00Z.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// The clocks.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    base: Duration,
    ppm: i64,
    offset: SignedDuration,
}

impl Clock {
    pub(crate) fn new(base: Duration, ppm: i64, offset_seconds: i64) -> Self {
        Self { base, ppm, offset: SignedDuration::from_secs(offset_seconds) }
    }

    /// CLOCK_MONOTONIC, and CLOCK_BOOTTIME: machines do not sleep here.
    pub(crate) fn monotonic(&self, now: Duration) -> Duration {
        self.base + scale(now, MILLION + i128::from(self.ppm), MILLION)
    }

    pub(crate) fn wall(&self, now: Duration) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.monotonic(now)).unwrap_or_default();
        let since = elapsed.saturating_add(self.offset);
        let epoch = Timestamp::from_second(EPOCH_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH);
        epoch.checked_add(since).unwrap_or(epoch)
    }

    /// The first instant at which the monotonic clock shows this.
    pub(crate) fn instant(&self, monotonic: Duration) -> Duration {
        let since = monotonic.saturating_sub(self.base);
        scale(since, MILLION, MILLION + i128::from(self.ppm)) + Duration::from_micros(2)
    }

    pub(crate) fn step(&mut self, seconds: i64) {
        self.offset = self.offset.saturating_add(SignedDuration::from_secs(seconds));
    }
}

fn scale(time: Duration, by: i128, of: i128) -> Duration {
    let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / MILLION) * by / of;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

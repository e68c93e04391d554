//! What a long-lived process does with memory that it no longer needs.
//!
//! glibc keeps freed memory for the next allocation, in an arena per thread. After a burst that is several times what
//! the process needs, so it goes back to the system once the process is idle.

use kruntimes_confine::{limit_arenas, trim_memory};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Threads that allocate at once are few; their arenas need not be many.
const ARENAS: i32 = 2;
/// Between two looks at the time that the process has used. Nobody tells a process that it is idle.
const LOOK: Duration = Duration::from_secs(5);
/// A process that used no more between two looks is idle.
const IDLE: Duration = Duration::from_millis(50);
/// Whoever used less since memory was last given back has little to give.
const WORTH: Duration = Duration::from_millis(5);

/// Must be called while the process has one thread.
pub(crate) fn limit() {
    limit_arenas(ARENAS);
}

/// Gives freed memory back whenever the process has become idle.
pub(crate) async fn keep_trimmed() {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trimmed_at = Duration::ZERO;
    let mut before = Duration::ZERO;
    loop {
        looks.tick().await;
        let now = time_used();
        if now.saturating_sub(before) <= IDLE && now.saturating_sub(trimmed_at) > WORTH {
            trim_memory();
            trimmed_at = time_used();
        }
        before = now;
    }
}

fn time_used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

//! How long a pod may be silent, and how long the controller waits beyond that.

use kruntimes_api::limits::{
    FENCE_AFTER_SECONDS, FENCE_AFTER_SECONDS_MIN, LOSS_SECONDS_MAX, REAP_AFTER_SECONDS,
    REAP_BEYOND_FENCE_SECONDS,
};
use std::time::Duration;

/// When a pod that is cut off loses its Runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A pod that could not renew its Lease for so long kills what it executes.
    pub fence_after: Duration,
    /// A pod whose Lease stood unchanged for so long loses its Runs.
    pub reap_after: Duration,
}

/// Times under which two attempts of a Run could overlap, or no pod could keep its Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimes {
    /// Too short or too long.
    #[error(
        "--fence-after-seconds must be {FENCE_AFTER_SECONDS_MIN} to {LOSS_SECONDS_MAX}, not {0}"
    )]
    Fence(u64),
    /// Too short or too long.
    #[error(
        "--reap-after-seconds must be {least} to {LOSS_SECONDS_MAX}, not {given}: at least \
        {REAP_BEYOND_FENCE_SECONDS} more than --fence-after-seconds"
    )]
    Reap {
        /// What is possible.
        least: u64,
        /// What was given.
        given: u64,
    },
}

impl Default for Times {
    fn default() -> Self {
        Self {
            fence_after: Duration::from_secs(FENCE_AFTER_SECONDS),
            reap_after: Duration::from_secs(REAP_AFTER_SECONDS),
        }
    }
}

impl Times {
    /// Times that keep the promise, from seconds.
    ///
    /// # Errors
    /// See [`InvalidTimes`].
    pub fn checked(fence_after: u64, reap_after: u64) -> Result<Self, InvalidTimes> {
        if !(FENCE_AFTER_SECONDS_MIN..=LOSS_SECONDS_MAX).contains(&fence_after) {
            return Err(InvalidTimes::Fence(fence_after));
        }
        let least = fence_after + REAP_BEYOND_FENCE_SECONDS;
        if !(least..=LOSS_SECONDS_MAX).contains(&reap_after) {
            return Err(InvalidTimes::Reap { least, given: reap_after });
        }
        Ok(Self {
            fence_after: Duration::from_secs(fence_after),
            reap_after: Duration::from_secs(reap_after),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_waits_eight_seconds_more_than_a_pod_at_least() {
        for (fence, reap, want) in [
            (5, 13, None),
            (4, 60, Some("--fence-after-seconds must be 5 to 86400, not 4")),
            (
                5,
                12,
                Some(
                    "--reap-after-seconds must be 13 to 86400, not 12: at least 8 more than --fence-after-seconds",
                ),
            ),
            (30, 60, None),
            (30, 38, None),
            (
                30,
                37,
                Some(
                    "--reap-after-seconds must be 38 to 86400, not 37: at least 8 more than --fence-after-seconds",
                ),
            ),
            (86_392, 86_400, None),
            (
                86_392,
                86_401,
                Some(
                    "--reap-after-seconds must be 86400 to 86400, not 86401: at least 8 more than --fence-after-seconds",
                ),
            ),
            (86_401, 86_409, Some("--fence-after-seconds must be 5 to 86400, not 86401")),
        ] {
            let refused = Times::checked(fence, reap).err().map(|error| error.to_string());
            assert_eq!(refused.as_deref(), want, "{fence} {reap}");
        }
    }

    #[test]
    fn the_defaults_are_such_times() {
        let Times { fence_after, reap_after } = Times::default();
        assert_eq!(
            Times::checked(fence_after.as_secs(), reap_after.as_secs()),
            Ok(Times::default())
        );
    }
}

//! What follows the end of a container's process: a pure decision.

use super::plan::RestartPolicy;
use crate::process::Exit;
use std::time::Duration;

/// Wait before the second restart; doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait before a restart.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// A process that lived this long makes the next restart immediate again.
const RESET_AFTER: Duration = Duration::from_secs(60);
/// A process that somebody killed is restarted after this time, in which the pod's other processes may turn out to be
/// killed as well.
const KILLED_WAIT: Duration = Duration::from_millis(100);
/// Containers that were killed within this time were killed together.
pub(super) const TOGETHER: Duration = Duration::from_secs(2);

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Restart after this time; the number is to be given as `failures` the next time.
    Restart { wait: Duration, failures: u32 },
    /// The container has ended for good.
    Stay,
}

/// Decides for a container that `lived` this long and was restarted in a row `failures` times.
pub(super) fn after_exit(
    policy: RestartPolicy,
    exit: Exit,
    lived: Duration,
    failures: u32,
) -> Next {
    match (policy, exit) {
        (RestartPolicy::Never, _) | (RestartPolicy::OnFailure, Exit::Code(0)) => return Next::Stay,
        (RestartPolicy::OnFailure | RestartPolicy::Always, _) => {}
    }
    let failures = if lived >= RESET_AFTER { 0 } else { failures };
    let wait = match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(LAST_WAIT),
    };
    let least = if exit.signal().is_some() { KILLED_WAIT } else { Duration::ZERO };
    Next::Restart { wait: wait.max(least), failures: failures.saturating_add(1) }
}

/// Whether the pod as a whole was killed. `killed` has, for each container, how long ago somebody else's signal ended
/// it, if that is how it ended last.
pub(super) fn is_pod_gone(killed: impl IntoIterator<Item = Option<Duration>>) -> bool {
    let mut killed = killed.into_iter().peekable();
    killed.peek().is_some() && killed.all(|since| since.is_some_and(|since| since < TOGETHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_immediate_first_and_then_wait() {
        let (always, failed) = (RestartPolicy::Always, Exit::Code(1));
        let millis = |wait, failures| Next::Restart { wait: Duration::from_millis(wait), failures };
        for (what, policy, exit, lived, failures, want) in [
            ("first", always, failed, 1, 0, millis(0, 1)),
            ("first, killed", always, Exit::Signal(9), 1, 0, millis(100, 1)),
            ("second", always, failed, 1, 1, millis(1000, 2)),
            ("third", always, Exit::Code(0), 1, 2, millis(2000, 3)),
            ("many", always, failed, 59, 1000, millis(60_000, 1001)),
            ("after a minute", always, failed, 60, 1000, millis(0, 1)),
            ("never", RestartPolicy::Never, failed, 1, 0, Next::Stay),
            ("on failure, success", RestartPolicy::OnFailure, Exit::Code(0), 1, 0, Next::Stay),
            ("on failure, failed", RestartPolicy::OnFailure, failed, 1, 0, millis(0, 1)),
        ] {
            let next = after_exit(policy, exit, Duration::from_secs(lived), failures);
            assert_eq!(next, want, "{what}");
        }
    }

    #[test]
    fn a_pod_is_gone_when_all_its_containers_were_killed_together() {
        let seconds = |seconds: f64| Some(Duration::from_secs_f64(seconds));
        for (what, killed, want) in [
            ("one killed, one lives", vec![seconds(0.0), None], false),
            ("both at once", vec![seconds(0.0), seconds(0.001)], true),
            ("one after the other was restarted", vec![seconds(1.5), seconds(0.0)], true),
            ("one a while ago", vec![seconds(2.5), seconds(0.0)], false),
            ("the only one", vec![seconds(0.0)], true),
            ("no containers", vec![], false),
        ] {
            assert_eq!(is_pod_gone(killed), want, "{what}");
        }
    }
}

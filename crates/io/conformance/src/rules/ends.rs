//! Timeouts, and the end of work that leaves something running.

use super::calls::shown;
use super::{Checked, ensure};
use crate::subject::{Subject, has_ended};
use kruntimes_proto::executor::v1::ExecutionState;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const TIMEOUT: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn timeout(subject: &mut Subject) -> Checked {
    let work = subject.works.hold.clone();
    // A server without processes has no tree.
    let has_tree = work.is_some();
    let work = work.or_else(|| subject.works.last.clone());
    let mut request = subject.request(work, "last")?;
    request.timeout_seconds = i64::try_from(TIMEOUT.as_secs()).unwrap_or(i64::MAX);
    let alive = if has_tree { Some(subject.alive(&request)?) } else { None };
    subject.execute(&request).await?;
    let started = Instant::now();
    if let Some(alive) = &alive {
        alive.held().await?;
    }
    let end =
        subject.until_within(&request.id, TIMEOUT + GRACE, "it did not end", has_ended).await?;
    let took = started.elapsed();
    // It may have started a moment before its answer came.
    ensure(took + Duration::from_millis(500) >= TIMEOUT, || format!("it ended after {took:?}"))?;
    ensure(took <= TIMEOUT + GRACE, || format!("it ended only after {took:?}"))?;
    let well = end.state() == ExecutionState::Failed
        && end.exit_code == -1
        && end.error_message == "timeout";
    ensure(well, || format!("it ended as {}", shown(&end)))?;
    match alive {
        Some(alive) => alive.dead(Duration::from_millis(500), "after its timeout was told").await,
        None => Ok(()),
    }
}

pub(super) async fn no_timeout(subject: &mut Subject) -> Checked {
    for timeout_seconds in [0, -1] {
        let work = subject.works.last.clone();
        let mut request = subject.request(work, "last")?;
        request.timeout_seconds = timeout_seconds;
        subject.execute(&request).await?;
        // That nothing happens shows in time only.
        sleep(Duration::from_millis(300)).await;
        let status = subject.status(&request.id).await?;
        ensure(!has_ended(&status), || {
            format!("with {timeout_seconds} it ended as {}", shown(&status))
        })?;
    }
    Ok(())
}

pub(super) async fn left_behind(subject: &mut Subject) -> Checked {
    let work = subject.works.leave.clone();
    let request = subject.request(work, "leave")?;
    let alive = subject.alive(&request)?;
    subject.execute(&request).await?;
    alive.held().await?;
    let end =
        subject.until_within(&request.id, GRACE, "the execution did not end", has_ended).await?;
    let well = end.state() == ExecutionState::Succeeded;
    ensure(well, || format!("it ended as {}", shown(&end)))?;
    alive.dead(Duration::from_secs(1), "after the end was told").await
}

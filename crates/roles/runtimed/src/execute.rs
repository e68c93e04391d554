//! The one Execute of an attempt: under a held Lease, with the server's dead-man switch set, never sent twice.

use crate::pod::Pod;
use crate::preparing::Made;
use crate::runtime::{EXECUTE_WITHIN, RenewError, Sent};
use crate::workspace::environment;
use kruntimes_api::Run;
use kruntimes_proto::executor::v1::ExecuteRequest;
use kruntimes_proto::{Bounds, Network};
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::limits::Limits;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits for the server to be there, until the Execute is abandoned; answers `Executed`, `ExecuteFailed` or `LeaseMissed`.
pub(crate) async fn under_lease(
    pod: &Pod,
    request: &ExecuteRequest,
    bounds: Bounds,
    mut abandoned: watch::Receiver<bool>,
) -> Event {
    let deadline = Instant::now() + EXECUTE_WITHIN;
    let mut pause = FIRST_PAUSE;
    loop {
        let mode = *pod.registry.mode().borrow();
        let armed = timeout_at(deadline, pod.lease.arm(&pod.server, mode)).await;
        let missed = matches!(armed, Ok(Err(RenewError::NotHeld))) || !pod.lease.is_held();
        if missed || *abandoned.borrow() {
            return Event::LeaseMissed;
        }
        if matches!(armed, Ok(Ok(()))) {
            match pod.server.execute(request.clone(), bounds, deadline).await {
                Sent::Taken => return Event::Executed,
                Sent::Refused(why) => return Event::ExecuteFailed(why),
                Sent::Never => {}
            }
        }
        tokio::select! {
            () = sleep_until(deadline) => {
                return Event::ExecuteFailed("the Runtime Server can't be reached".to_owned());
            }
            _ = abandoned.wait_for(|is| *is) => return Event::LeaseMissed,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What the server is asked to bound the execution by.
pub(crate) fn bounds(run: &Run, others: Limits) -> Bounds {
    let network = match run.spec.network {
        None | Some(kruntimes_api::Network::Full) => Network::Full,
        Some(kruntimes_api::Network::None) => Network::None,
    };
    let own = run.spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let Limits { memory, processes, disk } = own.map(Limits::of).unwrap_or_default().or(others);
    Bounds { network, memory, processes, disk }
}

/// What the server is asked to execute.
pub(crate) fn request(pod: &Pod, uid: &str, run: &Run, made: &Made) -> ExecuteRequest {
    let spec = &run.spec;
    ExecuteRequest {
        id: uid.to_owned(),
        args: spec.args.clone(),
        env: environment(
            &made.variables,
            &pod.workspaces.outputs(uid),
            pod.workspaces.artifacts(uid).as_deref(),
        ),
        timeout_seconds: spec.timeout_seconds.unwrap_or(0),
        working_dir: pod.workspaces.working_directory(&made.place).display().to_string(),
        entrypoint: made.place.entrypoint.clone(),
        handler: spec.handler.clone().unwrap_or_default(),
    }
}

//! The stream of events of the Runtime Server: opened, resumed, and polled for where there is none.

use crate::registry::{Mode, Registry};
use crate::runtime::{INSTANCE_METADATA, RuntimeServer};
use kruntimes_daemon::Shutdown;
use std::time::Duration;
use tokio::time::sleep;
use tonic::{Code, Response};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A server without events may be replaced by one that has them.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Keeps the stream open until the shutdown.
pub(crate) async fn follow(server: RuntimeServer, registry: Registry, mut shutdown: Shutdown) {
    tokio::select! {
        () = follow_for_ever(&server, &registry) => {}
        () = shutdown.wait() => {}
    }
}

async fn follow_for_ever(server: &RuntimeServer, registry: &Registry) {
    let mut instance = None;
    let mut streams = 0_u64;
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = open(server, registry, &mut instance).await;
        match answer {
            Ok(response) => {
                streams += 1;
                pause = FIRST_PAUSE;
                registry.set_mode(Mode::Events(streams));
                let mut stream = response.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(event)) => registry.deliver(event),
                        Ok(None) => break,
                        Err(status) => {
                            tracing::info!(error = %status, "the stream of events broke");
                            break;
                        }
                    }
                }
                registry.set_mode(Mode::Disconnected);
            }
            Err(status) if status.code() == Code::Unimplemented => {
                registry.set_mode(Mode::Polling);
                sleep(ASK_AGAIN).await;
                continue;
            }
            Err(_) => registry.set_mode(Mode::Disconnected),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

type Opened<T> = Result<Response<tonic::Streaming<T>>, tonic::Status>;

/// Resumes after the last event. A server that says it is another one is read from its first event; one that does not
/// say which it is, too: what it repeats is known already and changes nothing.
async fn open(
    server: &RuntimeServer,
    registry: &Registry,
    instance: &mut Option<String>,
) -> Opened<kruntimes_proto::executor::v1::ExecutionEvent> {
    let last = registry.last_sequence();
    let response = server.watch(if instance.is_some() { last } else { 0 }).await?;
    let named = response.metadata().get(INSTANCE_METADATA);
    let named = named.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let same = named == *instance;
    let first = instance.is_none();
    *instance = named;
    if same || first {
        return Ok(response);
    }
    registry.server_restarted();
    drop(response);
    server.watch(0).await
}

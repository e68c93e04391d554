//! The stream of events of the Runtime Server: opened, resumed, and polled for where there is none.

use crate::pod::Pod;
use crate::registry::{Mode, Registry};
use kruntimes_proto::executor::v1::ExecutionEvent;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tonic::{Code, Streaming};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A server without events may be replaced by one that has them.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Keeps the stream open for ever, once the Runs of this pod are known: an earlier life may have left executions.
pub(crate) async fn follow(pod: Arc<Pod>) {
    let (server, registry) = (&pod.server, &pod.registry);
    let mut synced = pod.synced.subscribe();
    // An error means that the pod ends.
    drop(synced.wait_for(|synced| *synced).await);
    let mut streams = 0_u64;
    let mut pause = FIRST_PAUSE;
    loop {
        match server.watch(registry.last_sequence()).await {
            Ok(response) => {
                streams += 1;
                pause = FIRST_PAUSE;
                registry.set_mode(Mode::Events(streams));
                read(response.into_inner(), registry).await;
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

async fn read(mut stream: Streaming<ExecutionEvent>, registry: &Registry) {
    let mut first = true;
    loop {
        match stream.message().await {
            Ok(Some(event)) => {
                // A server that begins again below what was resumed after is another one.
                if std::mem::take(&mut first) && event.sequence <= registry.last_sequence() {
                    registry.server_restarted();
                }
                registry.deliver(event);
            }
            Ok(None) => return,
            Err(status) => {
                tracing::info!(error = %status, "the stream of events broke");
                return;
            }
        }
    }
}

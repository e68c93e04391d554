//! The Runtime Server of this pod, as runtimed calls it. Everything that it answers is untrusted.

use kruntimes_api::conditions::SERVER_SAYS;
use kruntimes_artifacts::serve::Token;
use kruntimes_proto::executor::v1::runtime_client::RuntimeClient;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{
    CancelRequest, ExecuteRequest, ExecutionEvent, ForgetRequest, HealthRequest, RenewRequest,
    StatusRequest, StatusResponse, WatchRequest,
};
use kruntimes_proto::{BOUNDS_METADATA, Bounds, ISOLATION_METADATA};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

/// The largest answer that is read.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// What is kept of a server's word on isolation.
const ISOLATION_CHARS: usize = 512;
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How long Execute may take, the wait for a server that is not there included.
pub(crate) const EXECUTE_WITHIN: Duration = Duration::from_secs(10);
const CALL_WITHIN: Duration = Duration::from_secs(5);
const HEALTH_WITHIN: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What became of an Execute.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The server has it.
    Taken,
    /// It certainly did not reach the server, or found one that has executed nothing.
    Never,
    /// It was refused, or its answer is lost.
    Refused(String),
}

/// Why the dead-man switch of the server is not set.
#[derive(Debug, Error)]
pub(crate) enum RenewError {
    #[error("the Lease is not held")]
    NotHeld,
    #[error("the Runtime Server did not take it")]
    Failed(#[source] Status),
}

/// The client of the Runtime Server.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeServer {
    runtime: RuntimeClient<Channel>,
    events: RuntimeEventsClient<Channel>,
    renewals: RuntimeEventsClient<Channel>,
    token: Token,
    /// What the server last said of how it keeps its executions apart.
    isolation: watch::Sender<Option<String>>,
}

impl RuntimeServer {
    /// A client that connects when it is first used.
    pub(crate) fn new(address: SocketAddr, token: Token) -> Result<Self, tonic::transport::Error> {
        let endpoint = || {
            Endpoint::from_shared(format!("http://{address}"))
                .map(|endpoint| endpoint.connect_timeout(CONNECT_WITHIN).tcp_nodelay(true))
        };
        // The stream of events has a connection of its own.
        let (calls, stream) = (endpoint()?.connect_lazy(), endpoint()?.connect_lazy());
        Ok(Self {
            renewals: RuntimeEventsClient::new(calls.clone()),
            runtime: RuntimeClient::new(calls).max_decoding_message_size(MESSAGE_BYTES),
            events: RuntimeEventsClient::new(stream).max_decoding_message_size(MESSAGE_BYTES),
            token,
            isolation: watch::Sender::new(None),
        })
    }

    /// Whether the server can take work; an error says why not, and whether it says so itself.
    pub(crate) async fn healthy(&self) -> Result<(), String> {
        let request = self.token.sign(HealthRequest {});
        let mut client = self.runtime.clone();
        let answer = timeout(HEALTH_WITHIN, client.health(request)).await;
        if let Ok(Ok(answer)) = &answer {
            let said = answer.metadata().get(ISOLATION_METADATA).and_then(|it| it.to_str().ok());
            let said = said.map(|text| text.chars().take(ISOLATION_CHARS).collect());
            self.isolation.send_replace(said);
        }
        match answer {
            Err(_) => Err(format!("the Runtime Server did not answer within {HEALTH_WITHIN:?}")),
            Ok(Err(status)) => {
                Err(format!("the Runtime Server can't be asked: {}", status.message()))
            }
            Ok(Ok(answer)) if !answer.get_ref().healthy => {
                Err(format!("{SERVER_SAYS}{}", answer.into_inner().message))
            }
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// What the server last said of how it keeps its executions apart.
    pub(crate) fn isolation(&self) -> Option<String> {
        self.isolation.borrow().clone()
    }

    /// Whether nothing of an execution is left once its end is told, and none reaches what is another one's: only
    /// namespaces keep modes and attributes of others' directories from it.
    pub(crate) fn isolates(&self) -> bool {
        self.isolation.borrow().as_deref().is_some_and(kruntimes_proto::has_namespaces)
    }

    /// Whether the server keeps bounds of executions.
    async fn keeps_bounds(&self) -> bool {
        let known = self.isolation.borrow().is_some();
        known || (self.healthy().await.is_ok() && self.isolation.borrow().is_some())
    }

    /// Sends Execute once.
    pub(crate) async fn execute(
        &self,
        request: ExecuteRequest,
        bounds: Bounds,
        deadline: Instant,
    ) -> Sent {
        let mut request = self.token.sign(request);
        if bounds != Bounds::default() {
            if !self.keeps_bounds().await {
                return Sent::Refused(format!(
                    "the Runtime Server keeps no bounds, and the Run asks for {bounds}: leave out spec.network and \
                     spec.resources.limits, or use another Runtime"
                ));
            }
            let Ok(bounds) = bounds.to_string().parse() else { return Sent::Never };
            request.metadata_mut().insert(BOUNDS_METADATA, bounds);
        }
        let mut client = self.runtime.clone();
        match timeout_at(deadline, client.execute(request)).await {
            Err(_) => Sent::Refused(format!("Execute was not answered within {EXECUTE_WITHIN:?}")),
            Ok(Ok(_)) => Sent::Taken,
            Ok(Err(status)) if never_sent(&status) || waits_for_token(&status) => Sent::Never,
            Ok(Err(status)) => Sent::Refused(describe(&status)),
        }
    }

    /// Has the server kill all executions unless it hears of the next renewal within `ttl`. One that knows no such call
    /// kills nothing by itself.
    pub(crate) async fn renew(&self, ttl: Duration) -> Result<(), RenewError> {
        let ttl_millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut client = self.renewals.clone();
        let call = client.renew(self.token.sign(RenewRequest { ttl_millis }));
        match timeout(CALL_WITHIN, call).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(()),
            Ok(Err(status)) => Err(RenewError::Failed(status)),
            Err(_) => Err(RenewError::Failed(Status::deadline_exceeded("Renew was not answered"))),
        }
    }

    /// How one execution stands; none when the server does not know it.
    pub(crate) async fn status(&self, id: &str) -> Result<Option<StatusResponse>, Status> {
        let request = self.token.sign(StatusRequest { id: id.to_owned() });
        let mut client = self.runtime.clone();
        match timeout(CALL_WITHIN, client.status(request)).await {
            Err(_) => Err(Status::deadline_exceeded("Status was not answered")),
            Ok(Ok(answer)) => Ok(Some(answer.into_inner())),
            Ok(Err(status)) if status.code() == Code::NotFound => Ok(None),
            Ok(Err(status)) => Err(status),
        }
    }

    /// Kills until the server says that nothing is left.
    pub(crate) async fn cancel(&self, id: &str) {
        let mut pause = FIRST_PAUSE;
        loop {
            let request = self.token.sign(CancelRequest { id: id.to_owned() });
            let mut client = self.runtime.clone();
            match timeout(CALL_WITHIN, client.cancel(request)).await {
                Ok(Ok(_)) => return,
                Ok(Err(status)) if status.code() == Code::NotFound => return,
                Ok(Err(status)) => tracing::warn!(id, error = %describe(&status), "Cancel failed"),
                Err(_) => tracing::warn!(id, "Cancel was not answered"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Drops an ended execution; one that turns out to run is killed.
    pub(crate) async fn forget(&self, id: &str) {
        let mut pause = FIRST_PAUSE;
        loop {
            let request = self.token.sign(ForgetRequest { id: id.to_owned() });
            let mut client = self.runtime.clone();
            if let Ok(answer) = timeout(CALL_WITHIN, client.forget(request)).await {
                match answer.as_ref().map_err(Status::code) {
                    Ok(_) | Err(Code::NotFound | Code::Unimplemented) => return,
                    Err(Code::FailedPrecondition) => return self.cancel(id).await,
                    Err(code) => tracing::warn!(id, ?code, "Forget failed"),
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens the stream of events of all executions.
    pub(crate) async fn watch(
        &self,
        resume_after: i64,
    ) -> Result<Response<Streaming<ExecutionEvent>>, Status> {
        let request = self.token.sign(WatchRequest { resume_after });
        let mut client = self.events.clone();
        match timeout(CALL_WITHIN, client.watch(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("Watch was not answered")),
        }
    }
}

/// Whether the request certainly did not reach the server: there was no connection to send it on.
fn never_sent(status: &Status) -> bool {
    use std::error::Error;
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

/// A server that has not read the token yet has executed nothing.
fn waits_for_token(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

fn describe(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

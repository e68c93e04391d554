//! A Runtime Server whose executions do what the test says.

use futures::stream::BoxStream;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_events_server::{RuntimeEvents, RuntimeEventsServer};
use kruntimes_proto::executor::v1::runtime_server::{Runtime, RuntimeServer};
use kruntimes_proto::executor::v1::{
    CancelRequest, CancelResponse, ExecuteRequest, ExecuteResponse, ExecutionEvent,
    ExecutionExited, ExecutionOutput, ExecutionStarted, ExecutionState, ForgetRequest,
    ForgetResponse, HealthRequest, HealthResponse, ListRequest, ListResponse, RenewRequest,
    RenewResponse, StatusRequest, StatusResponse, WatchRequest,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[derive(Default)]
struct State {
    executions: BTreeMap<String, StatusResponse>,
    events: Vec<ExecutionEvent>,
    /// `Execute <id>`, `Cancel <id>`, `Forget <id>` in their order.
    calls: Vec<String>,
    requests: Vec<ExecuteRequest>,
    /// How many calls had been made before each, and how long it was good for.
    renewals: Vec<(usize, Duration)>,
    streams: u64,
    refuses: Option<Status>,
    garbles: Option<Garble>,
    unhealthy: bool,
    holds_cancel: bool,
}

/// What Status answers instead of the truth.
#[derive(Clone)]
pub(crate) enum Garble {
    Fails(Status),
    Hangs,
    /// So many bytes of output.
    Prints(usize),
}

/// The server, and the hand that moves it.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    token_file: PathBuf,
    with_events: bool,
}

impl Fake {
    pub(crate) async fn start(
        address: IpAddr,
        token_file: PathBuf,
        with_events: bool,
    ) -> (Self, JoinHandle<()>) {
        let fake = Self {
            state: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
            token_file,
            with_events,
        };
        let listener = TcpListener::bind((address, 9091)).await.unwrap();
        let mut server = tonic::transport::Server::builder();
        let mut router = server.add_service(RuntimeServer::new(fake.clone()));
        if with_events {
            router = router.add_service(RuntimeEventsServer::new(fake.clone()));
        }
        let serving = router.serve_with_incoming(TcpIncoming::from(listener));
        (fake, tokio::spawn(async move { serving.await.unwrap() }))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.send_modify(|version| *version += 1);
        result
    }

    async fn until<T>(&self, mut found: impl FnMut(&State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                if let Some(result) = found(&self.state.lock().unwrap()) {
                    return result;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(super::world::PATIENCE, wait).await.unwrap()
    }

    /// The Execute of that number, from 0.
    pub(crate) async fn executed(&self, number: usize) -> ExecuteRequest {
        self.until(|state| state.requests.get(number).cloned()).await
    }

    /// Waits for a call, e.g. `Cancel <id>`.
    pub(crate) async fn called(&self, call: &str) {
        self.until(|state| state.calls.iter().any(|made| made == call).then_some(())).await;
    }

    /// How many calls had been made before each renewal, and how long it was good for.
    pub(crate) fn renewals(&self) -> Vec<(usize, Duration)> {
        self.state.lock().unwrap().renewals.clone()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    pub(crate) fn output(&self, id: &str, stream: i32, offset: i64, data: &[u8]) {
        self.emit(id, Event::Output(ExecutionOutput { stream, offset, data: data.to_vec() }));
        self.change(|state| {
            let execution = state.executions.get_mut(id).unwrap();
            let text = String::from_utf8_lossy(data);
            let kept = if stream == 1 { &mut execution.stdout } else { &mut execution.stderr };
            kept.push_str(&text);
        });
    }

    pub(crate) fn exit(&self, id: &str, exit_code: i32, error_message: &str) {
        let ok = exit_code == 0 && error_message.is_empty();
        self.change(|state| {
            let execution = state.executions.get_mut(id).unwrap();
            let end = if ok { ExecutionState::Succeeded } else { ExecutionState::Failed };
            execution.set_state(end);
            execution.exit_code = exit_code;
            execution.error_message = error_message.to_owned();
        });
        self.emit(
            id,
            Event::Exited(ExecutionExited {
                exit_code,
                signal: 0,
                error_message: error_message.to_owned(),
                dropped_bytes: 0,
            }),
        );
    }

    pub(crate) fn emit(&self, id: &str, event: Event) {
        self.change(|state| {
            let sequence = state.events.len() as i64 + 1;
            let now = jiff::Timestamp::now().as_nanosecond();
            state.events.push(ExecutionEvent {
                sequence,
                id: id.to_owned(),
                time_unix_nano: now as i64,
                event: Some(event),
            });
        });
    }

    /// Breaks every stream of events.
    pub(crate) fn break_streams(&self) {
        self.change(|state| state.streams += 1);
    }

    /// Loses all executions, as a restart does.
    pub(crate) fn lose_all(&self) {
        self.change(|state| state.executions.clear());
    }

    pub(crate) fn refuse(&self, status: Option<Status>) {
        self.change(|state| state.refuses = status);
    }

    pub(crate) fn garble(&self, garble: Option<Garble>) {
        self.change(|state| state.garbles = garble);
    }

    /// What Status says of the state of an execution.
    pub(crate) fn set_state(&self, id: &str, reported: ExecutionState) {
        self.change(|state| state.executions.get_mut(id).unwrap().set_state(reported));
    }

    pub(crate) fn set_unhealthy(&self, unhealthy: bool) {
        self.change(|state| state.unhealthy = unhealthy);
    }

    pub(crate) fn hold_cancel(&self, holds: bool) {
        self.change(|state| state.holds_cancel = holds);
    }

    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let token = std::fs::read_to_string(&self.token_file).unwrap_or_default();
        let given = request.metadata().get("kruntimes-token").map(|value| value.as_bytes());
        let same = !token.is_empty() && given == Some(token.as_bytes());
        if same { Ok(()) } else { Err(Status::unauthenticated("no token")) }
    }
}

#[tonic::async_trait]
impl Runtime for Fake {
    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        self.check(&request)?;
        let request = request.into_inner();
        let id = request.id.clone();
        let refused = self.change(|state| {
            state.calls.push(format!("Execute {id}"));
            state.requests.push(request);
            if state.refuses.is_none() {
                let mut status = StatusResponse { id: id.clone(), ..StatusResponse::default() };
                status.set_state(ExecutionState::Running);
                let former = state.executions.insert(id.clone(), status);
                assert!(former.is_none(), "executed although it is known");
            }
            state.refuses.clone()
        });
        if let Some(status) = refused {
            return Err(status);
        }
        self.emit(&id, Event::Started(ExecutionStarted {}));
        Ok(Response::new(ExecuteResponse { id }))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.check(&request)?;
        let garbles = self.state.lock().unwrap().garbles.clone();
        match garbles {
            None => {}
            Some(Garble::Fails(status)) => return Err(status),
            Some(Garble::Hangs) => return std::future::pending().await,
            Some(Garble::Prints(bytes)) => {
                let mut status = StatusResponse { stdout: "x".repeat(bytes), ..Default::default() };
                status.set_state(ExecutionState::Running);
                return Ok(Response::new(status));
            }
        }
        let state = self.state.lock().unwrap();
        let known = state.executions.get(&request.get_ref().id).cloned();
        known.map(Response::new).ok_or_else(|| Status::not_found("unknown"))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Err(Status::internal("runtimed has no use for List"))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        self.check(&request)?;
        let id = request.into_inner().id;
        self.change(|state| state.calls.push(format!("Cancel {id}")));
        self.until(|state| (!state.holds_cancel).then_some(())).await;
        let known = self.change(|state| state.executions.remove(&id));
        known.map(|_| Response::new(CancelResponse {})).ok_or_else(|| Status::not_found("unknown"))
    }

    async fn forget(
        &self,
        request: Request<ForgetRequest>,
    ) -> Result<Response<ForgetResponse>, Status> {
        self.check(&request)?;
        let id = request.into_inner().id;
        self.change(|state| {
            state.calls.push(format!("Forget {id}"));
            state.executions.remove(&id);
        });
        Ok(Response::new(ForgetResponse {}))
    }

    async fn health(
        &self,
        request: Request<HealthRequest>,
    ) -> Result<Response<HealthResponse>, Status> {
        self.check(&request)?;
        let healthy = !self.state.lock().unwrap().unhealthy;
        let message = if healthy { "" } else { "out of order" }.to_owned();
        Ok(Response::new(HealthResponse { healthy, message }))
    }
}

#[tonic::async_trait]
impl RuntimeEvents for Fake {
    type WatchStream = BoxStream<'static, Result<ExecutionEvent, Status>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.check(&request)?;
        assert!(self.with_events);
        let stream = self.state.lock().unwrap().streams;
        let start = (self.clone(), self.changed.subscribe(), request.get_ref().resume_after);
        let events = futures::stream::unfold(start, move |(fake, mut changed, after)| async move {
            loop {
                {
                    let state = fake.state.lock().unwrap();
                    if state.streams != stream {
                        return None;
                    }
                    let next = state.events.iter().find(|event| event.sequence > after).cloned();
                    if let Some(event) = next {
                        drop(state);
                        let after = event.sequence;
                        return Some((Ok(event), (fake, changed, after)));
                    }
                }
                changed.changed().await.ok()?;
            }
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        self.check(&request)?;
        let ttl = Duration::from_millis(request.get_ref().ttl_millis.unsigned_abs());
        self.change(|state| {
            state.renewals.push((state.calls.len(), ttl));
        });
        Ok(Response::new(RenewResponse {}))
    }
}

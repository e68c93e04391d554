//! A server that keeps every rule, behind a proxy that breaks one.

use crate::later::Strict;
use crate::mini;
use clap::Parser;
use futures::{Stream, StreamExt};
use kruntimes_proto::TOKEN_METADATA;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_client::RuntimeClient;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::runtime_events_server::{RuntimeEvents, RuntimeEventsServer};
use kruntimes_proto::executor::v1::runtime_server::{Runtime, RuntimeServer};
use kruntimes_proto::executor::v1::{
    CancelRequest, CancelResponse, ExecuteRequest, ExecuteResponse, ExecutionEvent, ExecutionState,
    ForgetRequest, ForgetResponse, HealthRequest, HealthResponse, ListRequest, ListResponse,
    RenewRequest, RenewResponse, StatusRequest, StatusResponse, WatchRequest,
};
use kruntimes_runtime_server::{Config, Shutdown, Trigger, from_fn, serve_on};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

pub(crate) const TOKEN: &str = "0123456789abcdef";

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

/// The two servers and their places.
pub(crate) struct Home {
    pub(crate) endpoint: String,
    pub(crate) dir: PathBuf,
    _dir: TempDir,
    _stop: Trigger,
}

impl Home {
    pub(crate) async fn start(fault: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        std::fs::create_dir(path.join("workspace")).unwrap();
        std::fs::write(path.join("token"), TOKEN).unwrap();
        let (good, stop) = start_good(fault, &path);
        let channel = Endpoint::from_shared(format!("http://{good}")).unwrap().connect_lazy();
        let proxy = Proxy { fault, channel, seen: Arc::default(), busy: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        tokio::spawn(
            tonic::transport::Server::builder()
                .layer(tower::layer::layer_fn(move |inner| Strict { inner, fault }))
                .add_service(RuntimeServer::new(proxy.clone()))
                .add_service(RuntimeEventsServer::new(proxy))
                .serve_with_incoming(TcpIncoming::from(listener)),
        );
        Self { endpoint, dir: path, _dir: dir, _stop: stop }
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.dir.join("workspace")
    }
}

fn start_good(fault: &'static str, dir: &Path) -> (String, Trigger) {
    let mut config = Arguments::parse_from(["server"]).config;
    config.work_dir = dir.join("workspace");
    config.control = dir.to_owned();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(async move {
        let executor = from_fn(&config, move |request, output, cancel| {
            mini::execute(fault, request, output, cancel)
        });
        serve_on(listener, &config, executor, shutdown).await.unwrap();
    });
    (address, trigger)
}

#[derive(Clone)]
struct Proxy {
    fault: &'static str,
    channel: Channel,
    /// Ids of all Executes, in order.
    seen: Arc<Mutex<Vec<String>>>,
    /// Held by calls that keep others waiting.
    busy: Arc<tokio::sync::Mutex<()>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Proxy {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn runtime(&self) -> RuntimeClient<Channel> {
        RuntimeClient::new(self.channel.clone())
    }

    fn events(&self) -> RuntimeEventsClient<Channel> {
        RuntimeEventsClient::new(self.channel.clone())
    }

    fn executions(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn changed(&self, mut status: StatusResponse) -> StatusResponse {
        let ended = matches!(status.state(), ExecutionState::Succeeded | ExecutionState::Failed);
        match self.fault {
            "status/running" if !ended => status.set_state(ExecutionState::Unspecified),
            "status/succeeded" if ended => "well done".clone_into(&mut status.error_message),
            "status/failed" if status.exit_code > 0 => status.exit_code = 1,
            "output/live" if !ended => status.stdout.clear(),
            "output/bounded" => status.stdout.truncate(1000),
            "output/bounded+much" => status.stdout = "x".repeat(3 * 1024 * 1024),
            "list/bounded" => status.stderr = "x".repeat(900 * 1024),
            "output/streams" => std::mem::swap(&mut status.stdout, &mut status.stderr),
            "timeout+message" => {
                status.error_message = status.error_message.replace("timeout", "too late");
            }
            _ => {}
        }
        status
    }
}

#[tonic::async_trait]
impl Runtime for Proxy {
    async fn execute(&self, mut request: Request<ExecuteRequest>) -> Answer<ExecuteResponse> {
        let id = request.get_ref().id.clone();
        let known = self.seen.lock().unwrap().contains(&id);
        let inner = request.get_mut();
        match self.fault {
            "execute/at-once+late" => tokio::time::sleep(Duration::from_secs(6)).await,
            "execute/no-twins" if known => inner.id.push_str("-twin"),
            "execute/again" if known => return Err(Status::already_exists("known")),
            "execute/many" if self.executions() >= 4 => {
                return Err(Status::resource_exhausted("too many"));
            }
            "timeout" => inner.timeout_seconds = 0,
            "env" => inner.env.clear(),
            "working-dir/files" => "/".clone_into(&mut inner.working_dir),
            "working-dir/default" if inner.working_dir.is_empty() => {
                "/tmp".clone_into(&mut inner.working_dir);
            }
            "input/working-dir" => inner.working_dir.clear(),
            "entrypoint" => inner.args.clear(),
            "input/id" if id.contains('/') => "fine".clone_into(&mut inner.id),
            "input/nul" => {
                inner.env.clear();
                inner.args.iter_mut().for_each(|arg| *arg = arg.replace('\0', ""));
            }
            "input/many" if inner.args.len() > 1000 => std::future::pending().await,
            _ => {}
        }
        self.seen.lock().unwrap().push(id.clone());
        let answer = match self.runtime().execute(request).await {
            Err(status)
                if self.is("events/renew+execute") && status.code() == Code::FailedPrecondition =>
            {
                Ok(Response::new(ExecuteResponse { id: id.clone() }))
            }
            answer => answer,
        };
        answer.map(|answer| match self.fault {
            "execute/at-once" => Response::new(ExecuteResponse { id: format!("{id}-other") }),
            _ => answer,
        })
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let id = request.get_ref().id.clone();
        if self.is("forget/kept") {
            let seen = self.seen.lock().unwrap();
            if seen.iter().rev().take(16).all(|newer| *newer != id) {
                return Err(Status::not_found("too old"));
            }
        }
        match self.runtime().status(request).await {
            Err(status) if self.is("unknown") && status.code() == Code::NotFound => {
                Ok(Response::new(StatusResponse { id, ..StatusResponse::default() }))
            }
            answer => answer.map(|answer| Response::new(self.changed(answer.into_inner()))),
        }
    }

    async fn list(&self, mut request: Request<ListRequest>) -> Answer<ListResponse> {
        if self.is("token") {
            request.metadata_mut().insert(TOKEN_METADATA, TOKEN.parse().unwrap());
        }
        let list = self.runtime().list(request).await?.into_inner();
        let mut entries: Vec<_> =
            list.entries.into_iter().map(|entry| self.changed(entry)).collect();
        if self.is("list") {
            entries.retain(|entry| entry.state() == ExecutionState::Running);
        }
        Ok(Response::new(ListResponse { entries }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Answer<CancelResponse> {
        match self.fault {
            "cancel/dropped" | "cancel/stubborn+refused" => {
                return Ok(Response::new(CancelResponse {}));
            }
            "cancel/ended" => {
                let id = request.get_ref().id.clone();
                let mut status = Request::new(StatusRequest { id });
                *status.metadata_mut() = request.metadata().clone();
                let status = self.runtime().status(status).await?;
                if status.get_ref().state() != ExecutionState::Running {
                    return Err(Status::failed_precondition("it has ended"));
                }
            }
            "cancel/stubborn" => tokio::time::sleep(Duration::from_secs(6)).await,
            "cancel/at-once" => {
                let _busy = self.busy.lock().await;
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            _ => {}
        }
        self.runtime().cancel(request).await
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Answer<ForgetResponse> {
        if self.is("forget/ended") {
            return Ok(Response::new(ForgetResponse {}));
        }
        match self.runtime().forget(request).await {
            Err(status)
                if self.is("forget/running") && status.code() == Code::FailedPrecondition =>
            {
                Ok(Response::new(ForgetResponse {}))
            }
            answer => answer,
        }
    }

    async fn health(&self, request: Request<HealthRequest>) -> Answer<HealthResponse> {
        let _busy = self.busy.lock().await;
        if self.is("health") && self.executions() > 0 {
            let message = "busy".to_owned();
            return Ok(Response::new(HealthResponse { healthy: false, message }));
        }
        self.runtime().health(request).await
    }
}

#[tonic::async_trait]
impl RuntimeEvents for Proxy {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<ExecutionEvent, Status>> + Send>>;

    async fn watch(&self, mut request: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        match self.fault {
            "events/optional" => return Err(Status::internal("no such service")),
            "events/resume" => request.get_mut().resume_after = 0,
            // Numbers are doubled on their way back.
            _ => request.get_mut().resume_after /= 2,
        }
        let events = self.events().watch(request).await?.into_inner();
        let fault = self.fault;
        let changed = events.flat_map(move |event| {
            let events = match event {
                Ok(event) => changed(fault, event).into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            };
            futures::stream::iter(events)
        });
        Ok(Response::new(Box::pin(changed)))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Answer<RenewResponse> {
        match self.fault {
            "events/optional+half" => Err(Status::unimplemented("no Renew")),
            "events/renew" if request.get_ref().ttl_millis > 0 => {
                Ok(Response::new(RenewResponse {}))
            }
            _ => self.events().renew(request).await,
        }
    }
}

/// The events in place of one; numbers are doubled, to have room between them.
fn changed(fault: &str, mut event: ExecutionEvent) -> Vec<ExecutionEvent> {
    event.sequence *= 2;
    let Some(kind) = &mut event.event else { return vec![event] };
    match (fault, kind) {
        ("events/told", Event::Started(_)) => return Vec::new(),
        ("events/told+twice", Event::Exited(_)) => {
            let again = ExecutionEvent { sequence: event.sequence + 1, ..event.clone() };
            return vec![event, again];
        }
        ("events/told+mixed", Event::Output(output)) => output.stream = 3 - output.stream,
        ("events/output", Event::Output(output)) => output.offset += 1,
        _ => {}
    }
    vec![event]
}

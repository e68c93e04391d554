//! The server under test: its calls with their limits, its executions, and the directories that both sides see.

use crate::Settings;
use crate::alive::Alive;
use crate::rules::{Checked, Stop};
use crate::server::{Server, StartError};
use crate::works::{Work, Works};
use kruntimes_proto::TOKEN_METADATA;
use kruntimes_proto::executor::v1::runtime_client::RuntimeClient;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{
    CancelRequest, ExecuteRequest, ExecutionState, ForgetRequest, HealthRequest, StatusRequest,
    StatusResponse,
};
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// What runtimed waits for an answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to answer Health after its start.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A server that was started by somebody else is there or not.
const THERE_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at a server that can't tell by itself.
const PAUSE: Duration = Duration::from_millis(20);
/// The largest answer that runtimed reads.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The server and what the kit knows of it.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) runtime: RuntimeClient<Channel>,
    pub(crate) events: RuntimeEventsClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) server: Option<Server>,
    pub(crate) token: Option<String>,
    pub(crate) works: Works,
    /// How long a short work may take.
    pub(crate) patience: Duration,
    endpoint: String,
    work_dir: Option<PathBuf>,
    life: u64,
    next: u32,
    /// Ids that the current rule has used.
    used: Vec<String>,
}

impl Subject {
    /// Starts the server, or finds it.
    pub(crate) async fn new(settings: Settings) -> Result<Self, StartError> {
        let mut endpoint = settings.endpoint.unwrap_or_default();
        let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let server = match settings.command {
            None if endpoint.is_empty() => return Err(StartError::NoServer),
            None => None,
            Some(command) => {
                let server = Server::new(command, port).map_err(StartError::Start)?;
                if endpoint.is_empty() {
                    endpoint = format!("127.0.0.1:{}", server.port());
                }
                Some(server)
            }
        };
        if !endpoint.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        }) {
            return Err(StartError::Endpoint(endpoint));
        }
        let channel = Endpoint::from_shared(format!("http://{endpoint}"))
            .map_err(|_| StartError::Endpoint(endpoint.clone()))?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .connect_lazy();
        let token = match &server {
            Some(server) => Some(server.token().map_err(StartError::Start)?),
            None => settings.token,
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut subject = Self {
            runtime: RuntimeClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES),
            events: RuntimeEventsClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES),
            channel,
            work_dir: server.as_ref().map(Server::work_dir).or(settings.work_dir),
            server,
            token,
            works: settings.works,
            patience: settings.patience,
            endpoint,
            life: since.as_secs(),
            next: 0,
            used: Vec::new(),
        };
        subject.start_server().await?;
        Ok(subject)
    }

    /// Starts the command, if there is one, and waits for Health.
    pub(crate) async fn start_server(&mut self) -> Result<(), StartError> {
        if let Some(server) = &mut self.server {
            server.start().map_err(StartError::Start)?;
        }
        let within = if self.server.is_some() { READY_WITHIN } else { THERE_WITHIN };
        let deadline = Instant::now() + within;
        loop {
            let request = self.sign(HealthRequest {});
            let why = match timeout(ANSWER_WITHIN, self.runtime.health(request)).await {
                Ok(Ok(answer)) if answer.get_ref().healthy => return Ok(()),
                Ok(Ok(answer)) => format!("it is not healthy: {}", answer.get_ref().message),
                Ok(Err(status)) => said(&status),
                Err(_) => "Health is not answered".to_owned(),
            };
            if let Some(server) = &mut self.server
                && let Some(end) = server.has_ended().await
            {
                return Err(StartError::Ended(end));
            }
            if Instant::now() >= deadline {
                return Err(StartError::Silent { endpoint: self.endpoint.clone(), why });
            }
            sleep(PAUSE).await;
        }
    }

    /// The message with the control token, if one is known.
    pub(crate) fn sign<T>(&self, message: T) -> Request<T> {
        signed(message, self.token.as_deref())
    }

    /// An id that nobody has used.
    pub(crate) fn fresh_id(&mut self) -> String {
        self.next += 1;
        let id = format!("conformance-{}-{}", self.life, self.next);
        self.used.push(id.clone());
        id
    }

    /// The working directory of an id, made anew, where both sides see one.
    pub(crate) fn directory(&self, id: &str) -> Result<PathBuf, Stop> {
        let Some(work_dir) = &self.work_dir else {
            return Err(Stop::Skip(
                "it takes a directory that the server sees too: give --work-dir or --command"
                    .to_owned(),
            ));
        };
        let directory = work_dir.join(id).join("work");
        std::fs::create_dir_all(&directory)
            .map_err(|error| Stop::Skip(format!("can't make {}: {error}", directory.display())))?;
        Ok(directory)
    }

    /// The request for a work under a fresh id, in a directory of its own where there is one.
    pub(crate) fn request(
        &mut self,
        work: Option<Work>,
        name: &str,
    ) -> Result<ExecuteRequest, Stop> {
        let Some(work) = work else {
            return Err(Stop::Skip(format!("the works do not say how to ask for {name:?}")));
        };
        let id = self.fresh_id();
        let mut working_dir = String::new();
        if self.work_dir.is_some() || !work.content.is_empty() {
            let directory = self.directory(&id)?;
            working_dir = directory.display().to_string();
            if !work.content.is_empty() {
                let name = if work.entrypoint.is_empty() { "script" } else { &work.entrypoint };
                write_program(&directory.join(name), &work.content)
                    .map_err(|error| Stop::Skip(format!("can't write {name}: {error}")))?;
            }
        }
        Ok(ExecuteRequest {
            id,
            args: work.args,
            env: [].into(),
            timeout_seconds: 0,
            working_dir,
            entrypoint: work.entrypoint,
            handler: work.handler,
        })
    }

    /// A FIFO in the working directory of a request, which tells when its processes are dead.
    pub(crate) fn alive(&self, request: &ExecuteRequest) -> Result<Alive, Stop> {
        Alive::new(&self.directory(&request.id)?)
    }

    /// Sends Execute, which must be taken.
    pub(crate) async fn execute(&mut self, request: &ExecuteRequest) -> Checked {
        let answer = self.try_execute(request).await?;
        match answer {
            Ok(answer) if answer.get_ref().id == request.id => Ok(()),
            Ok(answer) => Err(Stop::Fail(format!(
                "Execute of {:?} answered the id {:?}",
                request.id,
                answer.get_ref().id
            ))),
            Err(status) => Err(Stop::Fail(format!("Execute was refused: {}", said(&status)))),
        }
    }

    /// Sends Execute, whatever is answered.
    pub(crate) async fn try_execute(
        &mut self,
        request: &ExecuteRequest,
    ) -> Answer<kruntimes_proto::executor::v1::ExecuteResponse> {
        let request = self.sign(request.clone());
        within("Execute", ANSWER_WITHIN, self.runtime.execute(request)).await
    }

    /// Status, whatever is answered.
    pub(crate) async fn try_status(&mut self, id: &str) -> Answer<StatusResponse> {
        let request = self.sign(StatusRequest { id: id.to_owned() });
        within("Status", ANSWER_WITHIN, self.runtime.status(request)).await
    }

    /// Status of an execution that the server must know.
    pub(crate) async fn status(&mut self, id: &str) -> Result<StatusResponse, Stop> {
        match self.try_status(id).await? {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(Stop::Fail(format!("Status answered {}", said(&status)))),
        }
    }

    /// Cancel, whatever is answered.
    pub(crate) async fn cancel(
        &mut self,
        id: &str,
    ) -> Answer<kruntimes_proto::executor::v1::CancelResponse> {
        let request = self.sign(CancelRequest { id: id.to_owned() });
        within("Cancel", ANSWER_WITHIN, self.runtime.cancel(request)).await
    }

    /// Forget, whatever is answered.
    pub(crate) async fn forget(
        &mut self,
        id: &str,
    ) -> Answer<kruntimes_proto::executor::v1::ForgetResponse> {
        let request = self.sign(ForgetRequest { id: id.to_owned() });
        within("Forget", ANSWER_WITHIN, self.runtime.forget(request)).await
    }

    /// Looks until the status is as wished.
    pub(crate) async fn until(
        &mut self,
        id: &str,
        what: &str,
        wish: impl Fn(&StatusResponse) -> bool,
    ) -> Result<StatusResponse, Stop> {
        let patience = self.patience;
        self.until_within(id, patience, what, wish).await
    }

    /// Looks for so long until the status is as wished.
    pub(crate) async fn until_within(
        &mut self,
        id: &str,
        within: Duration,
        what: &str,
        wish: impl Fn(&StatusResponse) -> bool,
    ) -> Result<StatusResponse, Stop> {
        let deadline = Instant::now() + within;
        loop {
            let status = self.status(id).await?;
            if wish(&status) {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Stop::Fail(format!(
                    "{what} within {within:?}: it is {}",
                    status.state().as_str_name()
                )));
            }
            sleep(PAUSE).await;
        }
    }

    /// Looks until an execution has ended.
    pub(crate) async fn end(&mut self, id: &str) -> Result<StatusResponse, Stop> {
        self.until(id, "the execution did not end", has_ended).await
    }

    /// Executes to the end.
    pub(crate) async fn run(&mut self, request: &ExecuteRequest) -> Result<StatusResponse, Stop> {
        self.execute(request).await?;
        self.end(&request.id).await
    }

    /// Ends and removes all that the last rule has used.
    pub(crate) async fn clean_up(&mut self) {
        for id in std::mem::take(&mut self.used) {
            // The rule has said already what does not work.
            let _ = self.cancel(&id).await;
            if let Some(work_dir) = &self.work_dir {
                // A tree that lives may still write; the next id has a directory of its own.
                let _ = std::fs::remove_dir_all(work_dir.join(&id));
            }
        }
    }

    /// Stops the server, if it is ours.
    pub(crate) async fn close(mut self) {
        if let Some(server) = &mut self.server {
            server.end(rustix::process::Signal::TERM).await;
        }
    }
}

/// An answer that came in time, whatever it says.
pub(crate) type Answer<T> = Result<Result<Response<T>, Status>, Stop>;

/// Waits for an answer.
pub(crate) async fn within<T>(
    what: &str,
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Answer<T> {
    timeout(limit, call)
        .await
        .map_err(|_| Stop::Fail(format!("{what} was not answered within {limit:?}")))
}

/// The message with this token; one that is no header is sent as none.
pub(crate) fn signed<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        request.metadata_mut().insert(TOKEN_METADATA, token);
    }
    request
}

/// Whether it is in one of the two last states.
pub(crate) fn has_ended(status: &StatusResponse) -> bool {
    matches!(status.state(), ExecutionState::Succeeded | ExecutionState::Failed)
}

/// A gRPC status in a few words.
pub(crate) fn said(status: &Status) -> String {
    let message: String = status.message().chars().take(200).collect();
    format!("{:?}: {message}", status.code())
}

fn write_program(path: &std::path::Path, content: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o755).open(path)?.write_all(content.as_bytes())
}

//! A server in a process of its own, and a client of it.

use clap::Parser;
use kruntimes_confine::Zygote;
use kruntimes_daemon::{Shutdown, lifeline};
use kruntimes_languages::python;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_client::RuntimeClient;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{
    ExecuteRequest, ExecutionEvent, ExecutionExited, HealthRequest, StatusRequest, StatusResponse,
    WatchRequest,
};
use kruntimes_proto::{ISOLATION_METADATA, TOKEN_METADATA};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Names the directory of the server that this process shall be.
pub(crate) const SERVER: &str = "KRUNTIMES_TEST_SERVER";
/// Says that it is one of Python.
const PYTHON: &str = "KRUNTIMES_TEST_PYTHON";
pub(crate) const TOKEN: &str = "0123456789abcdef";

type Authorized = InterceptedService<Channel, Token>;

#[derive(Clone)]
pub(crate) struct Token(pub(crate) Option<&'static str>);

impl tonic::service::Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.0 {
            request.metadata_mut().insert(TOKEN_METADATA, MetadataValue::from_static(token));
        }
        Ok(request)
    }
}

pub(crate) struct Fixture {
    pub(crate) process: Child,
    pub(crate) runtime: RuntimeClient<Authorized>,
    pub(crate) events: RuntimeEventsClient<Authorized>,
    pub(crate) channel: Channel,
    pub(crate) language: Language,
    dir: PathBuf,
}

/// What a watcher saw of one execution.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) started: usize,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exited: Option<ExecutionExited>,
}

/// What the server executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Bash,
    Python,
}

#[derive(clap::Parser)]
struct Bash {
    #[command(flatten)]
    config: kruntimes_languages::Config,
}

#[derive(clap::Parser)]
struct Python {
    #[command(flatten)]
    config: python::Config,
}

/// Serves on a free port, which it prints.
pub(crate) fn be_server(dir: &Path) -> ExitCode {
    let zygote = Zygote::start().unwrap();
    let args = std::env::args_os();
    let place = |config: &mut kruntimes_runtime_server::Config| {
        config.workspace = Some(dir.join("workspace"));
        config.control = dir.to_owned();
    };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = executor.block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let (trigger, shutdown) = Shutdown::new();
        tokio::spawn(lifeline::watch_stdin(trigger));
        if std::env::var_os(PYTHON).is_some() {
            let mut config = Python::parse_from(args).config;
            place(&mut config.server);
            python::serve_on(listener, config, zygote, shutdown).await
        } else {
            let mut config = Bash::parse_from(args).config;
            place(&mut config.server);
            kruntimes_languages::serve_on(listener, config, zygote, shutdown).await
        }
    });
    // The thread that reads stdin is not waited for.
    executor.shutdown_background();
    ExitCode::from(u8::from(result.is_err()))
}

impl Fixture {
    pub(crate) async fn start(language: Language) -> Self {
        Self::start_with(language, &[]).await
    }

    /// Starts a server with more arguments.
    pub(crate) async fn start_with(language: Language, args: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("krt-server-{}-{next}", std::process::id()));
        fs::create_dir_all(dir.join("workspace")).unwrap();
        fs::write(dir.join("token"), format!("{TOKEN}\n")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        if language == Language::Python {
            command.env(PYTHON, "");
        }
        let mut process = command
            .args(args)
            .env(SERVER, &dir)
            .env("SERVER_SECRET", "secret")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        let address = format!("http://127.0.0.1:{}", port.trim());
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        let token = Token(Some(TOKEN));
        Self {
            process,
            runtime: RuntimeClient::with_interceptor(channel.clone(), token.clone()),
            events: RuntimeEventsClient::with_interceptor(channel.clone(), token),
            channel,
            language,
            dir,
        }
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.dir.join("workspace")
    }

    /// Makes the working directory of an execution, with a file in it.
    pub(crate) fn write(&self, id: &str, file: &str, content: &str) {
        let path = self.workspace().join(id).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) async fn execute(&mut self, request: ExecuteRequest) {
        self.runtime.execute(request).await.unwrap();
    }

    pub(crate) async fn watch(&mut self, resume_after: i64) -> Streaming<ExecutionEvent> {
        self.events.watch(WatchRequest { resume_after }).await.unwrap().into_inner()
    }

    /// Executes and watches until the end.
    pub(crate) async fn run(&mut self, request: ExecuteRequest) -> Seen {
        let mut events = self.watch(0).await;
        let id = request.id.clone();
        self.execute(request).await;
        until_end(&mut events, &id).await
    }

    /// Runs arguments under a fresh id.
    pub(crate) async fn run_args(&mut self, id: &str, args: &[&str]) -> Seen {
        self.run(request(id, args)).await
    }

    /// Starts arguments, and reads the number that they print first.
    pub(crate) async fn start_and_read_pid(&mut self, id: &str, args: &[&str]) -> i32 {
        let mut events = self.watch(0).await;
        self.execute(request(id, args)).await;
        let mut seen = Seen::default();
        while !seen.stdout.contains(&b'\n') {
            seen.add(events.message().await.unwrap().unwrap(), id);
        }
        self.on_the_machine(seen.first_number())
    }

    /// The newest process of the server's that calls itself by this number.
    fn on_the_machine(&self, pid: i32) -> i32 {
        let found = self.processes().into_iter().rev().find(|process| {
            let own = process.numbers.last();
            own == Some(&pid)
        });
        found.expect("the process is there").numbers[0]
    }

    /// No process lives that is not the server's own.
    pub(crate) fn nothing_is_left(&self) {
        let left: Vec<_> = self
            .processes()
            .into_iter()
            .filter(|process| !process.name.starts_with("krt-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// What descends from the server, the oldest first.
    fn processes(&self) -> Vec<Process> {
        let mut all: Vec<_> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .filter_map(Process::read)
            .collect();
        all.sort_by_key(|process| process.started);
        let mut known = vec![i32::try_from(self.process.id()).unwrap()];
        let mut found = Vec::new();
        while let Some(at) = all.iter().position(|process| known.contains(&process.parent)) {
            known.push(all[at].numbers[0]);
            found.push(all.remove(at));
        }
        found.sort_by_key(|process: &Process| process.started);
        found
    }

    pub(crate) async fn has_namespaces(&mut self) -> bool {
        let health = self.runtime.health(HealthRequest {}).await.unwrap();
        let said = health.metadata().get(ISOLATION_METADATA);
        said.is_some_and(|said| said.to_str().unwrap().contains("namespaces"))
    }

    pub(crate) async fn status(&mut self, id: &str) -> StatusResponse {
        self.runtime.status(StatusRequest { id: id.to_owned() }).await.unwrap().into_inner()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Seen {
    pub(crate) fn add(&mut self, event: ExecutionEvent, id: &str) {
        if event.id != id {
            return;
        }
        match event.event.unwrap() {
            Event::Started(_) => self.started += 1,
            Event::Output(output) => {
                let stream = if output.stream == 1 { &mut self.stdout } else { &mut self.stderr };
                assert_eq!(output.offset, i64::try_from(stream.len()).unwrap(), "no byte is lost");
                stream.extend(output.data);
            }
            Event::Exited(exited) => self.exited = Some(exited),
        }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub(crate) fn first_number(&self) -> i32 {
        self.stdout().lines().next().unwrap().parse().unwrap()
    }

    pub(crate) fn exit(&self) -> (i32, i32, &str) {
        let exited = self.exited.as_ref().unwrap();
        (exited.exit_code, exited.signal, &exited.error_message)
    }
}

pub(crate) async fn until_end(events: &mut Streaming<ExecutionEvent>, id: &str) -> Seen {
    let mut seen = Seen::default();
    while seen.exited.is_none() {
        seen.add(events.message().await.unwrap().expect("the stream goes on"), id);
    }
    seen
}

pub(crate) fn request(id: &str, args: &[&str]) -> ExecuteRequest {
    ExecuteRequest {
        id: id.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..ExecuteRequest::default()
    }
}

pub(crate) fn handle(pid: i32) -> rustix::io::Result<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty())
}

pub(crate) fn is_gone(pid: i32) -> bool {
    handle(pid).is_err()
}

/// Waits until a process has ended, whoever its parent is.
pub(crate) async fn wait_for_end(process: OwnedFd) {
    let ended = tokio::task::spawn_blocking(move || {
        let mut fds = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap()
    });
    assert_eq!(ended.await.unwrap(), 1, "the process lives on");
}

#[derive(Debug)]
struct Process {
    name: String,
    /// Of the machine's first, and its own last.
    numbers: Vec<i32>,
    parent: i32,
    started: u64,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().to_owned())
        };
        let numbers = field("NSpid:")?.split_whitespace().map(|it| it.parse().unwrap()).collect();
        // Field 22 of the line, the 20th behind the name.
        let started = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
        let lives = !field("State:")?.starts_with('Z');
        let (name, parent) = (field("Name:")?, field("PPid:")?.parse().ok()?);
        lives.then_some(Self { name, numbers, parent, started })
    }
}

pub(crate) fn stop(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
}

pub(crate) fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

pub(crate) fn parent(pid: i32) -> i32 {
    let status =
        fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

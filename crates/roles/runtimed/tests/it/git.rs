//! An HTTPS server with a certificate authority of its own in front of `git http-backend`, and repositories to serve.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kruntimes_apiserver::Identity;
use kruntimes_runtimed::SourceConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// As git does.
    Serve,
    /// As servers that speak only the oldest protocol, which gives no commit by its name.
    Old,
    /// Takes each request and never answers.
    Hang,
    /// Sends so many bytes of the objects, then nothing more.
    HoldAfter(usize),
    /// Sends whoever comes to another place.
    Redirect(String),
    /// Wants to know who is there.
    Unauthorized,
    /// Is broken.
    Fail,
}

type Body = BoxBody<Bytes, Infallible>;

/// The server; it ends with this.
pub(crate) struct GitServer {
    pub(crate) directory: PathBuf,
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    projects: PathBuf,
    behaviour: Mutex<Behaviour>,
    /// Method and path of each request.
    requests: watch::Sender<Vec<String>>,
}

impl GitServer {
    /// Serves the repositories below `directory/projects`; the authority is in `directory/ca.pem`.
    pub(crate) async fn start(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("kruntimes-git-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(directory.join("projects")).unwrap();
        let identity = Identity::create(None, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        std::fs::write(directory.join("ca.pem"), &identity.ca_pem).unwrap();
        let chain = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let shared = Arc::new(Shared {
            projects: directory.join("projects"),
            behaviour: Mutex::new(Behaviour::Serve),
            requests: watch::Sender::new(Vec::new()),
        });
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Self { directory, address, shared, serving }
    }

    pub(crate) fn url(&self, repository: &str) -> String {
        format!("https://{}/{repository}.git", self.address)
    }

    /// What a runtimed needs to fetch from here.
    pub(crate) fn config(&self) -> SourceConfig {
        SourceConfig {
            source_ca_bundle: Some(self.directory.join("ca.pem")),
            ..SourceConfig::default()
        }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.borrow().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn asked(&self, times: usize) {
        let mut requests = self.shared.requests.subscribe();
        let wait = requests.wait_for(|requests| requests.len() >= times);
        tokio::time::timeout(crate::world::PATIENCE, wait).await.unwrap().unwrap();
    }

    /// A repository of that name, to be filled, and served once [`Repository::publish`] is called.
    pub(crate) fn repository(&self, name: &str) -> Repository {
        let work = self.directory.join("work").join(name);
        std::fs::create_dir_all(&work).unwrap();
        let repository =
            Repository { work, bare: self.shared.projects.join(format!("{name}.git")) };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.serving.abort();
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A repository with a working directory.
pub(crate) struct Repository {
    pub(crate) work: PathBuf,
    bare: PathBuf,
}

impl Repository {
    /// Runs git in the working directory; the answer is what it prints.
    pub(crate) fn git(&self, words: &[&str]) -> String {
        self.git_with_input(words, "")
    }

    pub(crate) fn git_with_input(&self, words: &[&str], input: &str) -> String {
        use std::io::Write;
        let mut command = git(&self.work);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {words:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Commits all files; the answer is the commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Has it served as it is now.
    pub(crate) fn publish(&self) {
        let bare = self.bare.to_str().unwrap();
        self.git(&["clone", "--quiet", "--bare", ".", bare]);
    }
}

/// git without the settings of whoever runs the test.
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs([
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@b"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@b"),
    ]);
    command
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Clients that do not trust the authority leave here.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // Clients are killed in the middle of everything.
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        self.requests.send_modify(|all| all.push(format!("{} {path}", request.method())));
        let behaviour = self.behaviour.lock().unwrap().clone();
        match behaviour {
            Behaviour::Serve | Behaviour::Old | Behaviour::HoldAfter(_) => {
                self.backend(request, behaviour).await
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Redirect(to) => {
                let query = request.uri().query().unwrap_or_default();
                let to = format!("{to}{path}?{query}");
                respond(302, &[("location", &to)])
            }
            Behaviour::Unauthorized => respond(401, &[("www-authenticate", "Basic realm=\"x\"")]),
            Behaviour::Fail => respond(500, &[]),
        }
    }

    async fn backend(&self, request: Request<Incoming>, behaviour: Behaviour) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut command = tokio::process::Command::from(git(&self.projects));
        command.arg("http-backend");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.envs([
            ("GIT_PROJECT_ROOT", self.projects.to_str().unwrap()),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("PATH_INFO", head.uri.path()),
            ("QUERY_STRING", head.uri.query().unwrap_or_default()),
            ("REQUEST_METHOD", head.method.as_str()),
            ("CONTENT_LENGTH", &body.len().to_string()),
        ]);
        for (name, variable) in [
            (header::CONTENT_TYPE.as_str(), "CONTENT_TYPE"),
            (header::CONTENT_ENCODING.as_str(), "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            let is_new = name == "git-protocol";
            let value = head.headers.get(name).filter(|_| !is_new || behaviour != Behaviour::Old);
            command.envs(value.map(|value| (variable, value.to_str().unwrap())));
        }
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let write = async {
            // It may answer before it has read all.
            drop(stdin.write_all(&body).await);
            drop(stdin);
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        respond_as_cgi(&output.unwrap().stdout, &behaviour)
    }
}

fn respond(status: u16, headers: &[(&str, &str)]) -> Response<Body> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(Bytes::new()).boxed()).unwrap()
}

fn respond_as_cgi(output: &[u8], behaviour: &Behaviour) -> Response<Body> {
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let body = Bytes::copy_from_slice(&output[end + 4..]);
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap()),
            _ => response.header(name, value),
        };
    }
    let body = if let Behaviour::HoldAfter(bytes) = behaviour
        && body.len() > *bytes
    {
        let first = stream::iter([Ok(Frame::data(body.slice(..*bytes)))]);
        BodyExt::boxed(StreamBody::new(first.chain(stream::pending())))
    } else {
        Full::new(body).boxed()
    };
    response.body(body).unwrap()
}

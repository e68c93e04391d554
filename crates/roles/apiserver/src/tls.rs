//! The socket: TLS, bearer tokens, HTTP/1.1 and HTTP/2.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use kruntimes_daemon::Shutdown;
use kruntimes_objects::status::Failure;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::body::Body;
use crate::call::segments;
use crate::identity::Identity;
use crate::patient::Patient;
use crate::respond;
use crate::server::ApiServer;

const MAX_CONNECTIONS: usize = 4096;
const MAX_STREAMS: u32 = 256;
/// How long requests may take to end after the shutdown; watches are cut off then.
const GRACE: Duration = Duration::from_millis(200);
/// How long to wait when no connection can be accepted, e.g. without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long clients are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the first request of a connection, and for the headers of each.
    pub headers: Duration,
    /// For a client to take anything of what it is sent.
    pub write: Duration,
    /// Between signs of life of an HTTP/2 connection.
    pub ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(30),
            write: Duration::from_secs(30),
            ping: Duration::from_secs(30),
        }
    }
}

/// The certificate and key of the socket, as PEM.
#[derive(Clone)]
pub struct TlsConfig {
    /// The certificate chain.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl From<&Identity> for TlsConfig {
    fn from(identity: &Identity) -> Self {
        Self { cert_pem: identity.cert_pem.clone(), key_pem: identity.key_pem.clone() }
    }
}

/// Why the socket is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificate or key cannot be read.
    #[error("the TLS certificate or key is malformed: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// rustls refuses them.
    #[error("the TLS certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The listener is broken.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
}

/// Serves the API on `listener` until the shutdown.
pub async fn serve_tls(
    server: Arc<ApiServer>,
    tls: TlsConfig,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let shared = server.shared.clone();
    tokio::select! {
        end = serve_tls_patiently(server, tls, listener, shutdown, Patience::default()) => end,
        never = shared.age() => match never {},
    }
}

/// `serve_tls` with other limits for slow clients.
pub async fn serve_tls_patiently(
    server: Arc<ApiServer>,
    tls: TlsConfig,
    listener: TcpListener,
    mut shutdown: Shutdown,
    patience: Patience,
) -> Result<(), ServeError> {
    listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&tls)?));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let permit = permits.clone().acquire_owned();
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = async { (permit.await, listener.accept().await) } => accepted,
        };
        match accepted {
            (Ok(permit), Ok((stream, _))) => {
                let task = Connection {
                    server: server.clone(),
                    acceptor: acceptor.clone(),
                    watcher: graceful.watcher(),
                    permit,
                    patience,
                };
                connections.spawn(task.serve(stream));
            }
            (_, Err(error)) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (Err(_), Ok(_)) => {}
        }
    }
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("connections were cut off at the shutdown");
    }
    connections.shutdown().await;
    Ok(())
}

fn server_config(tls: &TlsConfig) -> Result<rustls::ServerConfig, ServeError> {
    let chain =
        CertificateDer::pem_slice_iter(tls.cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(tls.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

struct Connection {
    server: Arc<ApiServer>,
    acceptor: TlsAcceptor,
    watcher: hyper_util::server::graceful::Watcher,
    permit: OwnedSemaphorePermit,
    patience: Patience,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let patience = self.patience;
        let stream = Patient::new(stream, patience.write);
        let stream = match timeout(patience.handshake, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!("TLS handshake failed: {error}"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };
        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let server = self.server;
        let asked = Arc::new(AtomicBool::new(false));
        let first = asked.clone();
        let service = service_fn(move |request| {
            first.store(true, Ordering::Relaxed);
            let server = server.clone();
            async move { Ok::<_, Infallible>(answer(&server, request).await) }
        });
        let builder = builder(two, patience);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = self.watcher.watch(connection.into_owned());
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!("a connection broke off: {error}");
                }
            }
            () = never_asked(&asked, patience.headers) => {
                tracing::debug!("a connection brought no request and was cut off");
            }
        }
        drop(self.permit);
    }
}

fn builder(two: bool, patience: Patience) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.headers);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    http2.keep_alive_interval(patience.ping).keep_alive_timeout(patience.ping);
    if two { builder.http2_only() } else { builder.http1_only() }
}

/// Returns when the time is over and nothing was asked.
async fn never_asked(asked: &AtomicBool, patience: Duration) {
    tokio::time::sleep(patience).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

async fn answer(server: &Arc<ApiServer>, request: Request<Incoming>) -> Response<Body> {
    if is_open(&request) {
        return match server.open_info(request.uri().path()) {
            Some(response) => response,
            None => respond::failure(&Failure::no_such_path()),
        };
    }
    match bearer(request.headers()).and_then(|token| server.user_of(token)) {
        Some(user) => server.handle(&user, request).await,
        None => respond::failure(&Failure::unauthorized()),
    }
}

/// Health and version need no token.
fn is_open<B>(request: &Request<B>) -> bool {
    let first = segments(request.uri().path()).into_iter().next().unwrap_or_default();
    matches!(first.as_str(), "healthz" | "livez" | "readyz" | "version")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

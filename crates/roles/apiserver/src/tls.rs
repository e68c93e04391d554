//! The socket: TLS, bearer tokens, HTTP/1.1 and HTTP/2.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
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
use crate::respond;
use crate::server::ApiServer;

const MAX_CONNECTIONS: usize = 4096;
const MAX_STREAMS: u32 = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// How long requests may take to end after the shutdown; watches are cut off then.
const GRACE: Duration = Duration::from_millis(200);
/// How long to wait when no connection can be accepted, e.g. without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    mut shutdown: Shutdown,
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
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        let stream = match timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!("TLS handshake failed: {error}"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };
        let server = self.server;
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(answer(&server, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection.into_owned()).await {
            tracing::debug!("a connection broke off: {error}");
        }
        drop(self.permit);
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

//! Slow clients: each is cut off, memory stays bounded, and another client is served all the while.
//!
//! The waits of the server are set short; a client that is not cut off makes the test fail after ten seconds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use kruntimes_apiserver::{
    ApiServer, Identity, Options, Patience, TlsConfig, User, serve_tls_patiently,
};
use kruntimes_daemon::{Shutdown, Trigger};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::ServiceExt as _;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const SHORT: Duration = Duration::from_millis(300);
const PATIENCE: Patience = Patience { handshake: SHORT, headers: SHORT, write: SHORT, ping: SHORT };
/// How many clients are slow in the same way at the same time.
const CLIENTS: usize = 6;

struct Served {
    server: Arc<ApiServer>,
    identity: Identity,
    port: u16,
    _trigger: Trigger,
}

async fn serve() -> Served {
    let server = ApiServer::open(Options::default()).unwrap();
    server.add_token("t".to_owned(), User::admin("admin"));
    let identity = Identity::create(None, Ipv4Addr::LOCALHOST.into()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (trigger, shutdown) = Shutdown::new();
    let tls = TlsConfig::from(&identity);
    let serving = serve_tls_patiently(server.clone(), tls, listener, shutdown, PATIENCE);
    tokio::spawn(async move { serving.await.unwrap() });
    Served { server, identity, port, _trigger: trigger }
}

impl Served {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap()
    }

    async fn tls(&self, protocol: &str) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.identity.ca_pem.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.tcp().await).await.unwrap()
    }

    /// What an honest client gets, over a connection of its own.
    async fn honest(&self) {
        let mut stream = self.tls("http/1.1").await;
        let request = "GET /api/v1/namespaces/default HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    }

    async fn patch(&self, body: &Value) {
        let request = Request::patch(format!("{CONFIGMAPS}/a"))
            .header("content-type", "application/merge-patch+json")
            .body(Full::new(body.to_string().into()))
            .unwrap();
        let service = self.server.service(User::admin("admin"));
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
}

/// Reads until the server has cut the connection; how many bytes came before.
async fn cut_off(stream: &mut (impl AsyncRead + Unpin)) -> usize {
    let mut all = 0;
    let mut buffer = vec![0; 64 * 1024];
    let reading = async {
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
        {
            all += read;
        }
    };
    timeout(Duration::from_secs(10), reading).await.expect("a slow client is cut off");
    all
}

/// A line of `/proc/self/status`, in KiB.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn clients_that_ask_nothing_are_cut_off() {
    let served = serve().await;
    for (protocol, bytes) in [
        (None, ""),
        (None, "\x16\x03\x01"),
        (Some("http/1.1"), ""),
        (Some("http/1.1"), "GET /version HTTP/1.1\r\nhost: "),
        (Some("h2"), ""),
        (Some("h2"), "PRI * HTTP/2.0\r\n"),
        (Some("h2"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut slow: Vec<Box<dyn AsyncRead + Unpin>> = Vec::new();
        for _ in 0..CLIENTS {
            match protocol {
                None => {
                    let mut stream = served.tcp().await;
                    stream.write_all(bytes.as_bytes()).await.unwrap();
                    slow.push(Box::new(stream));
                }
                Some(protocol) => {
                    let mut stream = served.tls(protocol).await;
                    stream.write_all(bytes.as_bytes()).await.unwrap();
                    slow.push(Box::new(stream));
                }
            }
        }
        served.honest().await;
        for stream in &mut slow {
            cut_off(stream).await;
        }
    }
}

#[tokio::test]
async fn watches_that_nobody_reads_are_cut_off_and_cost_little() {
    const SIZE: usize = 500_000;
    const WRITES: usize = 100;
    let served = serve().await;
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
    let request = Request::post(CONFIGMAPS).body(Full::new(body.to_string().into())).unwrap();
    let service = served.server.service(User::admin("admin"));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 201);
    let before = memory("VmRSS");
    let mut watches = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = served.tls("http/1.1").await;
        let request = format!(
            "GET {CONFIGMAPS}?watch=1&resourceVersion=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        watches.push(stream);
    }
    for n in 0..WRITES {
        served.patch(&json!({ "data": { "n": n.to_string(), "x": "y".repeat(SIZE) } })).await;
    }
    served.honest().await;
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < 45 * 1024, "{grown} KiB more for {WRITES} events of {SIZE} bytes");
    for watch in &mut watches {
        let read = cut_off(watch).await;
        assert!(read < WRITES * SIZE / 2, "{read} bytes were kept for a client that read nothing");
    }
    served.honest().await;
}

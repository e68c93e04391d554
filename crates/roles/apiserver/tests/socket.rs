//! The socket: TLS, tokens, discovery over HTTP.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::net::Ipv4Addr;
use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kruntimes_apiserver::{ApiServer, Identity, Options, TlsConfig, User, serve_tls};
use kruntimes_daemon::{Shutdown, Trigger};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tower::ServiceExt;

struct Served {
    server: Arc<ApiServer>,
    identity: Identity,
    port: u16,
    trigger: Trigger,
    task: JoinHandle<()>,
}

async fn serve() -> Served {
    let server = ApiServer::open(Options::default()).unwrap();
    let identity = Identity::create(None, Ipv4Addr::LOCALHOST.into()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (trigger, shutdown) = Shutdown::new();
    let serving = serve_tls(server.clone(), TlsConfig::from(&identity), listener, shutdown);
    let task = tokio::spawn(async move { serving.await.unwrap() });
    Served { server, identity, port, trigger, task }
}

impl Served {
    async fn get(&self, path: &str, token: Option<&str>, accept: &str) -> (u16, Value) {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.identity.ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", "127.0.0.1").header("accept", accept);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response =
            sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn only_a_known_token_gets_in() {
    let served = serve().await;
    served.server.add_token("secret".to_owned(), User::admin("admin"));
    let path = "/api/v1/namespaces/default";
    for token in [None, Some("other"), Some("")] {
        let (code, status) = served.get(path, token, "*/*").await;
        assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")), "{token:?}");
    }
    assert_eq!(served.get(path, Some("secret"), "*/*").await.0, 200);
    served.server.remove_token("secret");
    assert_eq!(served.get(path, Some("secret"), "*/*").await.0, 401);
    let (code, version) = served.get("/version", None, "*/*").await;
    assert_eq!((code, &version["gitVersion"]), (200, &json!("v1.34.0+kruntimes")));
    served.trigger.fire();
    served.task.await.unwrap();
}

#[tokio::test]
async fn discovery_is_plain_or_aggregated() {
    let served = serve().await;
    served.server.add_token("t".to_owned(), User::admin("admin"));
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    let (_, document) = served.get("/apis", Some("t"), aggregated).await;
    assert_eq!(document["kind"], "APIGroupDiscoveryList");
    assert_eq!(document["apiVersion"], "apidiscovery.k8s.io/v2");
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
        ("/api/v1", "APIResourceList"),
    ] {
        let (code, document) = served.get(path, Some("t"), "application/json").await;
        assert_eq!((code, &document["kind"]), (200, &json!(kind)), "{path}");
    }
    let (_, index) = served.get("/openapi/v3", Some("t"), "application/json").await;
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    let (_, document) = served.get(url, Some("t"), "application/json").await;
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
    assert_eq!(served.get("/openapi/v2", Some("t"), "application/json").await.0, 406);
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(served.get("/openapi/v2", Some("t"), protobuf).await.0, 200);
    assert_eq!(served.get("/api/v1/pods", Some("t"), "application/cbor").await.0, 406);
}

/// As the administrator, in process.
async fn send(server: &Arc<ApiServer>, method: &str, path: &str, body: &Value) -> Value {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body.to_string()))).unwrap();
    let response = server.service(User::admin("admin")).oneshot(request).await.unwrap();
    assert!(response.status().is_success(), "{method} {path}: {}", response.status());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn the_token_of_a_pod_ends_with_the_pod() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let served = serve().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    });
    let first = send(&served.server, "POST", PODS, &pod).await;
    let uid = first["metadata"]["uid"].as_str().unwrap();
    let user = User::runtimed("default", "runtime-bash", "p", uid);
    served.server.add_token("of-the-pod".to_owned(), user);
    let path = format!("{PODS}/p");
    let get = || served.get(&path, Some("of-the-pod"), "application/json");
    assert_eq!(get().await.0, 200);
    send(&served.server, "DELETE", &path, &json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(get().await.0, 401);
    send(&served.server, "POST", PODS, &pod).await;
    assert_eq!(get().await.0, 401, "another pod of its name");
}

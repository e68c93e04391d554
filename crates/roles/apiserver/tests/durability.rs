//! SIGKILL at any point loses nothing that was acknowledged.
//!
//! The test runs its own binary again as the server; the child's clients print each acknowledged write, the parent kills the
//! child in the midst of them, reopens the store and looks for every printed line.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt, Full};
use kruntimes_apiserver::{ApiServer, OpenError, Options, User};
use serde_json::{Value, json};
use tower::ServiceExt;

const CHILD: &str = "KRUNTIMES_TEST_DURABILITY_CHILD";
const PATH: &str = "/api/v1/namespaces/default/configmaps";
const CLIENTS: usize = 8;
const ACKNOWLEDGED: usize = 300;

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kruntimes-{name}-{}", std::process::id()));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(directory: &Path) -> Result<Arc<ApiServer>, OpenError> {
    ApiServer::open(Options { data_dir: Some(directory.to_owned()), ..Options::default() })
}

async fn send(server: &Arc<ApiServer>, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(
            "content-type",
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
        )
        .body(Full::new(body.to_string().into()))
        .unwrap();
    let response = server.service(User::admin("admin")).oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

fn configmap(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
        "data": { "padding": "x".repeat(1000), "n": "0" } })
}

/// Creates and patches until it is killed.
async fn write_for_ever(server: Arc<ApiServer>, client: usize) {
    for n in 0.. {
        let name = format!("c{client}-{n}");
        let (code, _) = send(&server, "POST", PATH, &configmap(&name)).await;
        assert_eq!(code, 201);
        let path = format!("{PATH}/{name}");
        let (code, made) = send(&server, "PATCH", &path, &json!({ "data": { "n": "1" } })).await;
        assert_eq!(code, 200);
        let version = made["metadata"]["resourceVersion"].as_str().unwrap();
        let line = format!("ack {name} {version}\n");
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// What the child runs; in a normal test run it has nothing to do.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = open(Path::new(&directory)).unwrap();
        let clients = (0..CLIENTS).map(|n| tokio::spawn(write_for_ever(server.clone(), n)));
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

fn run_and_kill(directory: &Path) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut read = |line: String| {
        // The harness prints the test's name on the first line, before the first acknowledgement.
        let Some(at) = line.find("ack ") else { return };
        let mut words = line[at + 4..].split(' ');
        if let (Some(name), Some(Ok(version))) = (words.next(), words.next().map(str::parse)) {
            acknowledged.push((name.to_owned(), version));
        }
    };
    for line in lines.by_ref().take(ACKNOWLEDGED) {
        read(line.unwrap());
    }
    child.kill().unwrap();
    for line in lines {
        read(line.unwrap());
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let directory = Directory::new("durability");
    for round in 0..3 {
        let inner = directory.0.join(round.to_string());
        let acknowledged = run_and_kill(&inner);
        assert!(acknowledged.len() >= ACKNOWLEDGED / 2, "the child wrote: {}", acknowledged.len());
        let server = open(&inner).unwrap();
        let mut newest = 0;
        for (name, version) in &acknowledged {
            let (code, found) = send(&server, "GET", &format!("{PATH}/{name}"), &Value::Null).await;
            assert_eq!((code, &found["data"]["n"]), (200, &json!("1")), "{name}");
            let found: u64 =
                found["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert_eq!(found, *version, "{name}");
            newest = newest.max(*version);
        }
        let (_, made) = send(&server, "POST", PATH, &configmap("after")).await;
        let after: u64 = made["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(after > newest, "versions go on after {newest}: {after}");
    }
}

#[tokio::test]
async fn a_closed_store_opens_again_with_everything() {
    let directory = Directory::new("reopen");
    let server = open(&directory.0).unwrap();
    let (_, made) = send(&server, "POST", PATH, &configmap("a")).await;
    send(&server, "POST", PATH, &configmap("b")).await;
    send(&server, "DELETE", &format!("{PATH}/b"), &json!({})).await;
    drop(server);
    let server = open(&directory.0).unwrap();
    assert_eq!(send(&server, "GET", &format!("{PATH}/a"), &Value::Null).await, (200, made));
    assert_eq!(send(&server, "GET", &format!("{PATH}/b"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_one_sentence() {
    let directory = Directory::new("unusable");
    let server = open(&directory.0).unwrap();
    let locked = open(&directory.0).unwrap_err().to_string();
    assert!(locked.ends_with("is in use by another process"), "{locked}");
    drop(server);
    let file = directory.0.join("objects.redb");
    for garbage in [vec![0xA5; 64 * 1024], b"not a store".to_vec()] {
        std::fs::write(&file, garbage).unwrap();
        let corrupt = open(&directory.0).unwrap_err().to_string();
        assert!(corrupt.contains("is corrupt: "), "{corrupt}");
    }
    let under_a_file = open(&file.join("below")).unwrap_err().to_string();
    assert!(under_a_file.starts_with("cannot use the data directory "), "{under_a_file}");
}

//! SIGKILL at any point loses nothing that was acknowledged, and leaves nothing half made.
//!
//! The test runs its own binary again as the server; the child's writers print each acknowledged write, the parent kills the
//! child in the midst of them at a random point, opens the store and looks for all of it. The rounds go on with one store.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kruntimes_apiserver::{ApiServer, Body, OpenError, Options, User};
use serde_json::{Value, json};
use tower::ServiceExt;

const CHILD: &str = "KRUNTIMES_TEST_DURABILITY_CHILD";
const PATH: &str = "/api/v1/namespaces/default/configmaps";
/// Which round the child is in: names are new in each.
const ROUND: &str = "KRUNTIMES_TEST_DURABILITY_ROUND";
/// How many rounds; `cargo xtask soak` asks for more.
const ROUNDS: &str = "KRUNTIMES_TEST_DURABILITY_ROUNDS";
const DEFAULT_ROUNDS: u64 = 20;
const WRITERS: usize = 16;
/// The child is killed after so many acknowledgements at most.
const MOST_ACKNOWLEDGED: u64 = 600;
const PADDING: usize = 1000;

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
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(
            "content-type",
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" },
        )
        .body(Full::new(body.into()))
        .unwrap();
    let response = server.service(User::admin("admin")).oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

fn configmap(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
        "data": { "padding": "x".repeat(PADDING), "n": "0" } })
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn acknowledge(what: &str, name: &str, version: u64) {
    let line = format!("ack {what} {name} {version}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn create(server: &Arc<ApiServer>, name: &str, owner: Option<&Value>) -> Value {
    let mut body = configmap(name);
    if let Some(owner) = owner {
        body["metadata"]["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "ConfigMap",
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"] }]);
    }
    let (code, made) = send(server, "POST", PATH, &body).await;
    assert_eq!(code, 201, "{made}");
    acknowledge("created", name, version(&made));
    made
}

/// Creates, patches and deletes, an owner with two dependents among them, until it is killed.
async fn write_for_ever(server: Arc<ApiServer>, writer: String) {
    for n in 0.. {
        let name = format!("{writer}-{n}");
        create(&server, &name, None).await;
        let path = format!("{PATH}/{name}");
        let (code, made) = send(&server, "PATCH", &path, &json!({ "data": { "n": "1" } })).await;
        assert_eq!(code, 200);
        acknowledge("patched", &name, version(&made));
        let owner = create(&server, &format!("{name}-owner"), None).await;
        for dependent in ["a", "b"] {
            create(&server, &format!("{name}-owner-{dependent}"), Some(&owner)).await;
        }
        let path = format!("{PATH}/{name}-owner");
        assert_eq!(send(&server, "DELETE", &path, &json!({})).await.0, 200);
        acknowledge("deleted", &format!("{name}-owner"), 0);
    }
}

/// What the child runs; in a normal test run it has nothing to do.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let round = std::env::var_os(ROUND).unwrap().into_string().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = open(Path::new(&directory)).unwrap();
        let writers = (0..WRITERS).map(|n| format!("r{round}w{n}"));
        let writers = writers.map(|name| tokio::spawn(write_for_ever(server.clone(), name)));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// One acknowledged write: what was done, to which object, and the version it then had.
type Acknowledged = (String, String, u64);

/// Runs the child and kills it once it has acknowledged `count` writes.
fn run_and_kill(directory: &Path, round: u64, count: u64) -> Vec<Acknowledged> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    let mut read = |line: &str| {
        // The harness prints the test's name on the first line, before the first acknowledgement.
        let words = line.find("ack ").map(|at| line[at + 4..].split(' ').collect::<Vec<_>>());
        if let Some([what, name, version]) = words.as_deref()
            && let Ok(version) = version.parse()
        {
            acknowledged.push(((*what).to_owned(), (*name).to_owned(), version));
            return 1;
        }
        0
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < count {
        seen += read(&lines.next().expect("the child writes until it is killed").unwrap());
    }
    child.kill().unwrap();
    for line in lines {
        read(&line.unwrap());
    }
    child.wait().unwrap();
    acknowledged
}

/// Names and objects of a whole list, each object complete.
fn complete(list: &Value) -> BTreeMap<String, Value> {
    let items = list["items"].as_array().unwrap();
    let each = items.iter().map(|item| {
        let padding = item["data"]["padding"].as_str().unwrap();
        assert_eq!(padding.len(), PADDING, "{item}");
        assert!(item["metadata"]["uid"].is_string(), "{item}");
        (item["metadata"]["name"].as_str().unwrap().to_owned(), item.clone())
    });
    each.collect()
}

fn check(found: &BTreeMap<String, Value>, acknowledged: &[Acknowledged]) {
    let deleted: BTreeSet<&str> =
        acknowledged.iter().filter(|a| a.0 == "deleted").map(|a| a.1.as_str()).collect();
    for (what, name, version) in acknowledged {
        let owner = name.strip_suffix("-a").or_else(|| name.strip_suffix("-b")).unwrap_or(name);
        let object = found.get(name);
        match what.as_str() {
            "patched" => {
                let object = object.unwrap_or_else(|| panic!("{name} was patched and is lost"));
                assert_eq!((&object["data"]["n"], self::version(object)), (&json!("1"), *version));
            }
            _ if deleted.contains(owner) => assert!(object.is_none(), "{name} came back"),
            // The deletion of an owner may have been made without its acknowledgement: then all of it is gone.
            _ if name.contains("-owner") => {
                assert_eq!(object.is_some(), found.contains_key(owner), "{name} without {owner}");
            }
            _ => assert!(object.is_some(), "{name} was created and is lost"),
        }
    }
}

/// A watch from the newest acknowledged version goes on there or says that it can't; from that of a list it goes on.
async fn check_watches(server: &Arc<ApiServer>, acknowledged: u64, listed: u64, round: u64) {
    let after = |version: u64| {
        let path = format!("{PATH}?watch=1&resourceVersion={version}");
        async move {
            let request = Request::get(path).body(Full::new(Bytes::new())).unwrap();
            let response = server.service(User::admin("admin")).oneshot(request).await.unwrap();
            response.into_body()
        }
    };
    let mut behind = after(acknowledged).await;
    let mut current = after(listed).await;
    let name = format!("after-{round}");
    let (_, made) = send(server, "POST", PATH, &configmap(&name)).await;
    assert!(version(&made) > listed && listed >= acknowledged, "versions never go back");
    let first = async |body: &mut Body| -> Value {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        serde_json::from_slice(&frame).unwrap()
    };
    assert_eq!(first(&mut current).await["object"], made);
    let event = first(&mut behind).await;
    if acknowledged == listed {
        assert_eq!(event["object"], made);
    } else {
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    }
}

/// Numbers that look random, the same in each run.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let directory = Directory::new("durability");
    let rounds = std::env::var_os(ROUNDS).map(|n| n.to_str().unwrap().parse().unwrap());
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    let mut newest = 0;
    for round in 0..rounds.unwrap_or(DEFAULT_ROUNDS) {
        let acknowledged = run_and_kill(&directory.0, round, next(&mut seed) % MOST_ACKNOWLEDGED);
        let server = open(&directory.0).unwrap();
        let (_, list) = send(&server, "GET", PATH, &Value::Null).await;
        let found = complete(&list);
        check(&found, &acknowledged);
        newest = acknowledged.iter().map(|a| a.2).fold(newest, u64::max);
        let highest = found.values().map(version).fold(0, u64::max);
        assert!(version(&list) >= newest.max(highest), "round {round}: versions never go back");
        check_watches(&server, newest, version(&list), round).await;
        // The store stays small, so that the rounds stay quick.
        assert_eq!(send(&server, "DELETE", PATH, &Value::Null).await.0, 200);
        let (_, list) = send(&server, "GET", PATH, &Value::Null).await;
        newest = version(&list);
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

//! What hostile bodies cost while they are refused: the peak of this process's memory stays low, and others are served.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use kruntimes_apiserver::{ApiServer, Options, User};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const BODY: usize = 3 * 1024 * 1024;
/// How many clients attack in the same way at the same time.
const CLIENTS: usize = 4;
/// The most that the process may grow by, at any time. It is two bodies that are read at once.
const GROWTH_KIB: usize = 200 * 1024;

async fn send(server: &Arc<ApiServer>, method: &str, path: &str, media: &str, body: String) -> u16 {
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let request = request.body(Full::new(body.into())).unwrap();
    let response = server.service(User::admin("admin")).oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    code
}

/// A line of `/proc/self/status`, in KiB.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn filled(unit: &str) -> String {
    format!("[{unit}", unit = unit.repeat((BODY - 10) / unit.len()))
}

fn doubling() -> String {
    let copies = vec![json!({ "op": "copy", "from": "/data", "path": "/data/more" }); 9_999];
    Value::from(copies).to_string()
}

fn many_operations() -> String {
    Value::from(vec![json!({ "op": "remove", "path": "/data" }); 10_001]).to_string()
}

fn long_alias() -> String {
    let anchors: String = (0..2_000).map(|n| format!("b{n}: &b{n} x\n")).collect();
    format!("a: &a \"{}\"\n{anchors}c: [{}]\n", "x".repeat(1_000_000), "*a,".repeat(15_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bodies_cost_little_memory() {
    let server = ApiServer::open(Options::default()).unwrap();
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" },
        "data": { "x": "y".repeat(100_000) } });
    let media = "application/json";
    assert_eq!(send(&server, "POST", CONFIGMAPS, media, object.to_string()).await, 201);
    let before = memory("VmRSS");
    let one = format!("{CONFIGMAPS}/a");
    let (json_patch, yaml) = ("application/json-patch+json", "application/yaml");
    for (method, path, media, body, code) in [
        ("POST", CONFIGMAPS, media, filled("["), 400),
        ("POST", CONFIGMAPS, media, filled("{\"\":0},"), 400),
        ("POST", CONFIGMAPS, media, filled("0,"), 400),
        ("POST", CONFIGMAPS, media, filled("0,") + &" ".repeat(BODY), 413),
        ("POST", CONFIGMAPS, yaml, filled("{\"\":0},"), 400),
        ("POST", CONFIGMAPS, yaml, filled("["), 400),
        ("POST", CONFIGMAPS, yaml, long_alias(), 400),
        ("PATCH", &one, json_patch, doubling(), 422),
        ("PATCH", &one, json_patch, many_operations(), 413),
    ] {
        let head: String = body.chars().take(40).collect();
        let attacks = (0..CLIENTS).map(|_| {
            let (server, path, body) = (server.clone(), path.to_owned(), body.clone());
            tokio::spawn(async move { send(&server, method, &path, media, body).await })
        });
        for attack in attacks.collect::<Vec<_>>() {
            assert_eq!(attack.await.unwrap(), code, "{media}: {head}");
        }
        assert_eq!(send(&server, "GET", &one, media, String::new()).await, 200);
        let grown = memory("VmHWM").saturating_sub(before);
        assert!(grown < GROWTH_KIB, "{media}: {head}: {grown} KiB more");
    }
}

//! A small client on the tower service.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kruntimes_apiserver::{ApiServer, ApiService, Body, Options, User};
use serde_json::{Value, json};
use tower::ServiceExt;

pub(crate) const RUNS: &str = "/apis/kruntimes.io/v1alpha1/namespaces/default/runs";
pub(crate) const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) fn crds() -> Vec<Value> {
    [
        include_str!("../../../../../api/crds/kruntimes.io_runs.yaml"),
        include_str!("../../../../../api/crds/kruntimes.io_runtimes.yaml"),
    ]
    .map(|text| serde_saphyr::from_str(text).unwrap())
    .into()
}

pub(crate) fn server() -> Arc<ApiServer> {
    ApiServer::open(Options { crds: crds(), ..Options::default() }).unwrap()
}

#[derive(Clone)]
pub(crate) struct Client(pub(crate) ApiService);

/// A client of a server without CRDs, which starts faster.
pub(crate) fn client() -> Client {
    Client(ApiServer::open(Options::default()).unwrap().service(User::admin("admin")))
}

pub(crate) fn client_with_crds() -> Client {
    Client(server().service(User::admin("admin")))
}

impl Client {
    /// A client of a server that remembers few changes.
    pub(crate) fn with_history(limit: usize) -> Self {
        let options = Options { history_limit: limit, ..Options::default() };
        Self(ApiServer::open(options).unwrap().service(User::admin("admin")))
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.0.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn json(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(method, path, headers, body).await;
        (response.status().as_u16(), self.read(response).await)
    }

    /// The body of a response, null when it is no JSON.
    pub(crate) async fn read(&self, response: http::Response<Body>) -> Value {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.json("GET", path, &[], &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.json("POST", path, &[], body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.json("PUT", path, &[], body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("content-type", "application/merge-patch+json")];
        self.json("PATCH", path, &headers, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.json("DELETE", path, &[], &Value::Null).await
    }

    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let response = self.send("GET", path, &[], "").await;
        assert_eq!(response.status(), 200);
        Watch { body: response.into_body(), rest: Vec::new() }
    }
}

pub(crate) struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    /// The next event; fails when none comes within five seconds.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(5), self.body.frame());
            let frame = frame.await.expect("an event within five seconds")?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }

    /// Type and name of the next event.
    pub(crate) async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

pub(crate) fn run(name: &str) -> Value {
    json!({ "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": { "name": name },
        "spec": { "runtime": "bash", "source": { "inline": "echo hello" }, "entrypoint": "script" } })
}

pub(crate) fn configmap(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } })
}

pub(crate) fn pod(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "image": "i" }] } })
}

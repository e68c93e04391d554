//! `pods/log`: where a node plugs in the output of its pods.
use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use http::Response;
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::Key;

use crate::body::{Body, StreamError};
use crate::call::Call;
use crate::respond;
use crate::server::ApiServer;

/// What `pods/log` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container; `None` if the request names none.
    pub container: Option<String>,
    /// Whether to go on until the container ends.
    pub follow: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// The bytes of a log.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>;

/// The logs of pods.
pub trait PodLogs: Send + Sync + fmt::Debug {
    /// Opens a log; the error is the sentence that the user gets.
    fn open(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, String>>;
}

impl ApiServer {
    pub(crate) async fn pod_log(&self, call: &Call) -> Result<Response<Body>, Failure> {
        let key = Key::new(&call.res, &call.namespace, &call.name);
        if self.shared.get(&key).is_none() {
            return Err(Failure::not_found(&call.res, &call.name));
        }
        for refused in ["previous", "timestamps", "sinceSeconds", "sinceTime", "stream"] {
            if call.query.get(refused).is_some_and(|value| value != "false") {
                return Err(Failure::not_implemented(format!("pods/log: {refused} is not served")));
            }
        }
        let Some(logs) = self.pod_logs() else {
            return Err(Failure::not_implemented("pods/log: no node serves logs here"));
        };
        let request = LogRequest {
            namespace: call.namespace.clone(),
            pod: call.name.clone(),
            container: call.query.get("container").map(str::to_owned),
            follow: call.query.flag("follow"),
            tail_lines: call.query.number("tailLines")?,
            limit_bytes: call.query.number("limitBytes")?,
        };
        let stream = logs.open(request).await.map_err(Failure::bad_request)?;
        Ok(respond::with_type(200, "text/plain", Body::stream(stream)))
    }
}

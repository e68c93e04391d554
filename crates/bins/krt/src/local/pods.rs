//! What the node needs of the API server: tokens for pods, and a reader of their logs for `pods/log`.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kruntimes_apiserver::{ApiServer, LogRequest, LogStream, User};
use kruntimes_local_node::{LogOptions, PodIdentity};
use std::sync::Arc;

/// Tokens of pods, known to the API server as long as the pod lives.
#[derive(Debug)]
pub(super) struct Tokens(pub(super) Arc<ApiServer>);

impl kruntimes_local_node::Tokens for Tokens {
    fn issue(&self, pod: &PodIdentity) -> String {
        let token = crate::names::token().expect("the system's random source answers");
        let user = User::runtimed(&pod.namespace, &pod.service_account, &pod.name, &pod.uid);
        self.0.add_token(token.clone(), user);
        token
    }

    fn revoke(&self, token: &str) {
        self.0.remove_token(token);
    }
}

/// The logs of the node's pods, as the API server serves them.
#[derive(Debug)]
pub(super) struct Logs(pub(super) kruntimes_local_node::PodLogs);

impl kruntimes_apiserver::PodLogs for Logs {
    fn open(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, String>> {
        let logs = self.0.clone();
        async move {
            let options = LogOptions {
                tail_lines: request.tail_lines,
                limit_bytes: request.limit_bytes,
                follow: request.follow,
                previous: false,
            };
            let container = request
                .container
                .unwrap_or_else(|| kruntimes_api::names::RUNTIME_CONTAINER.to_owned());
            let stream = logs
                .read(&request.namespace, &request.pod, &container, options)
                .await
                .map_err(|error| crate::failure::chain(&error))?;
            let stream: LogStream =
                Box::pin(stream.map(|item| item.map(Into::into).map_err(Into::into)));
            Ok(stream)
        }
        .boxed()
    }
}

//! gRPC to the runtimed of a pod: directly when the pod runs on this machine, else through the API server's port-forward.

use crate::failure::chain;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{labels, names};
use kruntimes_rules::pods;
use kube::Api;
use kube::client::UpgradeConnectionError;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::DuplexStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Time to connect to a pod on this machine.
const CONNECT: Duration = Duration::from_secs(2);
/// One who says nothing for so long is asked whether it lives, and has so long to answer: a stopped process can't, and one that
/// waits for its store can.
const SILENT: Duration = Duration::from_secs(2);
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The pod does not exist, has ended, or another one has its name.
    #[error("the pod is gone")]
    Gone,
    /// The user may not, or the pod says something that can't be used.
    #[error("{0}")]
    Refused(String),
    /// Not now: another try may succeed.
    #[error("the pod can't be reached now")]
    NotNow,
}

/// A channel, and the token that runtimed asks for.
#[derive(Debug)]
pub(crate) struct PodChannel {
    /// The channel.
    pub(crate) channel: Channel,
    /// The content of gRPC metadata `kruntimes-token`.
    pub(crate) token: MetadataValue<Ascii>,
}

/// Connects to runtimed in the pod `name`; `uid`, when given, must be the pod's.
pub(crate) async fn connect(
    pods: &Api<Pod>,
    name: &str,
    uid: Option<&str>,
) -> Result<PodChannel, ChannelError> {
    let pod = find(pods, name, uid).await?;
    let annotations = pod.metadata.annotations.unwrap_or_default();
    let token = annotations.get(labels::CONTROL_TOKEN).ok_or(ChannelError::NotNow)?;
    let token = token.parse().map_err(|_| ChannelError::NotNow)?;
    let address = pod.status.and_then(|status| status.pod_ip).ok_or(ChannelError::NotNow)?;
    let channel = match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => direct(SocketAddr::new(ip, names::STATUS_PORT)).await?,
        Ok(_) | Err(_) => forwarded(pods, name).await?,
    };
    Ok(PodChannel { channel, token })
}

/// Connects to a maintainer, which asks for no token: only a port-forward reaches it.
pub(crate) async fn connect_openly(
    pods: &Api<Pod>,
    name: &str,
) -> Result<PodChannel, ChannelError> {
    find(pods, name, None).await?;
    let channel = forwarded(pods, name).await?;
    Ok(PodChannel { channel, token: MetadataValue::from_static("none") })
}

/// Connects to what listens at an address of this machine, and nowhere else.
pub(crate) async fn connect_at(address: &str, token: &str) -> Result<PodChannel, ChannelError> {
    let refused = || ChannelError::Refused(format!("{address:?} is no address of this machine"));
    let address: SocketAddr = address.parse().map_err(|_| refused())?;
    if !address.ip().is_loopback() {
        return Err(refused());
    }
    let token = token.parse().map_err(|_| ChannelError::NotNow)?;
    Ok(PodChannel { channel: direct(address).await?, token })
}

async fn find(pods: &Api<Pod>, name: &str, uid: Option<&str>) -> Result<Pod, ChannelError> {
    let found = pods.get_opt(name).await.map_err(|error| {
        let kube::Error::Api(status) = error else { return ChannelError::NotNow };
        if matches!(status.code, 401 | 403) {
            ChannelError::Refused(format!("can't read pod {name}: {}", status.message))
        } else {
            ChannelError::NotNow
        }
    })?;
    let same = |pod: &Pod| uid.is_none() || pod.metadata.uid.as_deref() == uid;
    // A pod that ended stays as an object for a while; its processes are gone.
    found.filter(|pod| same(pod) && !pods::has_ended(pod)).ok_or(ChannelError::Gone)
}

async fn direct(address: SocketAddr) -> Result<Channel, ChannelError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| ChannelError::Refused(chain(&error)))?;
    let endpoint = watched(endpoint).connect_timeout(CONNECT).tcp_nodelay(true);
    // A refused connection may be a runtimed that restarts; the look at the pod before the next try says if it is gone.
    endpoint.connect().await.map_err(|_| ChannelError::NotNow)
}

/// As long as an answer is awaited, the other side has to show that it lives.
fn watched(endpoint: Endpoint) -> Endpoint {
    endpoint.http2_keep_alive_interval(SILENT).keep_alive_timeout(ANSWERS_WITHIN)
}

async fn forwarded(pods: &Api<Pod>, name: &str) -> Result<Channel, ChannelError> {
    let mut forwarder = pods
        .portforward(name, &[names::STATUS_PORT])
        .await
        .map_err(|error| not_forwarded(pods, name, &error))?;
    let mut stream = forwarder.take_stream(names::STATUS_PORT);
    // The stream is one connection; a second one needs another port-forward.
    let connector = service_fn(move |_| {
        let stream: Option<DuplexStream> = stream.take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("it has ended")) }
    });
    let endpoint = watched(Endpoint::from_static("http://runtimed"));
    endpoint.connect_with_connector(connector).await.map_err(|_| ChannelError::NotNow)
}

/// The API server refuses the upgrade with a Status of its own, a proxy before it perhaps with a code alone.
fn not_forwarded(pods: &Api<Pod>, name: &str, error: &kube::Error) -> ChannelError {
    if refusal(error) == Some(403) {
        let path = pods.resource_url();
        let namespace = path.rsplit('/').nth(1).unwrap_or_default();
        return ChannelError::Refused(format!(
            "the output comes from pod {name} through a port-forward, for which you need the verbs get and create on \
             pods/portforward in namespace {namespace}: ask for them, for example by the ClusterRole kruntimes-submitter"
        ));
    }
    ChannelError::NotNow
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other error carries an answer's code")]
fn refusal(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) => {
            Some(code.as_u16())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "pod_channel_tests.rs"]
mod tests;

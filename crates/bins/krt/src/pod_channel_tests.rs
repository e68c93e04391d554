//! Refused port-forwards, and pods that are frozen or slow.

use super::*;
use http::StatusCode;
use kruntimes_proto::artifact::v1::artifact_service_client::ArtifactServiceClient;
use kruntimes_proto::artifact::v1::artifact_service_server::{
    ArtifactService, ArtifactServiceServer,
};
use kruntimes_proto::artifact::v1::{DownloadRequest, DownloadResponse};
use kube::core::Status as Answer;
use tokio::io::duplex;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Of an answer that takes its time.
const SLOW: Duration = Duration::from_secs(50);
const BUFFER: usize = 1 << 16;

#[test]
fn a_refused_port_forward_has_its_code_in_either_form() {
    let status = Answer::failure("may not", "Forbidden").with_code(403);
    assert_eq!(refusal(&kube::Error::Api(Box::new(status))), Some(403));
    let switch = UpgradeConnectionError::ProtocolSwitch(StatusCode::FORBIDDEN);
    assert_eq!(refusal(&kube::Error::UpgradeConnection(switch)), Some(403));
    assert_eq!(refusal(&kube::Error::TlsRequired), None);
}

/// One who has to wait for each piece.
#[derive(Debug)]
struct Slow;

#[tonic::async_trait]
impl ArtifactService for Slow {
    type DownloadStream = ReceiverStream<Result<DownloadResponse, Status>>;

    async fn download(
        &self,
        _: Request<DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        sleep(SLOW).await;
        let (sender, frames) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..2 {
                sleep(SLOW).await;
                drop(sender.send(Ok(DownloadResponse::default())).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(frames)))
    }
}

async fn client(stream: DuplexStream) -> ArtifactServiceClient<Channel> {
    let mut stream = Some(stream);
    let connector = service_fn(move |_| {
        let stream = stream.take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("one alone")) }
    });
    let endpoint = watched(Endpoint::from_static("http://pod"));
    ArtifactServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

/// Time goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_frozen_pod_is_given_up_after_seconds() {
    let (near, frozen) = duplex(BUFFER);
    let begun = Instant::now();
    let mut client = client(near).await;
    let asked = timeout(SLOW, client.download(DownloadRequest::default())).await;
    assert!(matches!(asked, Ok(Err(_))), "{asked:?}");
    let (took, limit) = (begun.elapsed(), SILENT + ANSWERS_WITHIN);
    assert!(took >= limit && took < limit + SILENT, "{took:?}");
    drop(frozen);
}

/// Time goes on whenever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_its_store_is_not_given_up() {
    let (near, far) = duplex(BUFFER);
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far));
    let server = tonic::transport::Server::builder().add_service(ArtifactServiceServer::new(Slow));
    let serving = tokio::spawn(server.serve_with_incoming(incoming));
    let begun = Instant::now();
    let mut frames =
        client(near).await.download(DownloadRequest::default()).await.unwrap().into_inner();
    let mut count = 0;
    while frames.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!((count, begun.elapsed() >= SLOW * 3), (2, true));
    serving.abort();
}

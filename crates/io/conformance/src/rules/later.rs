//! An Execute of a later version of the protocol.

use kruntimes_proto::executor::v1::ExecuteResponse;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// The request with fields that no server knows yet.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Later {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) args: Vec<String>,
    #[prost(string, tag = "5")]
    pub(super) working_dir: String,
    #[prost(string, tag = "6")]
    pub(super) entrypoint: String,
    #[prost(string, tag = "7")]
    pub(super) handler: String,
    #[prost(string, tag = "1001")]
    pub(super) text: String,
    #[prost(int64, tag = "1002")]
    pub(super) number: i64,
}

pub(super) async fn execute(
    channel: Channel,
    request: Request<Later>,
) -> Result<Response<ExecuteResponse>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/executor.v1.Runtime/Execute");
    client.unary(request, path, tonic_prost::ProstCodec::default()).await
}

//! Downloads and archived logs where no pod of the Runtime is there to give them out.
//!
//! On a cluster it listens on its pod's loopback address, where no Run executes: whoever may port-forward to the pod reaches it, and
//! nobody else. In a local home Runs share that address: there it asks for a token, which stands with the port in a Secret.

use crate::stores::{OpenError, Stores};
use k8s_openapi::api::core::v1::Secret;
use kruntimes_api::{ArtifactStore, Run, Runtime, names};
use kruntimes_artifacts::Store;
use kruntimes_artifacts::serve::{Handout, Shelf, Sought, Token};
use kruntimes_cluster::watch::Chain;
use kruntimes_proto::artifact::v1::artifact_service_server::ArtifactServiceServer;
use kruntimes_proto::executor::v1::runtime_events_server::RuntimeEventsServer;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::server::TcpIncoming;

/// Streams of one connection at once.
const STREAMS: u32 = 64;
/// Before another try to listen, or to say where.
const PAUSE: Duration = Duration::from_secs(5);

/// Where it is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    /// On a free port, with a token.
    Home,
    /// By port-forward.
    Pod(SocketAddr),
}

/// Serves for ever. What goes wrong keeps nobody from removing what is to be removed.
pub(crate) async fn serve(door: Door, stores: Arc<Stores>, client: Client) {
    loop {
        if let Err(error) = try_serve(door, &stores, &client).await {
            tracing::warn!(error = %Chain(&*error), "downloads without a pod of the Runtime are not served");
        }
        sleep(PAUSE).await;
    }
}

async fn try_serve(
    door: Door,
    stores: &Arc<Stores>,
    client: &Client,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (address, token) = match door {
        Door::Home => (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(Token::random()?)),
        Door::Pod(address) => (address, None),
    };
    let listener = TcpListener::bind(address).await?;
    if let Some(token) = &token {
        publish(client, listener.local_addr()?, token).await?;
    }
    let shelf = Arc::new(All { stores: Arc::clone(stores), client: client.clone() });
    let handout = Handout::new(shelf, token);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .add_service(ArtifactServiceServer::new(handout.clone()))
        .add_service(RuntimeEventsServer::new(handout))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

/// Says where it is, in place of what an earlier life has said.
async fn publish(client: &Client, address: SocketAddr, token: &Token) -> Result<(), kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), names::LOCAL_DOOR_NAMESPACE);
    let content = json!({
        "metadata": {"name": names::LOCAL_DOOR},
        "stringData": {"address": address.to_string(), "token": token.text()},
    });
    let secret = serde_json::from_value(content.clone()).map_err(kube::Error::SerdeError)?;
    match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let parameters = PatchParams::default();
            secrets.patch(names::LOCAL_DOOR, &parameters, &Patch::Merge(content)).await.map(drop)
        }
        created => created.map(drop),
    }
}

/// Everything that this maintainer looks after.
struct All {
    stores: Arc<Stores>,
    client: Client,
}

impl std::fmt::Debug for All {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("All").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl All {
    /// The store that an archived log would be in.
    async fn of_log(&self, run: &Run, namespace: &str) -> Result<ArtifactStore, Status> {
        if let Some(named) = self.stores.only() {
            return Ok(named.clone());
        }
        if let Some(named) = run.status.as_ref().and_then(|status| status.artifact_store.clone()) {
            return Ok(named);
        }
        let runtimes: Api<Runtime> = Api::namespaced(self.client.clone(), namespace);
        let found = runtimes.get_opt(&run.spec.runtime).await;
        let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
        found.and_then(|runtime| runtime.spec.artifact_store).ok_or_else(|| {
            Status::failed_precondition("its Runtime is gone, or has no artifact store")
        })
    }
}

#[tonic::async_trait]
impl Shelf for All {
    fn runs(&self, namespace: &str) -> Result<Api<Run>, Status> {
        if !self.stores.has(namespace) {
            return Err(Status::permission_denied(
                "this maintainer serves its own namespace alone",
            ));
        }
        Ok(Api::namespaced(self.client.clone(), namespace))
    }

    fn admit(&self, _: &Run) -> Result<(), Status> {
        Ok(())
    }

    async fn store(&self, run: &Run, sought: Sought) -> Result<Store, Status> {
        let namespace = run.namespace().unwrap_or_default();
        let kept_in = run.status.as_ref().and_then(|status| status.artifact_store.clone());
        let named = match sought {
            Sought::Log => self.of_log(run, &namespace).await?,
            Sought::Artifact => {
                kept_in.ok_or_else(|| Status::not_found("the Run has kept nothing"))?
            }
        };
        self.stores.open(&namespace, &named).await.map_err(|error| match error {
            OpenError::Unknown => Status::failed_precondition("it is in another store"),
            OpenError::Secret(..) | OpenError::NoSecret(_) => {
                Status::failed_precondition(error.to_string())
            }
        })
    }
}

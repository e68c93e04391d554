//! The API server of a local home on its port: also alone, as `krt serve apiserver`.

use super::data_dir;
use crate::failure::{Failure, chain, without_number};
use crate::names;
use kruntimes_api::crd;
use kruntimes_apiserver::{ApiServer, Identity, TlsConfig, User, kubeconfig, serve_tls};
use kruntimes_daemon::Shutdown;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;

/// An API server that has its port and does not serve yet.
pub(super) struct Api {
    /// The objects.
    pub(super) server: Arc<ApiServer>,
    /// For whoever comes over the port.
    pub(super) kubeconfig: String,
    /// Its address.
    pub(super) url: String,
    /// The certificate authority of that address.
    pub(super) ca_pem: String,
    tls: TlsConfig,
    listener: TcpListener,
}

impl Api {
    /// Opens the store in `dir`, or one in memory, with the CRDs of this project.
    pub(super) async fn open(dir: Option<&Path>, port: u16) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
            let why = without_number(&error.to_string());
            Failure::new(format!(
                "can't listen on port {port} of 127.0.0.1: {why}: name another --port, or 0 for a free one"
            ))
        })?;
        let url = format!("https://{}", listener.local_addr()?);
        let server = ApiServer::open(kruntimes_apiserver::Options {
            data_dir: dir.map(Path::to_owned),
            crds: crd::all(),
            ..kruntimes_apiserver::Options::default()
        })
        .map_err(|error| Failure::new(chain(&error)))?;
        let kept = dir.map(|dir| dir.join("tls"));
        let identity = Identity::create(kept.as_deref(), Ipv4Addr::LOCALHOST.into())
            .map_err(|error| Failure::new(chain(&error)))?;
        let token = names::token()?;
        server.add_token(token.clone(), User::admin("local-admin"));
        Ok(Self {
            kubeconfig: kubeconfig(&url, &identity.ca_pem, &token),
            tls: TlsConfig::from(&identity),
            ca_pem: identity.ca_pem,
            server,
            url,
            listener,
        })
    }

    /// Serves the port until the shutdown.
    pub(super) fn serve(
        self,
        shutdown: Shutdown,
    ) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let Self { server, tls, listener, .. } = self;
        async move {
            serve_tls(server, tls, listener, shutdown)
                .await
                .map_err(|error| Failure::new(chain(&error)))
        }
    }
}

/// Serves the API on `dir` alone, without roles or pods; the kubeconfig lies beside the store.
pub(crate) async fn serve(dir: PathBuf, port: u16, shutdown: Shutdown) -> Result<(), Failure> {
    let lock = data_dir::lock(&dir)?;
    let api = Api::open(Some(&dir), port).await?;
    data_dir::write_private(&data_dir::kubeconfig(&dir), &api.kubeconfig)?;
    lock.ready()?;
    let server = Arc::clone(&api.server);
    tokio::select! {
        end = api.serve(shutdown) => end,
        why = server.failed() => Err(Failure::new(format!("the store has failed: {why}"))),
    }
}

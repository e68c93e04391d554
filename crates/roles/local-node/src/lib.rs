//! The local home's node: Deployments become ReplicaSets, these become pods, and a pod is a few processes of this
//! machine, each pod on a loopback address of its own.
//!
//! Invariants: all it knows it reads from the API, all it does it writes there; no process of a pod outlives the pod
//! or the home; one bad object harms no other.

mod logs;
mod node;
mod process;
mod queue;
mod random;
mod watch;
mod workloads;

pub use logs::{LogError, LogOptions, LogStream, PodLogs};

use kruntimes_daemon::Shutdown;
use kube::Client;
use std::path::PathBuf;
use std::sync::Arc;

/// What the node needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the pods' directories are made.
    pub data_dir: PathBuf,
    /// The krt binary that runs the roles.
    pub program: PathBuf,
    /// The API's address for the processes of pods.
    pub api_url: String,
    /// The certificate authority of that address.
    pub ca_pem: String,
    /// What the roles log.
    pub log_filter: String,
    /// `PATH` of the processes of pods.
    pub search_path: String,
    /// Settings that the home's own environment has for runtimed: name and value.
    pub runtimed_settings: Vec<(String, String)>,
    /// The same for a runtimed that keeps artifacts in a bucket whose Runtime names no Secret.
    pub bucket_settings: Vec<(String, String)>,
}

/// Who a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its service account.
    pub service_account: String,
}

/// Gives out the tokens by which pods reach the API.
pub trait Tokens: Send + Sync + 'static {
    /// A token for a pod that starts.
    fn issue(&self, pod: &PodIdentity) -> String;
    /// Ends a token's validity.
    fn revoke(&self, token: &str);
}

/// Why the node can't work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory can't be used.
    #[error("the directory {path} for pods can't be made")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Orphans of pods can't be found.
    #[error("the kernel does not let this process adopt orphans")]
    Orphans(#[source] std::io::Error),
}

/// Brings the objects of an earlier home in line with its end: its pods failed, and their owners know. To be awaited
/// before anything reads which pods are ready.
pub async fn recover(client: &Client) -> Result<(), kube::Error> {
    node::fail_lost(client).await?;
    workloads::look_once(client).await
}

/// Runs the workloads and the node until the shutdown; then no process of a pod is left.
pub async fn serve(
    config: Config,
    client: Client,
    tokens: Arc<dyn Tokens>,
    logs: PodLogs,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    process::adopt_orphans().map_err(Error::Orphans)?;
    let pods = config.data_dir.join("pods");
    tokio::fs::create_dir_all(&pods)
        .await
        .map_err(|source| Error::DataDirectory { path: pods, source })?;
    let node = node::run(node::Node::new(config, client.clone(), tokens, logs), shutdown.clone());
    let others = async {
        tokio::select! {
            () = Box::pin(workloads::run(client)) => {}
            () = process::reap_on_signal() => {}
            () = shutdown.wait() => {}
        }
    };
    tokio::join!(node, others);
    process::sweep().await;
    Ok(())
}

//! What a maintainer looks after: a whole local home, or one store of one namespace of a cluster.

use crate::serving::Door;
use crate::stores::Stores;
use kruntimes_api::{labels, names};
use kruntimes_artifacts::StoreConfig;
use kruntimes_rules::artifact;
use kube::Client;
use kube::runtime::watcher;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;
use tokio::sync::OnceCell;

/// What the maintainer needs to know.
#[derive(Debug, Clone)]
pub enum Config {
    /// In a local home.
    Home {
        /// Its directory.
        home: PathBuf,
        /// The variables of its environment that a bucket may be opened with.
        environment: BTreeMap<String, String>,
    },
    /// On a cluster.
    Store(Box<StoreArgs>),
}

/// Flags of `krt serve maintainer`.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreArgs {
    /// Namespace of the Runs whose artifacts it removes.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub run_namespace: String,
    /// The store.
    #[command(flatten)]
    pub store: StoreConfig,
    /// Where downloads and archived logs are served without a token: an address that only port-forwards reach.
    #[arg(long, default_value_t = SocketAddr::from(([127, 0, 0, 1], names::STATUS_PORT)))]
    pub status_addr: SocketAddr,
    /// Directory with the credentials of the bucket.
    #[arg(long, env = "KRUNTIMES_SOURCES", default_value = names::SOURCES_PATH, hide = true)]
    pub mounted: PathBuf,
}

/// A maintainer that was told no store.
#[derive(Debug, Error)]
#[error("--artifact-store-driver is missing: it names the store to look after")]
pub struct NoStore;

impl Config {
    /// The stores, which Runs have something in them, and how they are given out.
    pub(crate) fn open(self, client: &Client) -> Result<(Stores, watcher::Config, Door), NoStore> {
        let labelled = |selector: &str| watcher::Config::default().labels(selector);
        match self {
            Self::Home { home, environment } => {
                let stores = Stores::Home {
                    home,
                    environment,
                    client: client.clone(),
                    cluster: OnceCell::new(),
                };
                Ok((stores, labelled(labels::ARTIFACT_STORE_HASH), Door::Home))
            }
            Self::Store(args) => {
                let StoreArgs { run_namespace, store, status_addr, mounted } = *args;
                let named = store.named().ok_or(NoStore)?;
                let hash = artifact::store_hash(&named);
                let root =
                    artifact::volume_claim(&named).map(|_| store.artifact_store_root.clone());
                let opened = store.open(&mounted);
                let stores = Stores::One { namespace: run_namespace, named, store: opened, root };
                let selected = labelled(&format!("{}={hash}", labels::ARTIFACT_STORE_HASH));
                Ok((stores, selected, Door::Pod(status_addr)))
            }
        }
    }
}

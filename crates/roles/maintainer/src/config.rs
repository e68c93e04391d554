//! What a maintainer looks after: a whole local home, or one store of one namespace of a cluster.

use crate::stores::Stores;
use kruntimes_api::{labels, names};
use kruntimes_artifacts::StoreConfig;
use kruntimes_rules::artifact;
use kube::Client;
use kube::runtime::watcher;
use std::collections::BTreeMap;
use std::path::PathBuf;
use thiserror::Error;

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
    Store(StoreArgs),
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
    /// Directory with the credentials of the bucket.
    #[arg(long, env = "KRUNTIMES_SOURCES", default_value = names::SOURCES_PATH, hide = true)]
    pub mounted: PathBuf,
}

/// A maintainer that was told no store.
#[derive(Debug, Error)]
#[error("--artifact-store-driver is missing: it names the store to look after")]
pub struct NoStore;

impl Config {
    /// The stores, and which Runs have something in them.
    pub(crate) fn open(self, client: &Client) -> Result<(Stores, watcher::Config), NoStore> {
        let labelled = |selector: &str| watcher::Config::default().labels(selector);
        match self {
            Self::Home { home, environment } => {
                let stores = Stores::Home { home, environment, client: client.clone() };
                Ok((stores, labelled(labels::ARTIFACT_STORE_HASH)))
            }
            Self::Store(StoreArgs { run_namespace, store, mounted }) => {
                let named = store.named().ok_or(NoStore)?;
                let hash = artifact::store_hash(&named);
                let root =
                    artifact::volume_claim(&named).map(|_| store.artifact_store_root.clone());
                let opened = store.open(&mounted);
                let stores = Stores::One { namespace: run_namespace, named, store: opened, root };
                Ok((stores, labelled(&format!("{}={hash}", labels::ARTIFACT_STORE_HASH))))
            }
        }
    }
}

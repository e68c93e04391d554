//! The store that the status of a Run names, as this maintainer has it.

use k8s_openapi::api::core::v1::Secret;
use kruntimes_api::{ArtifactStore, Run, Runtime, S3Store, labels, names};
use kruntimes_artifacts::{Credentials, Store};
use kruntimes_cluster::identity;
use kruntimes_rules::artifact;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::sync::OnceCell;

/// Buckets of a home that are looked through; further ones are not.
const BUCKETS: usize = 64;
/// Runs in one page of a list.
const PAGE: u32 = 500;

/// Why a store can't be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error("the store is none of this maintainer's")]
    Unknown,
    #[error("the Secret {0} with the credentials of the bucket can't be read")]
    Secret(String, #[source] kube::Error),
    #[error("the Secret {0} with the credentials of the bucket does not exist: create it again")]
    NoSecret(String),
}

/// The stores that Runs may name.
pub(crate) enum Stores {
    /// All of a local home's.
    Home {
        home: PathBuf,
        environment: BTreeMap<String, String>,
        client: Client,
        /// Which home this is, once it was asked.
        cluster: OnceCell<Option<String>>,
    },
    /// One, of one namespace.
    One { namespace: String, named: ArtifactStore, store: Store, root: Option<PathBuf> },
}

impl Stores {
    pub(crate) async fn open(
        &self,
        namespace: &str,
        named: &ArtifactStore,
    ) -> Result<Store, OpenError> {
        match self {
            Self::One { namespace: own, named: known, store, .. } => {
                let same = own == namespace && known == named;
                same.then(|| store.clone()).ok_or(OpenError::Unknown)
            }
            Self::Home { home, environment, client, cluster } => {
                if let Some(bucket) = artifact::bucket(named) {
                    let credentials = credentials(client, environment, namespace, bucket).await?;
                    let cluster = cluster.get_or_init(|| identity::cluster(client)).await.clone();
                    return Ok(Store::bucket(bucket, credentials, cluster));
                }
                let claim =
                    artifact::volume_claim(named).filter(|claim| names::is_object_name(claim));
                let claim = claim.ok_or(OpenError::Unknown)?;
                Ok(Store::volume(names::local_volume(home, namespace, claim)))
            }
        }
    }

    /// The only one that there is, if this is one store's.
    pub(crate) const fn only(&self) -> Option<&ArtifactStore> {
        match self {
            Self::One { named, .. } => Some(named),
            Self::Home { .. } => None,
        }
    }

    /// The Runs of all namespaces that are looked after here.
    pub(crate) fn runs<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::Home { .. } => Api::all(client.clone()),
            Self::One { namespace, .. } => Api::namespaced(client.clone(), namespace),
        }
    }

    /// The Runs of one of these namespaces.
    pub(crate) fn runs_of(&self, client: &Client, namespace: &str) -> Api<Run> {
        Api::namespaced(client.clone(), namespace)
    }

    /// The buckets that are looked through, each for one namespace: the only one, or in a home those that Runtimes have and Runs name.
    pub(crate) async fn buckets(
        &self,
        client: &Client,
    ) -> Result<Vec<(String, ArtifactStore)>, kube::Error> {
        let mut found: BTreeMap<(String, String), ArtifactStore> = BTreeMap::new();
        let mut take = |namespace: Option<String>, named: Option<ArtifactStore>| {
            let (namespace, named) = (namespace.unwrap_or_default(), named);
            if let Some(named) = named.filter(|named| artifact::bucket(named).is_some())
                && found.len() < BUCKETS
            {
                found.insert((namespace, artifact::store_hash(&named)), named);
            }
        };
        match self {
            Self::One { namespace, named, .. } => {
                take(Some(namespace.clone()), Some(named.clone()))
            }
            Self::Home { .. } => {
                let runtimes: Api<Runtime> = self.runs(client);
                for runtime in runtimes.list(&ListParams::default()).await? {
                    take(runtime.namespace(), runtime.spec.artifact_store);
                }
                let mut page =
                    ListParams::default().labels(labels::ARTIFACT_STORE_HASH).limit(PAGE);
                loop {
                    let list = self.runs::<Run>(client).list(&page).await?;
                    for run in list.items {
                        let namespace = run.namespace();
                        take(namespace, run.status.and_then(|status| status.artifact_store));
                    }
                    match list.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => page = page.continue_token(&token),
                        None => break,
                    }
                }
            }
        }
        Ok(found.into_iter().map(|((namespace, _), named)| (namespace, named)).collect())
    }

    /// The directories that stand for volumes: those of a home's namespaces, or the one that is mounted.
    pub(crate) fn volumes(&self) -> Volumes {
        match self {
            Self::Home { home, .. } => Volumes::Below(home.join(names::LOCAL_VOLUMES)),
            Self::One { root, .. } => Volumes::Mounted(root.clone()),
        }
    }

    /// Whether what is kept for this namespace is looked after here.
    pub(crate) fn has(&self, namespace: &str) -> bool {
        match self {
            Self::Home { .. } => true,
            Self::One { namespace: own, .. } => own == namespace,
        }
    }
}

/// Where volumes are.
#[derive(Debug)]
pub(crate) enum Volumes {
    /// `<namespace>/<claim>` below this.
    Below(PathBuf),
    /// This, or none.
    Mounted(Option<PathBuf>),
}

impl Volumes {
    /// All of them; `inner` lists a directory.
    pub(crate) fn all(self, inner: impl Fn(&Path) -> Vec<PathBuf>) -> Vec<PathBuf> {
        match self {
            Self::Below(all) => inner(&all).iter().flat_map(|namespace| inner(namespace)).collect(),
            Self::Mounted(root) => root.into_iter().collect(),
        }
    }
}

async fn credentials(
    client: &Client,
    environment: &BTreeMap<String, String>,
    namespace: &str,
    bucket: &S3Store,
) -> Result<Credentials, OpenError> {
    let Some(name) = artifact::given(&bucket.credentials_secret_name) else {
        return Ok(Credentials::Variables(environment.clone()));
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = secrets.get_opt(name).await;
    let found = found.map_err(|error| OpenError::Secret(name.to_owned(), error))?;
    let secret = found.ok_or_else(|| OpenError::NoSecret(name.to_owned()))?;
    let data = secret.data.unwrap_or_default().into_iter();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(Credentials::Variables(data.map(|(key, bytes)| (key, text(bytes.0))).collect()))
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stores").finish_non_exhaustive()
    }
}

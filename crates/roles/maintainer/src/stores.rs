//! The store that the status of a Run names, as this home has it.

use k8s_openapi::api::core::v1::Secret;
use kruntimes_api::{ArtifactStore, S3Store, names};
use kruntimes_artifacts::{Credentials, Store};
use kruntimes_rules::artifact;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::path::PathBuf;
use thiserror::Error;

/// Why a store can't be opened.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error("the store is none of this home")]
    Unknown,
    #[error("the Secret {0} with the credentials of the bucket can't be read")]
    Secret(String, #[source] kube::Error),
    #[error("the Secret {0} with the credentials of the bucket does not exist: create it again")]
    NoSecret(String),
}

/// All stores that Runs of this home may name.
pub(crate) struct Stores {
    pub(crate) home: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) client: Client,
}

impl Stores {
    pub(crate) async fn open(
        &self,
        namespace: &str,
        named: &ArtifactStore,
    ) -> Result<Store, OpenError> {
        if let Some(bucket) = artifact::bucket(named) {
            let credentials = self.credentials(namespace, bucket).await?;
            return Ok(Store::bucket(bucket, credentials));
        }
        let claim = artifact::volume_claim(named).filter(|claim| names::is_object_name(claim));
        let claim = claim.ok_or(OpenError::Unknown)?;
        Ok(Store::volume(names::local_volume(&self.home, namespace, claim)))
    }

    async fn credentials(
        &self,
        namespace: &str,
        bucket: &S3Store,
    ) -> Result<Credentials, OpenError> {
        let Some(name) = artifact::given(&bucket.credentials_secret_name) else {
            return Ok(Credentials::Variables(self.environment.clone()));
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = secrets.get_opt(name).await;
        let found = found.map_err(|error| OpenError::Secret(name.to_owned(), error))?;
        let secret = found.ok_or_else(|| OpenError::NoSecret(name.to_owned()))?;
        let data = secret.data.unwrap_or_default().into_iter();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Credentials::Variables(data.map(|(key, bytes)| (key, text(bytes.0))).collect()))
    }
}

//! The one way to write a Lease: an update of the version that it carries, or a creation where it carries none.

use crate::watch::Chain;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use std::time::Duration;
use tokio::time::timeout;

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// It was accepted; this is the Lease as it is stored.
    Stored(Box<Lease>),
    /// Another version is stored, or none, or one where none was expected.
    Conflict,
    /// No answer, or a refusal: it may have been accepted.
    Failed,
}

/// Writes `lease`; an answer that does not come `within` this time counts as none.
pub async fn write(leases: &Api<Lease>, lease: &Lease, within: Duration) -> Written {
    let name = lease.name_any();
    let parameters = PostParams::default();
    let write = async {
        match lease.resource_version() {
            None => leases.create(&parameters, lease).await,
            Some(_) => leases.replace(&name, &parameters, lease).await,
        }
    };
    match timeout(within, write).await {
        Ok(Ok(lease)) => Written::Stored(Box::new(lease)),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Written::Conflict,
        Ok(Err(error)) => {
            tracing::warn!(name, error = %Chain(&error), "the Lease could not be written");
            Written::Failed
        }
        Err(_) => {
            tracing::warn!(name, "a write of the Lease was not answered");
            Written::Failed
        }
    }
}

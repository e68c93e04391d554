//! Which cluster this is, for what several clusters may share: the UID of its namespace `kube-system`, which is made once.

use crate::watch::Chain;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::sleep;

const NAMESPACE: &str = "kube-system";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Asks until there is an answer; none where this client may not know it.
pub async fn cluster(client: &Client) -> Option<String> {
    let mut pause = FIRST_PAUSE;
    loop {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        match namespaces.get_opt(NAMESPACE).await {
            Ok(found) => return found.and_then(|found| found.metadata.uid),
            Err(kube::Error::Api(answer)) if answer.code == 403 => {
                tracing::warn!(
                    why = answer.message,
                    "which cluster this is can't be known: what its Runs leave in buckets is not marked"
                );
                return None;
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "the namespace kube-system can't be read");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

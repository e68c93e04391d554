//! What this pod gives out on port 9093: of the Runs of its own Runtime, from its store, whichever pod has executed them.

use crate::artifacts::Artifacts;
use kruntimes_api::Run;
use kruntimes_artifacts::Store;
use kruntimes_artifacts::serve::{Shelf, Sought};
use kube::Api;
use tonic::Status;

/// The shelf of one pod.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) runs: Api<Run>,
    pub(crate) namespace: String,
    pub(crate) runtime: String,
    pub(crate) artifacts: Option<Artifacts>,
}

impl Own {
    fn artifacts(&self) -> Result<&Artifacts, Status> {
        self.artifacts.as_ref().ok_or_else(|| {
            Status::failed_precondition("the Runtime of this pod has no artifact store")
        })
    }
}

#[tonic::async_trait]
impl Shelf for Own {
    fn runs(&self, namespace: &str) -> Result<Api<Run>, Status> {
        self.artifacts()?;
        if namespace != self.namespace {
            return Err(Status::permission_denied("this pod serves its own namespace alone"));
        }
        Ok(self.runs.clone())
    }

    fn admit(&self, run: &Run) -> Result<(), Status> {
        if run.spec.runtime != self.runtime {
            return Err(Status::permission_denied("it is no Run of this Runtime"));
        }
        Ok(())
    }

    async fn store(&self, run: &Run, sought: Sought) -> Result<Store, Status> {
        let artifacts = self.artifacts()?;
        let kept_in = run.status.as_ref().and_then(|status| status.artifact_store.as_ref());
        if sought == Sought::Artifact && kept_in != Some(&artifacts.named) {
            return Err(Status::failed_precondition(
                "the artifact is in another store than the Runtime has now",
            ));
        }
        Ok(artifacts.store.clone())
    }
}

//! bash as an executor: requests become commands of the zygote.

use crate::prepare::{Places, Valid};
use crate::process;
use kruntimes_confine::Zygote;
use kruntimes_runtime_server::{
    Cancel, ExecuteRequest, Executor, Outcome, Output, Request, Status,
};
use std::sync::Arc;
use tokio::io::unix::AsyncFd;

/// What every execution shares.
#[derive(Debug)]
pub(crate) struct Bash {
    pub(crate) zygote: Arc<AsyncFd<Zygote>>,
    pub(crate) places: Places,
}

impl Executor for Bash {
    type Request = Valid;

    fn check(&self, request: Request<ExecuteRequest>) -> Result<Valid, Status> {
        self.places.check(request.into_inner())
    }

    async fn execute(&self, valid: Valid, output: Output, cancel: Cancel) -> Outcome {
        process::execute(self, valid, output, &cancel).await.unwrap_or_else(|outcome| outcome)
    }

    async fn clean_up(&self, id: &str) {
        process::remove_temporary(self, id).await;
    }

    fn health(&self) -> Result<(), String> {
        if self.zygote.get_ref().is_alive() {
            Ok(())
        } else {
            Err("the process that starts executions is dead".to_owned())
        }
    }
}

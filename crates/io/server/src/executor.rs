//! What a Runtime Server does with a request, and how it is told to stop.

use crate::execution::Execution;
use crate::outcome::{Outcome, Why};
use crate::output::Output;
use kruntimes_proto::executor::v1::ExecuteRequest;
use std::future::{Future, ready};
use std::sync::Arc;
use tonic::{Request, Status};

/// Does the work of a Runtime Server. [`crate::from_fn`] makes one of a function.
pub trait Executor: Send + Sync + 'static {
    /// A request that passed the checks.
    type Request: Send + 'static;

    /// Checks everything that can be wrong in a request itself, before it is acknowledged. Ids, and names and values
    /// that no process could take, are checked already.
    fn check(&self, request: Request<ExecuteRequest>) -> Result<Self::Request, Status>;

    /// Does the work and says how it ended. No process of it may be left then. The timeout comes as a wish to cancel.
    fn execute(
        &self,
        request: Self::Request,
        output: Output,
        cancel: Cancel,
    ) -> impl Future<Output = Outcome> + Send;

    /// Removes what an execution left; its id is not taken again before. Its end was told already.
    fn clean_up(&self, id: &str) -> impl Future<Output = ()> + Send {
        let _ = id;
        ready(())
    }

    /// How executions are kept apart, as [`kruntimes_proto::ISOLATION_METADATA`] says it; nothing if they are not.
    fn isolation(&self) -> Option<&str> {
        None
    }

    /// Why it can't take work, if it can't.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The wish that an execution ends.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<Execution>);

impl Cancel {
    pub(crate) fn new(execution: &Arc<Execution>) -> Self {
        Self(Arc::clone(execution))
    }

    /// Resolves when the execution shall end, at most once a wish: the first reason stays.
    pub async fn wait(&self) -> Why {
        self.0.wish().await
    }
}

//! The services `executor.v1.Runtime` and `executor.v1.RuntimeEvents` over the table of executions.

use crate::events::{Events, Watcher};
use crate::execution::Execution;
use crate::executor::{Cancel, Executor};
use crate::kept::STREAM_LIMIT;
use crate::lease::Lease;
use crate::outcome::{Outcome, Why};
use crate::output::Output;
use crate::table::{RUNNING_LIMIT, Refusal, Table};
use crate::valid;
use futures::future::join_all;
use futures::{FutureExt, Stream};
use kruntimes_proto::ISOLATION_METADATA;
use kruntimes_proto::executor::v1::runtime_events_server::RuntimeEvents;
use kruntimes_proto::executor::v1::runtime_server::Runtime;
use kruntimes_proto::executor::v1::{
    CancelRequest, CancelResponse, ExecuteRequest, ExecuteResponse, ExecutionEvent, ForgetRequest,
    ForgetResponse, HealthRequest, HealthResponse, ListRequest, ListResponse, RenewRequest,
    RenewResponse, StatusRequest, StatusResponse, WatchRequest,
};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tonic::{Request, Response, Status};

/// Size of a List reply: clients take 4 MiB unless they are told otherwise.
const LIST_BYTES: usize = 2 * 1024 * 1024;
/// What an entry of a List reply may take beside its output.
const ENTRY_BYTES: usize = 512;
/// Streams of events at once.
const WATCHERS_LIMIT: usize = 16;

/// What all calls and executions share.
#[derive(Debug)]
pub(crate) struct Server<E> {
    pub(crate) executor: E,
    pub(crate) table: Table,
    pub(crate) events: Arc<Events>,
    pub(crate) lease: Lease,
}

/// The services, on a shared server.
#[derive(Debug)]
pub(crate) struct Service<E>(pub(crate) Arc<Server<E>>);

impl<E: Executor> Server<E> {
    /// Ends all executions, and returns when the last process is gone.
    pub(crate) async fn end_all(&self, why: Why) {
        let all = self.table.all();
        all.iter().for_each(|execution| execution.end(why));
        join_all(all.iter().map(|execution| execution.wait_until_ended())).await;
    }

    /// Ends all executions whenever a renewal stays away. Never returns.
    pub(crate) async fn watch_lease(&self) {
        loop {
            self.lease.expires().await;
            let running = self.table.all().into_iter().filter(|execution| !execution.has_ended());
            for execution in running {
                tracing::warn!(id = %execution.id(), "killed: no renewal in time");
                execution.end(Why::NotRenewed);
            }
        }
    }

    /// Does the work to its end, which is then in the table and among the events.
    async fn run(
        self: Arc<Self>,
        execution: Arc<Execution>,
        work: E::Request,
        deadline: Option<Instant>,
    ) {
        let end = self.until_the_end(&execution, work, deadline).await;
        execution.set_outcome(end.clone());
        if execution.why() == Some(Why::Cancelled) {
            self.table.remove(&execution);
        } else {
            self.table.retain(&execution);
        }
        self.events.exited(execution.id(), &end, execution.dropped_bytes());
        // The id may be taken again from here on, and with it the directory.
        self.executor.clean_up(execution.id()).await;
        execution.announce_end();
    }

    async fn until_the_end(
        &self,
        execution: &Arc<Execution>,
        work: E::Request,
        deadline: Option<Instant>,
    ) -> Outcome {
        let output = Output::new(execution, &self.events);
        let work = self.executor.execute(work, output, Cancel::new(execution));
        // A panic must not leave an execution that never ends.
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        let outcome = tokio::select! {
            biased;
            outcome = &mut work => outcome,
            () = until(deadline) => {
                execution.end(Why::Timeout);
                work.await
            }
        };
        let outcome = outcome.unwrap_or_else(|_| Outcome::lost("the server's code panicked"));
        match execution.why() {
            Some(why) => outcome.because(why),
            None => outcome,
        }
    }

    fn get(&self, id: &str) -> Result<Arc<Execution>, Status> {
        self.table.get(id).ok_or_else(|| Status::not_found(format!("execution {id:?} is unknown")))
    }

    /// Ends an execution, waits until it is dead, and drops it.
    async fn discard(&self, execution: &Arc<Execution>) {
        execution.end(Why::Cancelled);
        execution.wait_until_ended().await;
        self.table.remove(execution);
        self.events.discard(execution);
    }

    /// A reply of bounded size: every entry gets an equal share for its output.
    fn list(&self) -> ListResponse {
        let all = self.table.all();
        let share = LIST_BYTES / all.len().max(1);
        // A text takes at most its limit and the marker; there are two.
        let limit = share.saturating_sub(ENTRY_BYTES) / 2;
        ListResponse { entries: all.iter().map(|execution| execution.status(limit)).collect() }
    }
}

#[tonic::async_trait]
impl<E: Executor> Runtime for Service<E> {
    async fn execute(
        &self,
        request: Request<ExecuteRequest>,
    ) -> Result<Response<ExecuteResponse>, Status> {
        valid::check(request.get_ref())?;
        let id = request.get_ref().id.clone();
        let seconds = u64::try_from(request.get_ref().timeout_seconds).unwrap_or_default();
        let timeout = Some(Duration::from_secs(seconds)).filter(|timeout| !timeout.is_zero());
        let work = self.0.executor.check(request)?;
        let execution = Execution::new(&id);
        loop {
            match self.0.table.insert(&execution) {
                Ok(()) => break,
                Err(Refusal::Exists(existing)) => self.0.discard(&existing).await,
                Err(Refusal::TooMany) => {
                    return Err(Status::resource_exhausted(format!(
                        "{RUNNING_LIMIT} executions run already"
                    )));
                }
            }
        }
        // After it is in the table, where an expiry finds it.
        if self.0.lease.has_expired() {
            self.0.table.remove(&execution);
            return Err(Status::failed_precondition("no renewal in time: Renew comes first"));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        tokio::spawn(Arc::clone(&self.0).run(execution, work, deadline));
        Ok(Response::new(ExecuteResponse { id }))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.0.get(&request.into_inner().id)?.status(STREAM_LIMIT)))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(self.0.list()))
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        let execution = self.0.get(&request.into_inner().id)?;
        self.0.discard(&execution).await;
        Ok(Response::new(CancelResponse {}))
    }

    async fn forget(
        &self,
        request: Request<ForgetRequest>,
    ) -> Result<Response<ForgetResponse>, Status> {
        let execution = self.0.get(&request.into_inner().id)?;
        if !execution.has_ended() {
            // The end is announced a moment after its event: who was told of it may forget at once.
            if execution.has_outcome() {
                execution.wait_until_ended().await;
            } else {
                let message = format!("execution {:?} is running", execution.id());
                return Err(Status::failed_precondition(message));
            }
        }
        self.0.table.remove(&execution);
        self.0.events.forget(&execution);
        Ok(Response::new(ForgetResponse {}))
    }

    async fn health(&self, _: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        let health = self.0.executor.health();
        let healthy = health.is_ok();
        let message = health.err().unwrap_or_default();
        let mut answer = Response::new(HealthResponse { healthy, message });
        if let Some(isolation) = self.0.executor.isolation().and_then(|text| text.parse().ok()) {
            answer.metadata_mut().insert(ISOLATION_METADATA, isolation);
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl<E: Executor> RuntimeEvents for Service<E> {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<ExecutionEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if self.0.events.watchers() >= WATCHERS_LIMIT {
            return Err(Status::resource_exhausted(format!(
                "{WATCHERS_LIMIT} watchers read already"
            )));
        }
        let watcher = self.0.events.watch(request.into_inner().resume_after);
        let stream = futures::stream::unfold(watcher, |mut watcher: Watcher| async {
            Some((Ok(watcher.next().await?), watcher))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let ttl = u64::try_from(request.into_inner().ttl_millis).ok().filter(|millis| *millis > 0);
        let Some(ttl) = ttl.map(Duration::from_millis) else {
            return Err(Status::invalid_argument("ttl_millis must be positive"));
        };
        self.0.lease.renew(ttl).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(RenewResponse {}))
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

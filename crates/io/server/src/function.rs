//! A whole Runtime Server from one async function.

use crate::{Cancel, Config, Error, Executor, Outcome, Output, Shutdown, Trigger};
use clap::Parser;
use kruntimes_daemon::{lifeline, logs};
use kruntimes_proto::executor::v1::ExecuteRequest;
use std::fmt;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Request, Status};

/// How long a function may go on after it was asked to end. Then it is dropped, in time for a Cancel to be answered
/// within three seconds.
const ANSWER_TIME: Duration = Duration::from_millis(2500);

/// What `main` takes.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    config: Config,
    /// What to log: a level, or targets with levels
    #[arg(long, env = "KRUNTIMES_LOG", default_value = "info")]
    log: String,
}

/// Serves `execute` with the settings of the command line, until SIGTERM, SIGINT or the end of the local home.
///
/// ```no_run
/// use kruntimes_runtime_server::{Cancel, Error, ExecuteRequest, Outcome, Output};
///
/// /// Says its arguments in capital letters.
/// async fn execute(request: ExecuteRequest, output: Output, cancel: Cancel) -> Outcome {
///     for word in &request.args {
///         tokio::select! {
///             () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
///             why = cancel.wait() => return Outcome::ended(why),
///         }
///         output.stdout(word.to_uppercase());
///     }
///     Outcome::exited(0)
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     kruntimes_runtime_server::main(execute).await
/// }
/// ```
pub async fn main<F, R>(execute: F) -> Result<(), Error>
where
    F: Fn(ExecuteRequest, Output, Cancel) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let Arguments { config, log } = Arguments::parse();
    logs::install(&log);
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(fire_at_the_end(trigger));
    crate::serve(&config, from_fn(&config, execute), shutdown).await
}

async fn fire_at_the_end(trigger: Trigger) {
    if std::env::var_os(lifeline::VARIABLE).is_some_and(|value| value == "stdin") {
        tokio::spawn(lifeline::watch_stdin(trigger.clone()));
    }
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be caught");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    trigger.fire();
}

/// An executor of one async function. Its request always has a working directory, which exists. When it is asked to end
/// and does not within 2.5 s, it is dropped.
pub fn from_fn<F, R>(config: &Config, execute: F) -> impl Executor + use<F, R>
where
    F: Fn(ExecuteRequest, Output, Cancel) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let work_dir = match &config.workspace {
        Some(workspace) if config.work_dir.starts_with("/workspace") => workspace.clone(),
        Some(_) | None => config.work_dir.clone(),
    };
    Function { work_dir, workspace: config.workspace.clone(), execute }
}

struct Function<F> {
    work_dir: PathBuf,
    workspace: Option<PathBuf>,
    execute: F,
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Function").field("work_dir", &self.work_dir).finish_non_exhaustive()
    }
}

impl<F, R> Executor for Function<F>
where
    F: Fn(ExecuteRequest, Output, Cancel) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    type Request = ExecuteRequest;

    fn check(&self, request: Request<ExecuteRequest>) -> Result<ExecuteRequest, Status> {
        let mut request = request.into_inner();
        if request.working_dir.is_empty() {
            let directory = self.work_dir.join(&request.id);
            fs::create_dir_all(&directory).map_err(|error| {
                Status::failed_precondition(format!("mkdir {}: {error}", directory.display()))
            })?;
            request.working_dir = directory.to_string_lossy().into_owned();
        } else {
            let roots: Vec<_> =
                [&self.work_dir].into_iter().chain(&self.workspace).map(PathBuf::as_path).collect();
            crate::working_dir(Path::new(&request.working_dir), &roots)?;
        }
        Ok(request)
    }

    async fn execute(&self, request: ExecuteRequest, output: Output, cancel: Cancel) -> Outcome {
        output.started();
        let overdue = {
            let cancel = cancel.clone();
            async move {
                let why = cancel.wait().await;
                tokio::time::sleep(ANSWER_TIME).await;
                why
            }
        };
        tokio::select! {
            biased;
            outcome = (self.execute)(request, output, cancel) => outcome,
            why = overdue => Outcome::ended(why),
        }
    }
}

#[cfg(test)]
#[path = "function_tests.rs"]
mod tests;

//! The Runtime Server for Python: each Run is a process of a warm interpreter, or a new one where only that will do.

mod choice;
mod config;
mod find;
mod interpreter;
mod program;

pub use config::Config;

use crate::outcome::outcome;
use crate::prepare::{DEFAULT_PATH, Places, Staged, Valid};
use crate::{Error, begin, process, until_dead};
use choice::{Choice, Kind, choose};
use interpreter::{Settings, State, Warm};
use kruntimes_confine::{Child, SpawnError, Zygote};
use kruntimes_daemon::Shutdown;
use kruntimes_runtime_server::{
    Cancel, ExecuteRequest, Executor, Outcome, Output, Request, Status,
};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// The interpreter along this path or in the usual directories; else what to do.
pub fn look(search_path: &str) -> Result<PathBuf, String> {
    find::find(None, &with_usual(OsStr::new(search_path))).map(|found| found.program)
}

fn with_usual(search_path: &OsStr) -> OsString {
    [search_path, OsStr::new(DEFAULT_PATH)].join(OsStr::new(":"))
}

/// Serves until the shutdown; ends every execution before it returns.
pub async fn serve(config: Config, zygote: Zygote, shutdown: Shutdown) -> Result<(), Error> {
    let python = Python::new(&config, zygote).map_err(Error::Start)?;
    let zygote = Arc::clone(&python.zygote);
    until_dead(&zygote, shutdown, |end| {
        kruntimes_runtime_server::serve(&config.server, python, end)
    })
    .await
}

/// Serves on a socket that listens already.
pub async fn serve_on(
    listener: TcpListener,
    config: Config,
    zygote: Zygote,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let python = Python::new(&config, zygote).map_err(Error::Start)?;
    let zygote = Arc::clone(&python.zygote);
    until_dead(&zygote, shutdown, |end| {
        kruntimes_runtime_server::serve_on(listener, &config.server, python, end)
    })
    .await
}

/// What every execution shares.
#[derive(Debug)]
struct Python {
    zygote: Arc<AsyncFd<Zygote>>,
    places: Places,
    settings: Arc<Settings>,
    interpreter: watch::Receiver<State>,
}

impl Python {
    fn new(config: &Config, zygote: Zygote) -> io::Result<Self> {
        let (zygote, places) = begin(&config.server, &config.confine, zygote)?;
        let settings = Arc::new(Settings {
            python: config.python.clone(),
            search_path: with_usual(&config.search_path),
            preload: config.preload.clone(),
            env: places.warm_environment().clone(),
        });
        let (state, interpreter) = watch::channel(State::Starting);
        tokio::spawn(interpreter::keep(Arc::clone(&zygote), Arc::clone(&settings), state));
        Ok(Self { zygote, places, settings, interpreter })
    }

    async fn run(&self, valid: Valid, output: Output, cancel: &Cancel) -> Result<Outcome, Outcome> {
        let staged = self.places.stage(valid)?;
        let choice = choose(choice::Request {
            handler: &staged.handler,
            script: staged.script.as_deref(),
            args: &staged.args,
            env: &staged.env,
            warm_env: &self.settings.env,
            working_dir: &staged.working_dir,
        });
        let Some(choice) = choice else {
            return Err(Outcome::failed(0, "no script or args provided"));
        };
        let started = tokio::select! {
            started = self.start(&staged, choice) => started?,
            why = cancel.wait() => return Err(Outcome::ended(why)),
        };
        let end = process::follow(&self.zygote, started, output, cancel).await?;
        Ok(outcome(end, "python3", &staged.working_dir.display().to_string(), &staged.allowance))
    }

    async fn start(&self, staged: &Staged, choice: Choice) -> Result<Child, Outcome> {
        let mut state = self.interpreter.clone();
        loop {
            let warm = interpreter::ready(&mut state)
                .await
                .map_err(|why| Outcome::failed(0, why.to_string()))?;
            match self.try_start(staged, &choice, &warm).await? {
                Ok(child) => return Ok(child),
                // This one has ended, so its keeper starts another.
                Err(SpawnError::Dead) if self.zygote.get_ref().is_alive() => {
                    drop(state.wait_for(|state| !is(state, &warm)).await);
                }
                Err(error) => return Err(Outcome::failed(0, error.to_string())),
            }
        }
    }

    async fn try_start(
        &self,
        staged: &Staged,
        choice: &Choice,
        warm: &Warm,
    ) -> Result<Result<Child, SpawnError>, Outcome> {
        Ok(match choice {
            Choice::New(args) => {
                let program = warm.program.to_string_lossy().into_owned();
                let args: Vec<_> = [program].into_iter().chain(args.iter().cloned()).collect();
                let command = staged.command(&warm.program, &args)?;
                process::hand_over(&self.zygote, |zygote| zygote.spawn(&command)).await
            }
            Choice::Warm(kind, args) => {
                let mut command = staged.command(&warm.program, args)?;
                command.program = word(*kind)?;
                let zygote = self.zygote.get_ref();
                process::hand_over(&warm.forks, |forks| forks.spawn(zygote, &command)).await
            }
        })
    }
}

fn is(state: &State, warm: &Arc<Warm>) -> bool {
    matches!(state, State::Ready(other) if Arc::ptr_eq(other, warm))
}

fn word(kind: Kind) -> Result<CString, Outcome> {
    crate::prepare::c_string(kind.word())
}

impl Executor for Python {
    type Request = Valid;

    fn check(&self, request: Request<ExecuteRequest>) -> Result<Valid, Status> {
        let valid = self.places.check(request)?;
        check_handler(&valid.handler)?;
        Ok(valid)
    }

    async fn execute(&self, valid: Valid, output: Output, cancel: Cancel) -> Outcome {
        self.run(valid, output, &cancel).await.unwrap_or_else(|outcome| outcome)
    }

    async fn clean_up(&self, id: &str) {
        process::remove_temporary(&self.places, id).await;
    }

    fn isolation(&self) -> Option<&str> {
        Some(self.places.isolation())
    }

    fn health(&self) -> Result<(), String> {
        process::health(&self.zygote)?;
        match &*self.interpreter.borrow() {
            State::Ready(_) => Ok(()),
            State::Starting => Err("Python starts".to_owned()),
            State::Broken(why) => Err(why.to_string()),
        }
    }
}

/// A handler is a module's name, a dot, and a function's.
fn check_handler(handler: &str) -> Result<(), Status> {
    let is_name = |part: &str| {
        let mut characters = part.chars();
        characters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
            && characters.all(|other| other.is_alphanumeric() || other == '_')
    };
    if handler.is_empty() || (handler.contains('.') && handler.split('.').all(is_name)) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "handler {handler:?} must be MODULE.FUNCTION, names with dots between them: for example jobs.main"
    )))
}

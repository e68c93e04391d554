//! The warm interpreter: found, started, kept.
//!
//! Invariant: there is at most one, and what it was told at its start is the same for all Runs. When it ends, what it has
//! started goes on, and another is started.

use super::find::{self, Found};
use super::program;
use crate::prepare::{c_string, path_string};
use kruntimes_confine::{Allowance, Command, ForkServer, Zygote};
use kruntimes_daemon::watched;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Between the end of an interpreter and the start of the next, doubled while none lives for the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How an interpreter is started.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Its name or path; nothing looks for the usual names.
    pub(crate) python: Option<OsString>,
    /// Where it is looked for.
    pub(crate) search_path: OsString,
    /// Modules to import.
    pub(crate) preload: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// How far the interpreter is.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Starting,
    Ready(Arc<Warm>),
    /// Another try comes.
    Broken(Arc<str>),
}

/// An interpreter that takes requests.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) forks: AsyncFd<ForkServer>,
    pub(crate) program: PathBuf,
}

/// Keeps an interpreter until nobody looks any more.
pub(crate) async fn keep(
    zygote: Arc<AsyncFd<Zygote>>,
    settings: Arc<Settings>,
    state: watch::Sender<State>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match start(&zygote, &settings).await {
            Ok(warm) => {
                let since = Instant::now();
                let warm = Arc::new(warm);
                state.send_replace(State::Ready(Arc::clone(&warm)));
                // It says nothing more: this is its end.
                while let Ok(Some(_)) = word(&warm.forks).await {}
                tracing::warn!("the Python interpreter ended; another is started");
                state.send_replace(State::Starting);
                if since.elapsed() >= LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(why) => {
                let told = matches!(&*state.borrow(), State::Broken(known) if **known == *why);
                if !told {
                    tracing::error!("{why}");
                    state.send_replace(State::Broken(why.into()));
                }
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = state.closed() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn start(zygote: &AsyncFd<Zygote>, settings: &Settings) -> Result<Warm, String> {
    let found = find::find(settings.python.as_deref(), &settings.search_path)?;
    let Found { program, others } = found;
    let shown = program.display().to_string();
    let command = command(settings, &program)?;
    let forks = ForkServer::start(zygote.get_ref(), &command)
        .map_err(|error| format!("{shown} can't be started: {error}"))?;
    let forks = watched(forks, Interest::READABLE | Interest::WRITABLE)
        .map_err(|error| format!("{shown} can't be watched: {error}"))?;
    let said = word(&forks).await.map_err(|error| format!("{shown} can't be read: {error}"))?;
    let Some(said) = said else {
        return Err(format!("{shown} ended before it was ready: its own words are in this log"));
    };
    let mut lines = said.splitn(4, '\n');
    let (state, version, executable) = (lines.next(), lines.next(), lines.next());
    let version = version.unwrap_or_default();
    if state != Some("ready") {
        let why = lines.next().unwrap_or_default();
        return Err(format!("{shown} (Python {version}) could not be made ready: {why}"));
    }
    let executable = executable.filter(|path| !path.is_empty()).map(PathBuf::from);
    tracing::info!(python = %shown, version, preloaded = ?settings.preload, ?others, "Python is ready");
    Ok(Warm { forks, program: executable.unwrap_or(program) })
}

fn command(settings: &Settings, program: &std::path::Path) -> Result<Command, String> {
    let bad = |_| "a NUL character in the settings".to_owned();
    let args = [program.display().to_string(), "-c".to_owned(), program::warm()];
    let args = args.iter().chain(&settings.preload);
    let env = settings.env.iter().map(|(name, value)| c_string(format!("{name}={value}")));
    Ok(Command {
        program: path_string(program).map_err(bad)?,
        working_dir: c"/".to_owned(),
        env: env.collect::<Result<_, _>>().map_err(bad)?,
        args: args.map(|arg| c_string(arg.as_str())).collect::<Result<_, _>>().map_err(bad)?,
        confinement: None,
        allowance: Allowance::default(),
    })
}

/// What it says next; `None` at its end.
async fn word(forks: &AsyncFd<ForkServer>) -> io::Result<Option<String>> {
    loop {
        let mut guard = forks.readable().await?;
        if let Ok(said) = guard.try_io(|forks| forks.get_ref().receive()) {
            return said;
        }
    }
}

/// The interpreter as soon as there is one; else why there is none.
pub(crate) async fn ready(state: &mut watch::Receiver<State>) -> Result<Arc<Warm>, Arc<str>> {
    loop {
        match state.borrow_and_update().clone() {
            State::Ready(warm) => return Ok(warm),
            State::Broken(why) => return Err(why),
            State::Starting => {}
        }
        if state.changed().await.is_err() {
            // Its keeper ends with the server only.
            future::pending::<()>().await;
        }
    }
}

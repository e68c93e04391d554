//! bash as an executor: requests become commands of the zygote.

use crate::command::{self, Choice, Missing};
use crate::outcome::{NOT_EXECUTABLE, NOT_FOUND, outcome};
use crate::prepare::{DEFAULT_PATH, Places, Staged, Valid};
use crate::process;
use kruntimes_confine::{Command, Zygote};
use kruntimes_runtime_server::{
    Cancel, ExecuteRequest, Executor, Outcome, Output, Request, Status, describe,
};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::unix::AsyncFd;

/// The kernel takes no argument longer than this; longer code goes through a file.
const ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// What every execution shares.
#[derive(Debug)]
pub(crate) struct Bash {
    pub(crate) zygote: Arc<AsyncFd<Zygote>>,
    places: Places,
    program: PathBuf,
}

/// A command and what messages call it.
struct Prepared {
    command: Command,
    name: String,
}

impl Bash {
    pub(crate) fn new(
        zygote: Arc<AsyncFd<Zygote>>,
        places: Places,
        search_path: &OsStr,
    ) -> io::Result<Self> {
        let program = command::find("bash", OsStr::new(DEFAULT_PATH), Path::new("/"))
            .or_else(|_| command::find("bash", search_path, Path::new("/")))
            .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "there is no bash"))?;
        Ok(Self { zygote, places, program })
    }

    async fn run(&self, valid: Valid, output: Output, cancel: &Cancel) -> Result<Outcome, Outcome> {
        let staged = self.places.stage(valid)?;
        let Prepared { command, name } = self.prepare(&staged)?;
        let child = process::hand_over(&self.zygote, |zygote| zygote.spawn(&command))
            .await
            .map_err(|error| Outcome::failed(0, error.to_string()))?;
        let end = process::follow(&self.zygote, child, output, cancel).await?;
        Ok(outcome(end, &name, &staged.working_dir.display().to_string(), &staged.allowance))
    }

    fn prepare(&self, staged: &Staged) -> Result<Prepared, Outcome> {
        let Some(choice) = command::choose(staged.script.as_deref(), &staged.args) else {
            return Err(Outcome::failed(0, "no args or script provided"));
        };
        let (program, args) = match choice {
            Choice::Bash(args) => {
                let args = shorten(args, &staged.temporary)?;
                (self.program.clone(), ["bash".to_owned()].into_iter().chain(args).collect())
            }
            Choice::Direct(args) => {
                let path = staged.env.get("PATH").map_or("", String::as_str);
                (find(&args[0], path, &staged.working_dir)?, args)
            }
        };
        let command = staged.command(&program, &args)?;
        Ok(Prepared { command, name: args.into_iter().next().unwrap_or_default() })
    }
}

impl Executor for Bash {
    type Request = Valid;

    fn check(&self, request: Request<ExecuteRequest>) -> Result<Valid, Status> {
        let valid = self.places.check(request)?;
        if !valid.handler.is_empty() {
            return Err(Status::invalid_argument(format!(
                "handler {:?}: bash calls no functions: leave it out and name a script as the entrypoint, or \
                 use a Runtime of Python",
                valid.handler
            )));
        }
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
        process::health(&self.zygote)
    }
}

fn find(name: &str, path: &str, working_dir: &Path) -> Result<PathBuf, Outcome> {
    command::find(name, OsStr::from_bytes(path.as_bytes()), working_dir).map_err(|missing| {
        match missing {
            Missing::NotFound => Outcome::failed(NOT_FOUND, format!("exec: {name:?}: not found")),
            Missing::NotExecutable => {
                Outcome::failed(NOT_EXECUTABLE, format!("exec: {name:?}: permission denied"))
            }
        }
    })
}

/// Code that is too long for an argument becomes a script.
fn shorten(args: Vec<String>, temporary: &Path) -> Result<Vec<String>, Outcome> {
    match args.as_slice() {
        [flag, code] if flag == "-c" && code.len() > ARGUMENT_BYTES => {
            let script = temporary.join("script");
            std::fs::write(&script, code).map_err(|error| {
                Outcome::failed(0, format!("write script: {}", describe(&error)))
            })?;
            Ok(vec![script.to_string_lossy().into_owned()])
        }
        _ => Ok(args),
    }
}

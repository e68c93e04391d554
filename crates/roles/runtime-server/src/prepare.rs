//! From an Execute request to a command for the zygote: checks, directories, environment.
//!
//! Nothing of the server's own environment reaches the command.

use crate::command::{self, Choice, Missing};
use crate::outcome::{NOT_EXECUTABLE, NOT_FOUND};
use kruntimes_confine::Command;
use kruntimes_daemon::remove_tree;
use kruntimes_runtime_server::{ExecuteRequest, Outcome, Status, describe};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// Where commands are found unless the Run says otherwise.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The entrypoint of a request that names none.
const DEFAULT_ENTRYPOINT: &str = "script";
/// What the public API calls the workspace, wherever it really is.
const WORKSPACE: &str = "/workspace";
/// The kernel takes no argument longer than this; longer code goes through a file.
const ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// The directories of this server.
#[derive(Debug)]
pub(crate) struct Places {
    work_dir: PathBuf,
    workspace: Option<PathBuf>,
    bash: PathBuf,
}

/// A request that passed the checks.
#[derive(Debug)]
pub(crate) struct Valid {
    pub(crate) id: String,
    pub(crate) working_dir: PathBuf,
    entrypoint: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
}

/// A command and what messages call it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) command: Command,
    pub(crate) name: String,
}

impl Places {
    pub(crate) fn new(
        work_dir: &Path,
        workspace: Option<PathBuf>,
        search_path: &OsStr,
    ) -> io::Result<Self> {
        let bash = command::find("bash", OsStr::new(DEFAULT_PATH), Path::new("/"))
            .or_else(|_| command::find("bash", search_path, Path::new("/")))
            .map_err(|_| io::Error::new(io::ErrorKind::NotFound, "there is no bash"))?;
        let mut places = Self { work_dir: PathBuf::new(), workspace, bash };
        places.work_dir = places.real(work_dir);
        Ok(places)
    }

    /// Removes the temporary files that executions of a former life left.
    pub(crate) fn clear(&self) {
        if let Err(error) = remove_tree(&self.temporary_root()) {
            tracing::warn!(%error, "old temporary files stay");
        }
    }

    /// Checks what can be wrong in a request with an id that names a directory.
    pub(crate) fn check(&self, request: ExecuteRequest) -> Result<Valid, Status> {
        let entrypoint =
            if request.entrypoint.is_empty() { DEFAULT_ENTRYPOINT } else { &request.entrypoint };
        if !is_plain(Path::new(entrypoint)) {
            return Err(invalid(format!(
                "entrypoint {entrypoint:?} must be a relative path without .."
            )));
        }
        let working_dir = if request.working_dir.is_empty() {
            self.work_dir.join(&request.id)
        } else {
            self.real(Path::new(&request.working_dir))
        };
        let no_parent = !working_dir.components().any(|part| part == Component::ParentDir);
        if !working_dir.is_absolute() || !no_parent {
            return Err(invalid(format!(
                "working_dir {working_dir:?} must be absolute, without .."
            )));
        }
        Ok(Valid {
            entrypoint: PathBuf::from(entrypoint),
            id: request.id,
            working_dir,
            args: request.args,
            env: request.env.into_iter().collect(),
        })
    }

    /// Makes the directories and the command; an error is the outcome of an execution that never started.
    pub(crate) fn prepare(&self, valid: Valid) -> Result<Prepared, Outcome> {
        let temporary = self.make_directories(&valid)?;
        let script = valid.working_dir.join(&valid.entrypoint);
        let script = script.is_file().then_some(script);
        let Some(choice) = command::choose(script.as_deref(), &valid.args) else {
            return Err(Outcome::failed(0, "no args or script provided"));
        };
        let env = environment(&valid.working_dir, &temporary, valid.env);
        let (program, args) = match choice {
            Choice::Bash(args) => {
                let args = shorten(args, &temporary)?;
                (self.bash.clone(), ["bash".to_owned()].into_iter().chain(args).collect())
            }
            Choice::Direct(args) => {
                let path = env.get("PATH").map_or("", String::as_str);
                (find(&args[0], path, &valid.working_dir)?, args)
            }
        };
        let env = env.into_iter().map(|(name, value)| c_string(format!("{name}={value}")));
        Ok(Prepared {
            command: Command {
                program: c_string(program.into_os_string().into_encoded_bytes())?,
                working_dir: c_string(valid.working_dir.into_os_string().into_encoded_bytes())?,
                env: env.collect::<Result<_, _>>()?,
                args: args.iter().map(|arg| c_string(arg.as_str())).collect::<Result<_, _>>()?,
                confinement: None,
            },
            name: args.into_iter().next().unwrap_or_default(),
        })
    }

    /// Directory of an execution's temporary files: its own, outside its working directory.
    pub(crate) fn temporary(&self, id: &str) -> PathBuf {
        self.temporary_root().join(id)
    }

    fn temporary_root(&self) -> PathBuf {
        self.work_dir.join(".tmp")
    }

    fn make_directories(&self, valid: &Valid) -> Result<PathBuf, Outcome> {
        let failed = |path: &Path, error: &io::Error| {
            Outcome::failed(0, format!("mkdir: {}: {}", path.display(), describe(error)))
        };
        if valid.working_dir == self.work_dir.join(&valid.id) {
            fs::create_dir_all(&valid.working_dir)
                .map_err(|error| failed(&valid.working_dir, &error))?;
        }
        let temporary = self.temporary(&valid.id);
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&temporary).map_err(|error| failed(&temporary, &error))?;
        Ok(temporary)
    }

    fn real(&self, path: &Path) -> PathBuf {
        match &self.workspace {
            Some(workspace) if !path.starts_with(workspace) => match path.strip_prefix(WORKSPACE) {
                Ok(rest) if rest.as_os_str().is_empty() => workspace.clone(),
                Ok(rest) => workspace.join(rest),
                Err(_) => path.to_owned(),
            },
            Some(_) | None => path.to_owned(),
        }
    }
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
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

/// What every command gets, and the Run's own on top.
fn environment(
    working_dir: &Path,
    temporary: &Path,
    own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut env = BTreeMap::from([
        ("HOME".to_owned(), text(working_dir)),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("TMPDIR".to_owned(), text(temporary)),
    ]);
    env.extend(own);
    env
}

/// Code that is too long for an argument becomes a script.
fn shorten(args: Vec<String>, temporary: &Path) -> Result<Vec<String>, Outcome> {
    match args.as_slice() {
        [flag, code] if flag == "-c" && code.len() > ARGUMENT_BYTES => {
            let script = temporary.join("script");
            fs::write(&script, code).map_err(|error| {
                Outcome::failed(0, format!("write script: {}", describe(&error)))
            })?;
            Ok(vec![script.to_string_lossy().into_owned()])
        }
        _ => Ok(args),
    }
}

fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString, Outcome> {
    CString::new(bytes).map_err(|_| Outcome::failed(0, "a NUL character in the command"))
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;

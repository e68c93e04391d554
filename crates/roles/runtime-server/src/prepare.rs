//! From an Execute request to what a command needs: checks, directories, the script, the environment.
//!
//! Of the server's own environment the command gets what [`crate::inherited()`] leaves.

use crate::confine::{Confine, Own, Settings};
use kruntimes_confine::{Allowance, Command, Confinement, Zygote};
use kruntimes_daemon::{Layout, Spares, remove_tree};
use kruntimes_proto::{BOUNDS_METADATA, Bounds};
use kruntimes_runtime_server::{ExecuteRequest, Outcome, Request, Status, describe};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Where commands are found unless the Run says otherwise.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The entrypoint of a request that names none.
const DEFAULT_ENTRYPOINT: &str = "script";
/// What the public API calls the workspace, wherever it really is.
const WORKSPACE: &str = "/workspace";

/// The directories of this server.
#[derive(Debug)]
pub(crate) struct Places {
    work_dir: PathBuf,
    workspace: Option<PathBuf>,
    confine: Confine,
    /// What every command gets that is the same for all.
    warm: BTreeMap<String, String>,
    spares: Spares,
}

/// Temporary files are nobody else's.
const TEMPORARY: Layout = Layout { mode: 0o700, inner: &[] };

/// A request that passed the checks.
#[derive(Debug)]
pub(crate) struct Valid {
    pub(crate) id: String,
    pub(crate) working_dir: PathBuf,
    pub(crate) handler: String,
    entrypoint: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    bounds: Bounds,
}

/// A request whose directories are there.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The file that the entrypoint names, where there is one.
    pub(crate) script: Option<PathBuf>,
    pub(crate) args: Vec<String>,
    pub(crate) handler: String,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: PathBuf,
    /// For files of its own.
    pub(crate) temporary: PathBuf,
    confinement: Option<Arc<Confinement>>,
    pub(crate) allowance: Allowance,
}

impl Places {
    pub(crate) fn new(work_dir: &Path, workspace: Option<PathBuf>) -> Self {
        let warm = BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ]);
        let confine = Confine::none();
        let spares = Spares::new(Path::new(""), TEMPORARY);
        let mut places = Self { work_dir: PathBuf::new(), workspace, confine, warm, spares };
        places.work_dir = places.real(work_dir);
        places.spares = Spares::new(&places.temporary_root(), TEMPORARY);
        places
    }

    /// Has every command confined, if these settings say so; `control` is where the pod's token is.
    pub(crate) fn confined(
        self,
        settings: &Settings,
        control: &Path,
        zygote: &Zygote,
    ) -> io::Result<Self> {
        let hidden: Vec<_> = self.workspace.as_deref().into_iter().chain([control]).collect();
        let confine = Confine::new(settings, &self.work_dir, &hidden, zygote)?;
        let mut warm = self.warm;
        warm.extend(settings.environment.clone());
        Ok(Self { confine, warm, ..self })
    }

    /// What every command gets that is the same for all.
    pub(crate) fn warm_environment(&self) -> &BTreeMap<String, String> {
        &self.warm
    }

    /// How Runs are kept apart.
    pub(crate) fn isolation(&self) -> &str {
        self.confine.isolation()
    }

    /// Removes the temporary files that executions of a former life left.
    pub(crate) fn clear(&self) {
        if let Err(error) = remove_tree(&self.temporary_root()) {
            tracing::warn!(%error, "old temporary files stay");
        }
    }

    /// What every command gets, and the Run's own on top.
    fn environment(
        &self,
        working_dir: &Path,
        temporary: &Path,
        own: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = self.warm.clone();
        env.insert("HOME".to_owned(), text(working_dir));
        env.insert("TMPDIR".to_owned(), text(temporary));
        env.extend(own);
        env
    }

    /// Checks what can be wrong in a request with an id that names a directory.
    pub(crate) fn check(&self, request: Request<ExecuteRequest>) -> Result<Valid, Status> {
        let bounds = bounds(&request)?;
        let request = request.into_inner();
        let entrypoint = self.entrypoint(&request)?;
        let working_dir = if request.working_dir.is_empty() {
            self.work_dir.join(&request.id)
        } else {
            let working_dir = self.real(Path::new(&request.working_dir));
            let roots: Vec<_> =
                [&self.work_dir].into_iter().chain(&self.workspace).map(PathBuf::as_path).collect();
            kruntimes_runtime_server::working_dir(&working_dir, &roots)?;
            working_dir
        };
        Ok(Valid {
            entrypoint,
            id: request.id,
            working_dir,
            handler: request.handler,
            args: request.args,
            env: request.env.into_iter().collect(),
            bounds,
        })
    }

    /// A path below the working directory. The script of a Run that works elsewhere is in its own workspace.
    fn entrypoint(&self, request: &ExecuteRequest) -> Result<String, Status> {
        let named = Path::new(&request.entrypoint);
        let place = self.real(named);
        let in_own = place.strip_prefix(self.work_dir.join(&request.id)).is_ok_and(is_plain);
        if request.entrypoint.is_empty() || is_plain(named) {
            return Ok(request.entrypoint.clone());
        }
        match place.to_str().filter(|_| in_own) {
            Some(place) => Ok(place.to_owned()),
            None => Err(invalid(format!(
                "entrypoint {:?} must be a relative path without .., or a file in the workspace of the execution itself",
                request.entrypoint
            ))),
        }
    }

    /// Makes the directories; an error is the outcome of an execution that never started.
    pub(crate) fn stage(&self, valid: Valid) -> Result<Staged, Outcome> {
        let temporary = self.make_directories(&valid)?;
        let script = script(&valid, &self.work_dir.join(&valid.id))?;
        let own = Own { id: &valid.id, working_dir: &valid.working_dir, temporary: &temporary };
        let confinement = self.confine.confinement(&own, valid.bounds)?;
        let allowance = self.confine.allowance(&own, valid.bounds)?;
        let env = self.environment(&valid.working_dir, &temporary, valid.env);
        Ok(Staged {
            script,
            args: valid.args,
            handler: valid.handler,
            env,
            working_dir: valid.working_dir,
            temporary,
            confinement,
            allowance,
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
        self.make_temporary(&valid.id).map_err(|error| failed(&temporary, &error))?;
        Ok(temporary)
    }

    /// A private directory. What an execution before has left there could lead elsewhere.
    fn make_temporary(&self, id: &str) -> io::Result<()> {
        let made = match self.spares.take(id).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut private = fs::DirBuilder::new();
                private.mode(0o700).recursive(true).create(self.temporary_root())?;
                self.spares.take(id)?
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_tree(&self.temporary(id))?;
                self.spares.take(id)?
            }
            other => other?,
        };
        // Elsewhere one may still hold what was its own, or change modes of what is another one's.
        if kruntimes_proto::has_namespaces(self.confine.isolation()) {
            self.spares.seal(id, &made);
        }
        Ok(())
    }

    /// Puts the temporary files of an execution that left none aside, for another one. False: they are to be removed.
    pub(crate) fn put_aside(&self, id: &str) -> bool {
        self.spares.give_back(id, None)
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

impl Staged {
    /// The process that executes `program` with these arguments, its own name first.
    pub(crate) fn command(&self, program: &Path, args: &[String]) -> Result<Command, Outcome> {
        let env = self.env.iter().map(|(name, value)| c_string(format!("{name}={value}")));
        Ok(Command {
            program: path_string(program)?,
            working_dir: path_string(&self.working_dir)?,
            env: env.collect::<Result<_, _>>()?,
            args: args.iter().map(|arg| c_string(arg.as_str())).collect::<Result<_, _>>()?,
            confinement: self.confinement.clone(),
            allowance: self.allowance.clone(),
        })
    }
}

fn bounds(request: &Request<ExecuteRequest>) -> Result<Bounds, Status> {
    let Some(text) = request.metadata().get(BOUNDS_METADATA) else { return Ok(Bounds::default()) };
    let text = text.to_str().map_err(|_| invalid(format!("{BOUNDS_METADATA} is no text")))?;
    text.parse().map_err(|error| invalid(format!("{BOUNDS_METADATA}: {error}")))
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

/// The file that is executed, if there is one. What is there and can't be one is said, unless nobody asked for it: to open
/// a pipe would wait for ever, and a link out of the working directory is none of the Run's files.
fn script(valid: &Valid, own: &Path) -> Result<Option<PathBuf>, Outcome> {
    let named = Some(&valid.entrypoint).filter(|name| !name.is_empty());
    let path = valid.working_dir.join(named.map_or(DEFAULT_ENTRYPOINT, String::as_str));
    let refuse = |what: &str| match named {
        Some(name) => Err(Outcome::failed(0, format!("entrypoint {name:?} {what}"))),
        None => Ok(None),
    };
    match fs::metadata(&path) {
        Ok(file) if file.is_file() => {
            let real = |path: &Path| fs::canonicalize(path).unwrap_or_default();
            let place = real(&path);
            let is_below =
                |root: &Path| fs::canonicalize(root).is_ok_and(|root| place.starts_with(root));
            if is_below(&valid.working_dir) || is_below(own) {
                Ok(Some(path))
            } else {
                refuse(
                    "is a symbolic link out of the working directory: only files in it are executed",
                )
            }
        }
        Ok(file) if file.is_dir() => refuse("is a directory: name a file in it"),
        Ok(_) => refuse("is no regular file: only those are executed"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if valid.args.is_empty() && fs::symlink_metadata(&path).is_ok() {
                return refuse("is a symbolic link to nothing");
            }
            if valid.args.is_empty() && valid.handler.is_empty() {
                return refuse("is not in the working directory, and there are no args");
            }
            Ok(None)
        }
        Err(error) => refuse(&format!("can't be looked at: {}", describe(&error))),
    }
}

pub(crate) fn path_string(path: &Path) -> Result<CString, Outcome> {
    c_string(path.as_os_str().as_encoded_bytes())
}

pub(crate) fn c_string(bytes: impl Into<Vec<u8>>) -> Result<CString, Outcome> {
    CString::new(bytes).map_err(|_| Outcome::failed(0, "a NUL character in the command"))
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;

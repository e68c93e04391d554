//! Which confinement each Run gets: decided here from the server's settings and the Run's own places.

use crate::prepare::path_string;
use kruntimes_confine::{
    Allowance, Confinement, Files, Hidden, Mounts, Namespaces, Network, Scene, Zygote,
};
use kruntimes_proto::Bounds;
use kruntimes_runtime_server::{Outcome, describe};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Processes of a Run whose limit nobody has set: no work needs so many, and a fork bomb ends before others suffer.
const PROCESSES: u64 = 512;
/// What files in a Run's `/dev/shm` may take if it has no limit of memory: as with container engines.
const SHARED_MEMORY_BYTES: u64 = 64 << 20;
/// Room for its directory; 0 would be no limit.
const LEAST_SHARED_MEMORY_BYTES: u64 = 64 << 10;

/// How Runs are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// Each Run's processes may use what is its own and nothing of others
    Process,
    /// They are not: only Runs that trust each other may share a pod
    None,
}

/// Whether Runs get namespaces of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum UseOfNamespaces {
    /// Each Run its own, if the machine lets this server make them
    Auto,
    /// None: Runs share the machine's mounts, process ids and IPC
    Off,
}

/// Settings of the confinement.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// How the Runs of this server are kept apart from each other and from the server
    #[arg(long, env = "KRUNTIMES_ISOLATION", value_enum, default_value = "process")]
    pub isolation: Isolation,
    /// Whether each Run has namespaces of its own (processes, mounts, IPC), where the machine lets this server make them
    #[arg(long, env = "KRUNTIMES_NAMESPACES", value_enum, default_value = "auto")]
    pub namespaces: UseOfNamespaces,
    /// Directory of the local home that this pod belongs to: no Run may enter it
    #[arg(long, env = "KRUNTIMES_HOME", hide = true)]
    pub home: Option<PathBuf>,
    /// What Runs get of the container's environment, as [`crate::inherited()`] says
    #[arg(skip)]
    pub environment: BTreeMap<String, String>,
}

/// What the Runs of this server are confined by.
#[derive(Debug)]
pub(crate) struct Confine {
    isolation: Isolation,
    /// As the pod's runtimed is told it.
    said: String,
    work_dir: PathBuf,
    files: Option<Files>,
    /// Where Runs have namespaces of their own.
    scene: Option<Scene>,
}

impl Confine {
    /// Nothing but what a Run asks for itself.
    pub(crate) fn none() -> Self {
        let (isolation, said) = (Isolation::None, "none".to_owned());
        Self { isolation, said, work_dir: PathBuf::new(), files: None, scene: None }
    }

    /// What these settings say. `hidden` are this server's own places, beside its workspaces in `work_dir`. Nothing was
    /// started by the zygote yet.
    pub(crate) fn new(
        settings: &Settings,
        work_dir: &Path,
        hidden: &[&Path],
        zygote: &Zygote,
    ) -> io::Result<Self> {
        if settings.isolation == Isolation::None {
            return Ok(Self::none());
        }
        let mounts = if settings.home.is_some() { Mounts::Machine } else { Mounts::Volumes };
        // What is not there can't be covered; without it every Run would say so.
        let _ = fs::create_dir_all(work_dir);
        let hidden = hidden.iter().map(|path| path.to_path_buf()).chain(settings.home.clone());
        let hidden = Hidden::new(&hidden.chain([work_dir.to_owned()]).collect::<Vec<_>>())?;
        let files = Files::new(&hidden, mounts)?;
        let volumes = files.as_ref().map_or(&[][..], Files::volumes);
        let scene = match settings.namespaces {
            UseOfNamespaces::Off => None,
            UseOfNamespaces::Auto => Scene::new(&hidden, volumes).or_else(|| {
                warn_of(hidden.uncoverable());
                None
            }),
        };
        let namespaces = match &scene {
            None => None,
            Some(scene) => {
                let own = real(work_dir);
                let writable = CString::new(own.as_os_str().as_encoded_bytes())?;
                zygote.isolate(&scene.covers(&[&own]), &[writable]).map_err(io::Error::other)?
            }
        };
        let said = said(&kruntimes_confine::lacks(), namespaces);
        let (isolation, work_dir) = (settings.isolation, work_dir.to_owned());
        Ok(Self { isolation, said, work_dir, files, scene: scene.filter(|_| namespaces.is_some()) })
    }

    /// How Runs are kept apart.
    pub(crate) fn isolation(&self) -> &str {
        &self.said
    }

    /// For a Run with these places; an error is its outcome.
    pub(crate) fn confinement(
        &self,
        own: &Own<'_>,
        bounds: Bounds,
    ) -> Result<Option<Arc<Confinement>>, Outcome> {
        let network = match bounds.network {
            kruntimes_proto::Network::Full if self.isolation == Isolation::None => return Ok(None),
            kruntimes_proto::Network::Full => Network::Full,
            kruntimes_proto::Network::None => Network::None,
        };
        let places = self.own(own);
        let files = self.rules(&places, network).map_err(|error| {
            Outcome::failed(0, format!("the Run can't be confined: {}", describe(&error)))
        })?;
        let view = self.scene.as_ref().map(|scene| {
            let places: Vec<PathBuf> =
                self.workspaces(own).iter().map(|place| real(place)).collect();
            let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
            let memory = bounds.memory.unwrap_or(SHARED_MEMORY_BYTES);
            scene.view(&places, &real(own.temporary), memory.max(LEAST_SHARED_MEMORY_BYTES))
        });
        Ok(Some(Arc::new(Confinement { files, network, view })))
    }

    fn rules(&self, places: &[PathBuf], network: Network) -> io::Result<Option<OwnedFd>> {
        let Some(files) = &self.files else { return Ok(None) };
        let places: Vec<_> = places.iter().map(PathBuf::as_path).collect();
        let rules = files.ruleset(&places, network)?;
        if self.scene.is_some() {
            files.grant_lists(&rules)?;
        }
        Ok(Some(rules))
    }

    /// What a Run may use; where Runs are kept apart there is a limit of processes even if nobody has set one.
    pub(crate) fn allowance(&self, own: &Own<'_>, bounds: Bounds) -> Result<Allowance, Outcome> {
        let Bounds { memory, processes, disk, .. } = bounds;
        let default = (self.isolation == Isolation::Process).then_some(PROCESSES);
        let places = match disk {
            None => Vec::new(),
            Some(_) => {
                self.own(own).iter().map(|path| path_string(path)).collect::<Result<_, _>>()?
            }
        };
        Ok(Allowance { memory, processes: processes.or(default), disk, places })
    }

    /// A Run's places.
    fn own(&self, own: &Own<'_>) -> Vec<PathBuf> {
        let mut places = self.workspaces(own);
        places.push(own.temporary.to_owned());
        places
    }

    /// That of its working directory, and its own where it works in one that Runs share.
    fn workspaces(&self, own: &Own<'_>) -> Vec<PathBuf> {
        let mut places = vec![workspace(&self.work_dir, own.working_dir)];
        let of_id = self.work_dir.join(own.id);
        if places[0] != of_id && of_id.is_dir() {
            places.push(of_id);
        }
        places
    }
}

/// What a Run may write to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) id: &'a str,
    pub(crate) working_dir: &'a Path,
    /// For temporary files.
    pub(crate) temporary: &'a Path,
}

fn warn_of(uncoverable: &[PathBuf]) {
    for path in uncoverable {
        tracing::warn!(
            path = %path.display(),
            "no Run may enter it, but it is no directory that could be covered: Runs get no namespaces; make the directory and start \
             the server again"
        );
    }
}

/// How Runs are kept apart, for the pod's runtimed.
fn said(lacks: &[&str], namespaces: Option<Namespaces>) -> String {
    let namespaces = match namespaces {
        // Landlock has no word for them; a view of the machine that nobody may change does.
        None => ", but nothing for modes, owners and times of files",
        Some(Namespaces { network: false }) => ", namespaces (pid, mount, ipc)",
        Some(Namespaces { network: true }) => ", namespaces (pid, mount, ipc, network)",
    };
    if lacks.is_empty() {
        let landlock = kruntimes_confine::landlock_abi().unwrap_or(0);
        format!("full: Landlock {landlock}, seccomp{namespaces}")
    } else {
        format!("degraded: {}; there are seccomp{namespaces}", lacks.join(", "))
    }
}

/// Without links; one that is not there stays as it is.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// A Run's whole workspace, which also holds what lies beside its working directory.
fn workspace(work_dir: &Path, working_dir: &Path) -> PathBuf {
    let below = working_dir.strip_prefix(work_dir).ok();
    match below.and_then(|below| below.components().next()) {
        Some(Component::Normal(first)) if !first.as_encoded_bytes().starts_with(b".") => {
            work_dir.join(first)
        }
        Some(_) | None => working_dir.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_with_namespaces_is_nothing_of_an_execution_left() {
        let namespaces = Some(Namespaces { network: false });
        assert!(kruntimes_proto::has_namespaces(&said(&[], namespaces)));
        assert!(!kruntimes_proto::has_namespaces(&said(&[], None)));
        assert!(!kruntimes_proto::has_namespaces(&said(&["scopes"], namespaces)));
        assert!(!kruntimes_proto::has_namespaces("none"));
    }

    #[test]
    fn a_workspace_is_what_runtimed_made_for_the_run() {
        for (working_dir, want) in [
            ("/workspace/u/work", "/workspace/u"),
            ("/workspace/u/repo/a", "/workspace/u"),
            ("/workspace/u", "/workspace/u"),
            ("/workspace/.tmp/u", "/workspace/.tmp/u"),
            ("/workspace", "/workspace"),
            ("/srv/elsewhere", "/srv/elsewhere"),
            ("/workspaces/u/work", "/workspaces/u/work"),
        ] {
            let found = workspace(Path::new("/workspace"), Path::new(working_dir));
            assert_eq!(found, Path::new(want), "{working_dir}");
        }
    }
}

//! What a Run sees of the machine's directories in its own namespace of mounts, as steps for whoever makes it.
//!
//! Nothing of the machine's may be changed, modes and times included. `/tmp` and `/var/tmp` are the Run's own directory for
//! temporary files, and `/dev/shm` its own memory. A hidden place that holds something of the Run's is covered, and what is the
//! Run's lies there again. So no path changes.

use crate::Hidden;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where temporary files are kept in common.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp"];
const SHARED_MEMORY: &str = "/dev/shm";

/// Sources that are no path.
pub(crate) const MAKE: &[u8] = b"make";
pub(crate) const COVER: &[u8] = b"cover";
pub(crate) const MEMORY: &[u8] = b"memory";
pub(crate) const WRITABLE: &[u8] = b"writable";

/// The directories that each Run of a server has for itself, and those that none may see.
#[derive(Debug)]
pub struct Scene {
    temporary: Vec<PathBuf>,
    memory: Option<PathBuf>,
    /// None lies in another.
    hidden: BTreeSet<PathBuf>,
    volumes: Vec<PathBuf>,
}

/// What one Run sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// A source and where it is put, in this order: [`MAKE`] makes a directory, [`COVER`] and [`MEMORY`] are new, and
    /// [`WRITABLE`] is what is mounted there already.
    pub(crate) steps: Vec<(CString, CString)>,
    /// Bytes that files in its own memory may have.
    pub(crate) memory_bytes: u64,
}

impl Scene {
    /// Of this machine; nothing where something hidden can't be covered. Volumes are what every Run may use wherever it is
    /// mounted.
    #[must_use]
    pub fn new(hidden: &Hidden, volumes: &[PathBuf]) -> Option<Self> {
        let real = |path: &Path| fs::canonicalize(path).ok().filter(|path| path.is_dir());
        let temporary = TEMPORARY.iter().filter_map(|path| real(Path::new(path)));
        let memory = real(Path::new(SHARED_MEMORY));
        // Where this user gets nowhere by a path, none of his Runs does.
        let seen = hidden.places().iter().filter(|path| path.is_dir()).cloned().collect();
        let scene = Self::of(temporary.collect(), memory, &seen, volumes.to_vec());
        hidden.uncoverable().is_empty().then_some(scene)
    }

    fn of(
        mut temporary: Vec<PathBuf>,
        memory: Option<PathBuf>,
        hidden: &BTreeSet<PathBuf>,
        volumes: Vec<PathBuf>,
    ) -> Self {
        // A volume there is the owner's wish.
        temporary.retain(|path| !volumes.contains(path));
        temporary.dedup();
        let memory = memory.filter(|path| !volumes.contains(path));
        let inner =
            |path: &PathBuf| hidden.iter().any(|other| path != other && path.starts_with(other));
        let outermost = hidden.iter().filter(|path| !inner(path)).cloned().collect();
        Self { temporary, memory, hidden: outermost, volumes }
    }

    /// The hidden places but for those that hold `places`, which each Run's view covers.
    #[must_use]
    pub fn covers(&self, places: &[&Path]) -> Vec<CString> {
        let holds = |hidden: &Path| places.iter().any(|place| place.starts_with(hidden));
        self.hidden.iter().filter(|path| !holds(path)).filter_map(|path| string(path)).collect()
    }

    /// What a Run sees whose directories are these: real paths, the last being that for temporary files.
    #[must_use]
    pub fn view(&self, own: &[&Path], temporary: &Path, memory_bytes: u64) -> View {
        let mut steps = Steps::default();
        for path in &self.temporary {
            steps.mount(temporary.as_os_str().as_bytes(), path);
        }
        let own: Vec<_> = own.iter().copied().chain([temporary]).collect();
        let holds = |hidden: &Path| own.iter().any(|place| place.starts_with(hidden));
        let covered: Vec<_> = self.hidden.iter().filter(|path| holds(path)).collect();
        for path in &self.volumes {
            if !self.again(&mut steps, path, &covered) {
                steps.mount(WRITABLE, path);
            }
        }
        for path in &covered {
            if let Some(base) = self.temporary_above(path) {
                steps.make(base, path);
            }
            steps.mount(COVER, path);
        }
        for path in own {
            if !self.again(&mut steps, path, &covered) {
                steps.mount(path.as_os_str().as_bytes(), path);
            }
        }
        if let Some(path) = &self.memory {
            steps.mount(MEMORY, path);
        }
        View { steps: steps.0, memory_bytes }
    }

    fn temporary_above(&self, path: &Path) -> Option<&Path> {
        self.temporary.iter().map(PathBuf::as_path).find(|base| path.starts_with(base))
    }

    /// Puts what would be out of sight where it was; false where it is seen.
    fn again(&self, steps: &mut Steps, path: &Path, covered: &[&PathBuf]) -> bool {
        let cover = covered.iter().map(|path| path.as_path()).find(|base| path.starts_with(base));
        let Some(base) = cover.or_else(|| self.temporary_above(path)) else { return false };
        steps.make(base, path);
        steps.mount(path.as_os_str().as_bytes(), path);
        true
    }
}

#[derive(Default)]
struct Steps(Vec<(CString, CString)>);

impl Steps {
    fn mount(&mut self, source: &[u8], target: &Path) {
        // A path that came from the system holds no NUL.
        if let (Ok(source), Some(target)) = (CString::new(source), string(target)) {
            self.0.push((source, target));
        }
    }

    /// The directories below `base` down to `path`.
    fn make(&mut self, base: &Path, path: &Path) {
        let mut below: Vec<_> = path.ancestors().take_while(|above| *above != base).collect();
        below.reverse();
        for directory in below {
            let made = |(source, target): &(CString, CString)| {
                source.as_bytes() == MAKE && target.as_bytes() == directory.as_os_str().as_bytes()
            };
            if !self.0.iter().any(made) {
                self.mount(MAKE, directory);
            }
        }
    }
}

fn string(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(hidden: &[&str], volumes: &[&str]) -> Scene {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let hidden = paths(hidden).into_iter().collect::<BTreeSet<_>>();
        let temporary = paths(&["/tmp", "/var/tmp"]);
        Scene::of(temporary, Some(PathBuf::from(SHARED_MEMORY)), &hidden, paths(volumes))
    }

    fn check(hidden: &[&str], volumes: &[&str], own: &str, temporary: &str, expected: &[&str]) {
        let view = scene(hidden, volumes).view(&[Path::new(own)], Path::new(temporary), 7);
        let shown: Vec<_> = view
            .steps
            .iter()
            .map(|(source, target)| {
                format!("{} {}", source.to_string_lossy(), target.to_string_lossy())
            })
            .collect();
        assert_eq!(shown, expected, "{hidden:?} {volumes:?} {own}");
        assert_eq!(view.memory_bytes, 7);
    }

    #[test]
    fn what_is_the_runs_lies_where_it_was_in_a_covered_place() {
        check(
            &["/h/token", "/h", "/h/pods/p"],
            &["/data"],
            "/h/w/u",
            "/h/w/.tmp/u",
            &[
                "/h/w/.tmp/u /tmp",
                "/h/w/.tmp/u /var/tmp",
                "writable /data",
                "cover /h",
                "make /h/w",
                "make /h/w/u",
                "/h/w/u /h/w/u",
                "make /h/w/.tmp",
                "make /h/w/.tmp/u",
                "/h/w/.tmp/u /h/w/.tmp/u",
                "memory /dev/shm",
            ],
        );
    }

    #[test]
    fn what_lies_below_tmp_stays_there() {
        check(
            &["/tmp/t/w"],
            &["/tmp/v"],
            "/tmp/t/w/u",
            "/tmp/t/x/u",
            &[
                "/tmp/t/x/u /tmp",
                "/tmp/t/x/u /var/tmp",
                "make /tmp/v",
                "/tmp/v /tmp/v",
                "make /tmp/t",
                "make /tmp/t/w",
                "cover /tmp/t/w",
                "make /tmp/t/w/u",
                "/tmp/t/w/u /tmp/t/w/u",
                "make /tmp/t/x",
                "make /tmp/t/x/u",
                "/tmp/t/x/u /tmp/t/x/u",
                "memory /dev/shm",
            ],
        );
    }

    #[test]
    fn what_is_in_sight_is_made_writable_and_volumes_are_the_owners_wish() {
        let seen = ["/t /var/tmp", "writable /tmp", "writable /dev/shm", "/srv/u /srv/u", "/t /t"];
        check(&["/h"], &["/tmp", SHARED_MEMORY], "/srv/u", "/t", &seen);
    }

    #[test]
    fn places_that_hold_nothing_of_a_run_are_covered_once_for_all() {
        let scene = scene(&["/workspace", "/control", "/control/x", "/home/k"], &[]);
        let covers = scene.covers(&[Path::new("/workspace")]);
        assert_eq!(covers, [c"/control", c"/home/k"].map(std::ffi::CStr::to_owned));
    }
}

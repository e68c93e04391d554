//! Which directory's cluster this machine runs: bridges, cgroup and addresses exist once, so there is one at a time.

use super::place::Place;
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// Gone with a restart of the machine, as all that it stands for.
const FILE: &str = "/run/kruntimes-e2e";

/// Notes that the machine's cluster is the one of this directory.
pub(super) fn claim(place: &Place) -> anyhow::Result<()> {
    if let Some(other) = other(Path::new(FILE), place) {
        ensure!(
            !other.exists(),
            "this machine runs a test cluster of another directory, {}: stop it with KRUNTIMES_E2E_DIR set to its parent",
            other.display()
        );
    }
    fs::write(FILE, place.cluster_directory().as_os_str().as_encoded_bytes())
        .with_context(|| format!("write {FILE}"))
}

/// Whether bridges, cgroup and rules may be those of this directory's cluster.
pub(super) fn owns(place: &Place) -> bool {
    other(Path::new(FILE), place).is_none()
}

/// Notes that nothing is left.
pub(super) fn release() {
    drop(fs::remove_file(FILE));
}

fn other(file: &Path, place: &Place) -> Option<PathBuf> {
    let named = PathBuf::from(fs::read_to_string(file).ok()?);
    (named != place.cluster_directory()).then_some(named)
}

#[cfg(test)]
mod tests {
    use super::{Place, other};
    use std::path::Path;

    #[test]
    fn a_machine_belongs_to_one_directory() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("owner");
        let place = Place::at(Path::new("/a"));
        assert_eq!(other(&file, &place), None, "nobody's");
        std::fs::write(&file, "/a/cluster").unwrap();
        assert_eq!(other(&file, &place), None, "its own");
        std::fs::write(&file, "/b/cluster").unwrap();
        assert_eq!(other(&file, &place).as_deref(), Some(Path::new("/b/cluster")));
    }
}

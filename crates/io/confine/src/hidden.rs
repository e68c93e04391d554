//! The places that no Run may enter, at every path that leads there: a file system may be mounted at several.
//!
//! What the machine's owner mounts after the server has started is not known here.

use crate::mounts::{self, Mount};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one file from all others.
pub(crate) type Identity = (u64, u64);

/// Places that no Run may enter.
#[derive(Debug, Clone, Default)]
pub struct Hidden {
    /// Paths without links.
    places: BTreeSet<PathBuf>,
    uncoverable: Vec<PathBuf>,
}

impl Hidden {
    /// These, and wherever else what they hold is mounted.
    ///
    /// # Errors
    /// The table of mounts can't be read.
    pub fn new(places: &[PathBuf]) -> io::Result<Self> {
        let table = mounts::table()?;
        let mut hidden = Self::default();
        for place in places {
            let (real, id) = resolve(place);
            let others = others(&table, &real, id);
            let is_file = |path: &&PathBuf| identity(path).is_some() && !path.is_dir();
            hidden.uncoverable.extend(others.iter().filter(is_file).cloned());
            if !real.is_dir() {
                hidden.uncoverable.push(real.clone());
            }
            hidden.places.extend(others);
            hidden.places.insert(real);
        }
        Ok(hidden)
    }

    /// Those that are no directories, or not there yet: nothing can cover them.
    #[must_use]
    pub fn uncoverable(&self) -> &[PathBuf] {
        &self.uncoverable
    }

    pub(crate) fn places(&self) -> &BTreeSet<PathBuf> {
        &self.places
    }
}

/// The paths of other mounts, but for those that show something else, being covered themselves.
fn others(table: &[Mount], place: &Path, id: Option<u64>) -> Vec<PathBuf> {
    let own = identity(place);
    let shows_other = |path: &PathBuf| {
        let is_inside = table.iter().any(|mount| mount.point == *path);
        !is_inside && own.is_some() && identity(path).is_some_and(|it| Some(it) != own)
    };
    mounts::aliases(table, place, id).into_iter().filter(|path| !shows_other(path)).collect()
}

/// The path without links, as far as it is there, and the mount that it lies in.
fn resolve(place: &Path) -> (PathBuf, Option<u64>) {
    let found = place.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let Some((above, real)) = found else { return (place.to_owned(), None) };
    let id = statx(CWD, &real, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID);
    let id = id.ok().filter(|it| it.stx_mask & StatxFlags::MNT_ID.bits() != 0);
    let rest = place.strip_prefix(above).unwrap_or(Path::new(""));
    let path = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
    (path, id.map(|it| it.stx_mnt_id))
}

/// That of what is at `path`, a link itself included.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scene;

    #[test]
    fn what_is_not_there_is_hidden_where_it_would_be_and_said() {
        let base = std::env::temp_dir().join(format!("kruntimes-hidden-{}", std::process::id()));
        fs::create_dir_all(base.join("real")).unwrap();
        let base = fs::canonicalize(base).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        let there = ["real", "link/later/deep", "file"].map(|name| base.join(name));
        let hidden = Hidden::new(&there).unwrap();
        let expected = ["real", "real/later/deep", "file"].map(|name| base.join(name));
        for place in &expected {
            assert!(hidden.places().contains(place), "{}", place.display());
        }
        assert_eq!(hidden.uncoverable(), &expected[1..]);
        // Namespaces in which it would lie open later are none.
        assert!(Scene::new(&hidden, &[]).is_none());
        let there = Hidden::new(&there[..1]).unwrap();
        assert!(Scene::new(&there, &[]).is_some());
        fs::remove_dir_all(base).unwrap();
    }
}

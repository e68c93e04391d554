//! A pod's place on disk: `pods/<uid>/{workspace,control,state,sources,logs,kubeconfig,ca.pem}`.
//!
//! Invariant: only this user can enter it; a name from the API never leads out of the data directory.

use super::plan::Source;
use kruntimes_daemon::remove_tree;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a UID at most.
const UID_LIMIT: usize = 128;

/// The directories of one pod.
#[derive(Debug, Clone)]
pub(super) struct Directories {
    root: PathBuf,
}

/// What a pod's kubeconfig says.
#[derive(Debug)]
pub(super) struct Access<'a> {
    pub(super) api_url: &'a str,
    pub(super) ca_pem: &'a str,
    pub(super) namespace: &'a str,
    pub(super) token: &'a str,
}

impl Directories {
    /// The place of the pod with this UID; none for a UID that is no file name.
    pub(super) fn of(data: &Path, uid: &str) -> Option<Self> {
        let legal = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let usable = !uid.is_empty() && uid.len() <= UID_LIMIT && uid.chars().all(legal);
        usable.then(|| Self { root: data.join("pods").join(uid) })
    }

    /// What stands for `/workspace`.
    pub(super) fn workspace(&self) -> PathBuf {
        self.root.join("workspace")
    }

    /// What stands for `/var/run/kruntimes`.
    pub(super) fn control(&self) -> PathBuf {
        self.root.join("control")
    }

    /// What stands for `/var/lib/kruntimes/state`, for runtimed alone.
    pub(super) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The containers' output.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What stands for `/etc/kruntimes`: Secrets and ConfigMaps, for runtimed alone.
    pub(super) fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// The files of one of them.
    pub(super) fn source(&self, source: &Source) -> PathBuf {
        self.sources().join(source.directory).join(&source.name)
    }

    /// runtimed's kubeconfig.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Makes the place, empty.
    pub(super) fn create(&self) -> io::Result<()> {
        self.remove()?;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.root)?;
        for directory in
            [self.workspace(), self.control(), self.state(), self.sources(), self.logs()]
        {
            builder.create(directory)?;
        }
        Ok(())
    }

    /// Writes what runtimed needs to reach the API.
    pub(super) fn write_access(&self, access: &Access<'_>) -> io::Result<()> {
        let authority = self.root.join("ca.pem");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {
                "server": access.api_url, "certificate-authority": authority,
            }}],
            "users": [{"name": "pod", "user": {"token": access.token}}],
            "contexts": [{"name": "local", "context": {
                "cluster": "local", "user": "pod", "namespace": access.namespace,
            }}],
            "current-context": "local",
        });
        write_private(&authority, access.ca_pem.as_bytes())?;
        write_private(&self.kubeconfig(), config.to_string().as_bytes())
    }

    /// Removes all but the output, which can be read until the pod's object is gone.
    pub(super) fn keep_logs(&self) -> io::Result<()> {
        for directory in [self.workspace(), self.control(), self.state(), self.sources()] {
            remove_tree(&directory)?;
        }
        for file in [self.kubeconfig(), self.root.join("ca.pem")] {
            ignore_missing(std::fs::remove_file(file), ())?;
        }
        Ok(())
    }

    /// Removes the place.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_tree(&self.root)
    }
}

/// Replaces what stands at `path`, a directory of its own, by files with this content: at once, by a rename of the link
/// `..data`. Names of files are the caller's to check.
pub(super) fn write_version(
    path: &Path,
    version: u64,
    content: &BTreeMap<String, Vec<u8>>,
) -> io::Result<()> {
    let link = path.join("..data");
    let before = ignore_missing(std::fs::read_link(&link).map(Some), None)?;
    let name = format!("..{version}");
    let directory = path.join(&name);
    remove_tree(&directory)?;
    DirBuilder::new().mode(0o700).create(&directory)?;
    for (key, bytes) in content {
        write_private(&directory.join(key), bytes)?;
    }
    let new = path.join("..data_tmp");
    ignore_missing(std::fs::remove_file(&new), ())?;
    std::os::unix::fs::symlink(&name, &new)?;
    std::fs::rename(new, link)?;
    match before.filter(|before| *before != Path::new(&name)) {
        Some(before) => remove_tree(&path.join(before)),
        None => Ok(()),
    }
}

/// The places of pods that there are no more; `live` knows the UIDs of the others.
pub(super) fn others(data: &Path, live: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("pods")).into_iter().flatten();
    let others = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_str().is_some_and(&live));
    others.map(|entry| entry.path()).collect()
}

/// Removes places of former pods.
pub(super) fn remove_all(places: Vec<PathBuf>) {
    for place in places {
        if let Err(error) = remove_tree(&place) {
            tracing::warn!(path = %place.display(), %error, "directory of a former pod stays");
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// The result, or `missing` where there is nothing.
fn ignore_missing<T>(result: io::Result<T>, missing: T) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(missing),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_place_goes_with_what_can_not_be_entered() {
        let data = std::env::temp_dir().join(format!("krt-place-{}", std::process::id()));
        let place = Directories::of(&data, "u").unwrap();
        place.create().unwrap();
        let closed = place.workspace().join("a/b");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(closed.join("file"), "").unwrap();
        std::os::unix::fs::symlink("/", place.workspace().join("root")).unwrap();
        for directory in [&closed, closed.parent().unwrap()] {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        place.remove().unwrap();
        assert!(!place.root.exists());
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_version_replaces_the_one_before_and_only_its_owner_may_read_it() {
        let root = std::env::temp_dir().join(format!("krt-version-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let content = |value: &str| BTreeMap::from([("key".to_owned(), value.as_bytes().to_vec())]);
        let mode =
            |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        write_version(&root, 1, &content("one")).unwrap();
        assert_eq!((mode("..data"), mode("..data/key")), (0o700, 0o600));
        // What an earlier try left behind is no hindrance.
        std::fs::create_dir(root.join("..2")).unwrap();
        std::fs::write(root.join("..2/old"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("..data_tmp")).unwrap();
        write_version(&root, 2, &content("two")).unwrap();
        assert_eq!(std::fs::read(root.join("..data/key")).unwrap(), b"two");
        write_version(&root, 3, &BTreeMap::new()).unwrap();
        assert_eq!(std::fs::read_dir(root.join("..data")).unwrap().count(), 0);
        let mut left: Vec<_> =
            std::fs::read_dir(&root).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["..3", "..data"]);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn no_uid_leads_out_of_the_data_directory() {
        let data = Path::new("/data");
        for (uid, want) in [
            ("3f1c-AB", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a\0", false),
            (&"a".repeat(129), false),
        ] {
            assert_eq!(Directories::of(data, uid).is_some(), want, "{uid:?}");
        }
    }
}

//! A pod's place on disk: `pods/<uid>/{workspace,control,logs,kubeconfig,ca.pem}`.
//!
//! Invariant: only this user can enter it; a name from the API never leads out of the data directory.

use serde_json::json;
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

    /// The containers' output.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
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
        for directory in [self.workspace(), self.control(), self.logs()] {
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
        for directory in [self.workspace(), self.control()] {
            ignore_missing(std::fs::remove_dir_all(directory))?;
        }
        for file in [self.kubeconfig(), self.root.join("ca.pem")] {
            ignore_missing(std::fs::remove_file(file))?;
        }
        Ok(())
    }

    /// Removes the place.
    pub(super) fn remove(&self) -> io::Result<()> {
        ignore_missing(std::fs::remove_dir_all(&self.root))
    }
}

/// Removes the places of pods that there are no more; `live` are the UIDs of the others.
pub(super) fn remove_others(data: &Path, live: impl Fn(&str) -> bool) {
    let Ok(entries) = std::fs::read_dir(data.join("pods")) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        if name.to_str().is_some_and(&live) {
            continue;
        }
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "directory of a former pod stays");
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

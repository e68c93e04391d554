//! Where the test cluster and its caches live, and the addresses it takes.

use anyhow::{Context, ensure};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Moves everything that is built or started to another directory.
const VARIABLE: &str = "KRUNTIMES_E2E_DIR";

/// A socket's path has at most 107 bytes, and the kubelet's own takes 45 below this.
const MAX_LENGTH: usize = 60;

/// The node's address: one of its own on a bridge, because pods can't reach a loopback address.
pub(super) const NODE_ADDRESS: &str = "10.99.0.1";
/// The bridge that holds it.
pub(super) const NODE_BRIDGE: &str = "krt-node";
/// The bridge that the pods are plugged into.
pub(super) const POD_BRIDGE: &str = "krt-pods";
/// The addresses of the pods.
pub(super) const POD_NETWORK: &str = "10.98.0.0/16";
/// The addresses of Services; the first one is the API server's.
pub(super) const SERVICE_NETWORK: &str = "10.96.0.0/16";
/// The API server's Service.
pub(super) const SERVICE_ADDRESS: &str = "10.96.0.1";
/// The only node.
pub(super) const NODE_NAME: &str = "e2e";
/// The cgroup that all pods are in.
pub(super) const CGROUP: &str = "kruntimes-e2e";

/// The directory of builds and of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    /// `$KRUNTIMES_E2E_DIR`, else a directory in the user's cache.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let root = match std::env::var_os(VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => {
                let home = std::env::var_os("HOME")
                    .with_context(|| format!("neither {VARIABLE} nor HOME is set"))?;
                PathBuf::from(home).join(".cache/kruntimes-e2e")
            }
        };
        let root = std::path::absolute(root)?;
        room_for_sockets(&root)?;
        std::fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self { root })
    }

    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Held while the cluster is started or stopped.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        locked(&self.root.join("lock"))
    }

    /// Held while its cases run: two runs at once would delete each other's objects.
    pub(super) fn turn(&self) -> anyhow::Result<File> {
        locked(&self.root.join("test.lock"))
    }

    /// A directory of something that is built once.
    pub(crate) fn cache(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A file or directory of the running cluster; all of them are removed by `down`.
    pub(crate) fn cluster(&self, name: &str) -> PathBuf {
        self.root.join("cluster").join(name)
    }

    /// All that `down` removes.
    pub(crate) fn cluster_directory(&self) -> PathBuf {
        self.root.join("cluster")
    }

    /// What the components print; kept after `down`.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.cluster("kubeconfig")
    }

    /// The socket of the cluster's own containerd.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.cluster("containerd.sock")
    }
}

fn locked(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("   waiting for another run, which holds {}", path.display());
        file.lock().with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}

fn room_for_sockets(root: &Path) -> anyhow::Result<()> {
    ensure!(
        root.as_os_str().len() <= MAX_LENGTH,
        "{} is longer than the {MAX_LENGTH} bytes that leave room for the names of sockets: set {VARIABLE}",
        root.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MAX_LENGTH, room_for_sockets};
    use std::path::PathBuf;

    #[test]
    fn a_directory_leaves_room_for_sockets() {
        let of = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        assert!(room_for_sockets(&of(MAX_LENGTH)).is_ok());
        assert!(room_for_sockets(&of(MAX_LENGTH + 1)).is_err());
    }
}

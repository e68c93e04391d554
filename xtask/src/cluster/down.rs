//! `cargo xtask e2e down`: stops what `up` started, and nothing else; also what is left of one that was killed.

use super::command::output;
use super::components::NAMES;
use super::place::Place;
use super::{cgroup, daemon, network, owner};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Links to the logs of pods, which a kubelet makes there whatever its configuration says.
const LOG_LINKS: &str = "/var/log/containers";

/// Leaves the machine as it was before `up`, but for the caches and the logs.
pub(super) fn stop(place: &Place) -> anyhow::Result<()> {
    let directory = place.cluster_directory();
    if !directory.exists() {
        return Ok(());
    }
    // The node first, so that nobody starts again what is killed below.
    for name in ["kubelet", "kube-proxy", "containerd"] {
        daemon::stop(place, name)?;
    }
    let sockets = shim_sockets(place);
    kill_shims(place)?;
    let owns = owner::owns(place);
    if owns {
        cgroup::remove()?;
    }
    for name in NAMES.iter().rev() {
        daemon::stop(place, name)?;
    }
    if owns {
        network::remove(place)?;
    }
    for mount in mounts(&fs::read_to_string("/proc/self/mounts")?, &directory) {
        output(Command::new("umount").arg("--lazy").arg(mount))?;
    }
    for socket in sockets {
        drop(fs::remove_file(socket));
    }
    remove_log_links(&place.cluster("pod-logs"))?;
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    if owns {
        owner::release();
    }
    Ok(())
}

/// Containers' shims are the children of nobody; their command line names the socket of their containerd.
fn kill_shims(place: &Place) -> anyhow::Result<()> {
    let socket = place.containerd_socket().display().to_string();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if is_shim_of(&String::from_utf8_lossy(&command), &socket)
            && let Some(process) = Pid::from_raw(pid)
        {
            // It may have ended meanwhile.
            let _gone = kill_process(process, Signal::KILL);
        }
    }
    Ok(())
}

fn is_shim_of(command: &str, socket: &str) -> bool {
    let words: Vec<&str> = command.split('\0').collect();
    words.first().is_some_and(|program| program.contains("containerd-shim"))
        && words.windows(2).any(|pair| pair == ["-address", socket])
}

/// Shims listen below `/run`, whatever the state directory is; each bundle says where.
fn shim_sockets(place: &Place) -> Vec<PathBuf> {
    let bundles = place.cluster("containerd/state/io.containerd.runtime.v2.task/k8s.io");
    let entries = fs::read_dir(bundles).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("address")).ok())
        .filter_map(|address| address.trim().strip_prefix("unix://").map(PathBuf::from))
        .collect()
}

/// The mounts below a directory, the deepest first.
fn mounts(table: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(directory) && path != directory)
        .collect();
    found.reverse();
    found
}

fn remove_log_links(logs: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(LOG_LINKS).into_iter().flatten() {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|target| target.starts_with(logs)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_shim_of, mounts};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_shim_is_known_by_the_socket_of_its_containerd() {
        let shim = "/a/containerd-shim-runc-v2\0-namespace\0k8s.io\0-address\0/mine.sock\0";
        assert!(is_shim_of(shim, "/mine.sock"));
        assert!(!is_shim_of(shim, "/mine"));
        assert!(!is_shim_of("grep\0containerd-shim\0-address\0/mine.sock", "/mine.sock"));
    }

    #[test]
    fn mounts_below_the_directory_go_from_the_deepest() {
        let table = "proc /proc proc rw 0 0\n\
                     tmpfs /x/cluster/kubelet/a tmpfs rw 0 0\n\
                     overlay /x/cluster/kubelet/a/b\\040c overlay rw 0 0\n\
                     tmpfs /x/cluster-of-another tmpfs rw 0 0\n";
        assert_eq!(
            mounts(table, Path::new("/x/cluster")),
            ["/x/cluster/kubelet/a/b c", "/x/cluster/kubelet/a"].map(PathBuf::from)
        );
    }
}

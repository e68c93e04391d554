//! Debian packages: daemons are unpacked into the cache, so that none is started by its installation; tools that need
//! libraries are installed.

use super::command::output;
use super::place::Place;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unpacked, never installed.
const UNPACKED: [&str; 4] = ["etcd-server", "containerd", "containernetworking-plugins", "runc"];

/// What is installed when its program is missing: the program and its package.
const INSTALLED: [(&str, &str); 8] = [
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("socat", "socat"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("cc", "gcc"),
    ("git", "git"),
];

/// The unpacked packages.
#[derive(Debug, Clone)]
pub(crate) struct Debian {
    root: PathBuf,
}

impl Debian {
    /// Gets what is missing.
    pub(crate) fn prepare(place: &Place) -> anyhow::Result<Self> {
        let release = std::fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
        let debian = Self { root: place.cache(&format!("debian-{}", version(&release))) };
        let missing: Vec<&str> = INSTALLED
            .iter()
            .filter(|(program, _)| find(program).is_none())
            .map(|(_, package)| *package)
            .collect();
        let unpacked = debian.root.exists();
        if unpacked && missing.is_empty() {
            return Ok(debian);
        }
        ensure!(
            find("apt-get").is_some(),
            "this machine has no apt-get; {} are needed, and {} installed",
            UNPACKED.join(", "),
            missing.join(", ")
        );
        output(Command::new("apt-get").args(["update", "-q"]))?;
        if !missing.is_empty() {
            println!("   installing {}", missing.join(" "));
            output(
                Command::new("apt-get")
                    .args(["install", "-q", "-y", "--no-install-recommends"])
                    .args(&missing)
                    .env("DEBIAN_FRONTEND", "noninteractive"),
            )?;
        }
        if !unpacked {
            debian.unpack()?;
        }
        Ok(debian)
    }

    fn unpack(&self) -> anyhow::Result<()> {
        println!("   unpacking {}", UNPACKED.join(" "));
        let partial = self.root.with_extension("partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        std::fs::create_dir_all(&partial)?;
        output(
            Command::new("apt-get")
                .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
                .args(UNPACKED)
                .current_dir(&partial),
        )?;
        for entry in std::fs::read_dir(&partial)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&partial))?;
                std::fs::remove_file(&path)?;
            }
        }
        std::fs::rename(&partial, &self.root).context("keep the unpacked packages")
    }

    /// A program of an unpacked package.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let usual = self.root.join("usr/bin").join(name);
        if usual.exists() { usual } else { self.root.join("usr/sbin").join(name) }
    }

    /// The network plugins.
    pub(crate) fn network_plugins(&self) -> PathBuf {
        self.root.join("usr/lib/cni")
    }

    /// The search path with the unpacked programs in front.
    pub(crate) fn search_path(&self) -> String {
        let own = ["usr/bin", "usr/sbin"].map(|folder| self.root.join(folder));
        let system = std::env::var_os("PATH").unwrap_or_default();
        format!("{}:{}:{}", own[0].display(), own[1].display(), system.to_string_lossy())
    }
}

/// A program on the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = [Path::new("/usr/sbin"), Path::new("/sbin")].map(Path::to_owned);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// `VERSION_ID` of an os-release file.
fn version(release: &str) -> &str {
    let line = release.lines().find_map(|line| line.strip_prefix("VERSION_ID="));
    line.unwrap_or("unknown").trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_release_names_its_version() {
        assert_eq!(version("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"), "12");
        assert_eq!(version("ID=debian\n"), "unknown");
    }
}

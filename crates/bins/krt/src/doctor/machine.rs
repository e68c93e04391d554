//! The machine: kernel features, programs, ports, limits.

use super::Check;
use crate::failure::without_number;
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest kernel that the roles run on.
const KERNEL: (u32, u32) = (5, 15);
/// The first Landlock that also keeps signals and abstract sockets apart.
const LANDLOCK_SCOPES: u32 = 6;
/// Files that a home with a few hundred Runs at once needs.
const OPEN_FILES: u64 = 1024;
/// A loopback address outside the range that pods get.
const PROBE: Ipv4Addr = Ipv4Addr::new(127, 241, 7, 7);

/// All of them. The caller has a single thread.
pub(super) fn checks() -> Vec<Check> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").ok();
    vec![
        kernel(release.trim()),
        pidfd(pidfd_open(getpid(), PidfdFlags::empty()).map(drop).map_err(Error::from)),
        seccomp(actions.as_deref()),
        landlock(&kruntimes_confine::landlock_abi()),
        user_namespaces(&kruntimes_confine::may_make_user_namespaces()),
        cgroup(own_cgroup().as_deref()),
        open_files(getrlimit(Resource::Nofile).current),
        bash(find("bash").as_deref()),
        optional("git", &["--version"], "Runs with `spec.source.repoURL` need it: install git"),
        python(kruntimes_languages::python::look(
            &std::env::var_os("PATH").unwrap_or_default().to_string_lossy(),
        )),
        ports(&|port| TcpListener::bind(SocketAddr::from((PROBE, port))).map(drop)),
    ]
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    let found = format!("Linux {release}");
    match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) >= KERNEL => Check::ok("kernel", found),
        _ => Check::missing(
            "kernel",
            found,
            format!(
                "the local home needs Linux {}.{} or later: boot a newer one, or use krt with a cluster",
                KERNEL.0, KERNEL.1
            ),
        ),
    }
}

fn pidfd(opened: Result<(), Error>) -> Check {
    match opened {
        Ok(()) => Check::ok("pidfd", "works"),
        Err(error) => Check::missing(
            "pidfd",
            without_number(&error.to_string()),
            "the local home waits for processes with it: allow the system call pidfd_open (seccomp of a container?)",
        ),
    }
}

fn seccomp(actions: Option<&str>) -> Check {
    match actions {
        Some(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Check::ok("seccomp", "filters can be set")
        }
        Some(_) | None => Check::degraded(
            "seccomp",
            "not in this kernel",
            "the isolation of Runs uses it: boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn landlock(abi: &Result<u32, Error>) -> Check {
    const USE: &str = "the isolation of Runs uses it";
    match abi {
        Ok(abi) if *abi >= LANDLOCK_SCOPES => Check::ok("landlock", format!("ABI {abi}")),
        Ok(abi) => Check::degraded(
            "landlock",
            format!("ABI {abi}"),
            format!("{USE}, with signals from ABI {LANDLOCK_SCOPES} on: boot Linux 6.12 or later"),
        ),
        Err(error)
            if error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(95) =>
        {
            Check::degraded(
                "landlock",
                "not enabled",
                format!(
                    "{USE}: boot Linux 6.12 or later, with landlock in the kernel parameter lsm="
                ),
            )
        }
        Err(error) => Check::degraded(
            "landlock",
            without_number(&error.to_string()),
            format!("{USE}: allow its system calls (seccomp of a container?)"),
        ),
    }
}

fn user_namespaces(may: &Result<bool, Error>) -> Check {
    match may {
        Ok(true) => Check::ok("user namespaces", "can be made"),
        Ok(false) | Err(_) => Check::degraded(
            "user namespaces",
            "can't be made",
            "with them each Run of the local home has its own /tmp, /dev/shm and processes: set the sysctl \
             kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0, where it exists",
        ),
    }
}

/// The directory of this process's cgroup v2.
fn own_cgroup() -> Option<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let dir = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    dir.join("cgroup.procs").exists().then_some(dir)
}

fn cgroup(own: Option<&Path>) -> Check {
    const USE: &str = "a later version limits memory and processes of Runs with it";
    let Some(own) = own else {
        return Check::degraded(
            "cgroup",
            "no version 2",
            format!("{USE}: boot with systemd.unified_cgroup_hierarchy=1"),
        );
    };
    let writable = rustix::fs::access(own, rustix::fs::Access::WRITE_OK).is_ok();
    if writable {
        Check::ok("cgroup", "version 2, writable")
    } else {
        Check::degraded(
            "cgroup",
            "version 2, not writable",
            format!(
                "{USE}: start krt in a delegated one, `systemd-run --user --scope -p Delegate=yes krt …`"
            ),
        )
    }
}

/// `None` is no limit.
fn open_files(limit: Option<u64>) -> Check {
    match limit {
        Some(limit) if limit < OPEN_FILES => Check::degraded(
            "open files",
            format!("at most {limit}"),
            format!(
                "many Runs at once may fail: raise the limit, `ulimit -n {OPEN_FILES}` or more"
            ),
        ),
        Some(limit) => Check::ok("open files", format!("at most {limit}")),
        None => Check::ok("open files", "no limit"),
    }
}

/// A program of the search path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| {
        file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
    })
}

fn bash(found: Option<&Path>) -> Check {
    match found {
        Some(path) => Check::ok("bash", path.display().to_string()),
        None => Check::missing("bash", "not in $PATH", "the Runtime bash needs it: install bash"),
    }
}

fn optional(program: &'static str, args: &[&str], remedy: &str) -> Check {
    let Some(path) = find(program) else {
        return Check::degraded(program, "not in $PATH", remedy);
    };
    version(program, &path, args, remedy)
}

fn python(found: Result<PathBuf, String>) -> Check {
    match found {
        Ok(path) => version("python3", &path, &["--version"], "the Runtime python needs it"),
        Err(why) => Check::degraded("python3", "none that can serve", why),
    }
}

fn version(program: &'static str, path: &Path, args: &[&str], remedy: &str) -> Check {
    match Command::new(path).args(args).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.lines().next().unwrap_or_default().trim();
            Check::ok(program, format!("{version} ({})", path.display()))
        }
        Ok(output) => Check::degraded(
            program,
            format!("{} does not work ({})", path.display(), output.status),
            remedy,
        ),
        Err(error) => Check::degraded(
            program,
            format!("{} can't be started: {}", path.display(), without_number(&error.to_string())),
            remedy,
        ),
    }
}

/// Each pod of the local home has these ports on a loopback address of its own.
fn ports(bind: &dyn Fn(u16) -> Result<(), Error>) -> Check {
    let ports = [
        kruntimes_api::names::RUNTIME_PORT.unsigned_abs(),
        u32::from(kruntimes_api::names::STATUS_PORT),
        u32::from(kruntimes_api::names::HEALTH_PORT),
    ];
    for port in ports.into_iter().filter_map(|port| u16::try_from(port).ok()) {
        match bind(port) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Check::missing(
                    "ports",
                    format!("{port} is taken on all addresses"),
                    format!(
                        "pods of the local home need it: see `ss -ltnp sport = :{port}` and stop that program, or \
                             make it listen on one address"
                    ),
                );
            }
            Err(error) => {
                return Check::missing(
                    "ports",
                    format!(
                        "can't listen on {PROBE}:{port}: {}",
                        without_number(&error.to_string())
                    ),
                    "pods of the local home need the loopback network 127.0.0.0/8: bring the interface lo up",
                );
            }
        }
    }
    Check::ok("ports", "9091, 9093 and 9094 are free on loopback")
}

#[cfg(test)]
mod tests {
    use super::super::State::{self, Degraded, Missing, Ok as Fine};
    use super::*;

    fn states(checks: &[Check]) -> Vec<State> {
        for check in checks {
            assert_eq!(check.remedy.is_none(), check.state == Fine, "{check:?}");
        }
        checks.iter().map(|check| check.state).collect()
    }

    #[test]
    fn kernels_from_5_15_on_do() {
        let releases = ["5.15.0-1-amd64", "6.1", "10.0.1", "5.14.21", "4.19.0", "", "x.y"];
        let checks: Vec<Check> = releases.iter().map(|release| kernel(release)).collect();
        assert_eq!(states(&checks), [Fine, Fine, Fine, Missing, Missing, Missing, Missing]);
    }

    #[test]
    fn features_are_judged_by_what_is_found() {
        let refused = || Error::from(ErrorKind::PermissionDenied);
        assert_eq!(
            states(&[
                landlock(&Ok(7)),
                landlock(&Ok(6)),
                landlock(&Ok(5)),
                landlock(&Err(Error::from_raw_os_error(95))),
                landlock(&Err(refused())),
                user_namespaces(&Ok(true)),
                user_namespaces(&Ok(false)),
                seccomp(Some("kill_process errno allow")),
                seccomp(None),
                pidfd(Ok(())),
                pidfd(Err(refused())),
                open_files(Some(1023)),
                open_files(Some(1024)),
                open_files(None),
                bash(None),
                python(Err("no python3 found".to_owned())),
                cgroup(None),
            ]),
            [
                Fine, Fine, Degraded, Degraded, Degraded, Fine, Degraded, Fine, Degraded, Fine,
                Missing, Degraded, Fine, Fine, Missing, Degraded, Degraded
            ]
        );
    }

    #[test]
    fn a_port_that_is_taken_everywhere_is_named() {
        let taken = ports(&|port| {
            if port == 9093 { Err(Error::from(ErrorKind::AddrInUse)) } else { Ok(()) }
        });
        assert_eq!(
            (taken.state, taken.found.as_str()),
            (Missing, "9093 is taken on all addresses")
        );
        assert_eq!(ports(&|_| Ok(())).state, Fine);
        assert_eq!(ports(&|_| Err(Error::from(ErrorKind::AddrNotAvailable))).state, Missing);
    }
}

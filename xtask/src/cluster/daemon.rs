//! Processes that outlive the tool, known by a pid file that also holds their start time, so that a pid that was given
//! to another process is never signalled.

use super::components::Component;
use super::place::Place;
use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How long the kernel may take to end a process.
const GRACE: Timespec = Timespec { tv_sec: 15, tv_nsec: 0 };

/// Writes the pid file before it becomes the program: a tool that is killed leaves no process that nobody knows.
const BEGIN: &str = r#"
read -r line < /proc/$$/stat
set -- "$line" "$@"
line=${1##*) }; shift
pid_file=$1; shift
started=$(echo "$line" | cut -d' ' -f20)
echo "$$ $started" > "$pid_file"
exec "$@""#;

/// Starts a component in a session of its own; what it prints goes to a log.
pub(super) fn start(place: &Place, component: &Component, path: &str) -> anyhow::Result<Child> {
    fs::create_dir_all(place.logs())?;
    let log = File::create(log(place, component.name))?;
    Command::new("setsid")
        .args(["sh", "-c", BEGIN, "sh"])
        .arg(pid_file(place, component.name))
        .arg(&component.program)
        .args(&component.arguments)
        .env_clear()
        .env("PATH", path)
        .env("HOME", place.cluster("home"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", component.name))
}

/// Whether it runs.
pub(super) fn runs(place: &Place, name: &str) -> bool {
    open(&pid_file(place, name)).is_some()
}

/// Kills a component: all that it holds is thrown away, and an API server that is asked to stop waits for its watches.
pub(super) fn stop(place: &Place, name: &str) -> anyhow::Result<()> {
    let file = pid_file(place, name);
    let Some(process) = open(&file) else { return Ok(()) };
    pidfd_send_signal(&process, Signal::KILL)?;
    let mut handles = [PollFd::new(&process, PollFlags::IN)];
    ensure!(poll(&mut handles, Some(&GRACE))? > 0, "{name} can't be killed");
    fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))
}

/// The end of a component's log.
pub(super) fn last_lines(place: &Place, name: &str) -> String {
    let text = fs::read(log(place, name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

fn log(place: &Place, name: &str) -> PathBuf {
    place.logs().join(format!("{name}.log"))
}

fn pid_file(place: &Place, name: &str) -> PathBuf {
    place.cluster(&format!("{name}.pid"))
}

/// A handle of the very process that the file means. It is opened before the start time is compared, so that it can't
/// come to mean another one.
fn open(file: &Path) -> Option<OwnedFd> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let process = pidfd_open(Pid::from_raw(pid.parse().ok()?)?, PidfdFlags::empty()).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    (alive_since(&stat) == Some(started)).then_some(process)
}

/// The start time in a line of `/proc/PID/stat`, of a process that is no zombie.
fn alive_since(stat: &str) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Component, Place, alive_since, pid_file, runs, start, stop};

    #[test]
    fn a_start_time_is_read_past_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 7777 20";
        assert_eq!(alive_since(&format!("5 (a) b)) S {rest}")), Some("7777"));
        assert_eq!(alive_since(&format!("5 (sh) Z {rest}")), None);
        assert_eq!(alive_since("5"), None);
    }

    #[test]
    fn only_the_process_that_was_started_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path());
        std::fs::create_dir_all(place.cluster_directory()).unwrap();
        let component = Component {
            name: "etcd",
            program: "/bin/sh".into(),
            arguments: ["-c", "sleep 60; true"].map(str::to_owned).to_vec(),
        };
        let mut child = start(&place, &component, "/usr/bin:/bin").unwrap();
        let file = pid_file(&place, "etcd");
        let written = || std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'));
        while !written() {
            std::thread::yield_now();
        }
        assert!(runs(&place, "etcd"));
        let (pid, started) = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .split_once(' ')
            .map(|(pid, started)| (pid.to_owned(), started.to_owned()))
            .unwrap();
        std::fs::write(&file, format!("{pid} 1\n")).unwrap();
        assert!(!runs(&place, "etcd"), "another start time is another process");
        stop(&place, "etcd").unwrap();
        std::fs::write(&file, format!("{pid} {started}\n")).unwrap();
        assert!(runs(&place, "etcd"), "it was stopped by a file that meant another process");
        stop(&place, "etcd").unwrap();
        assert!(!runs(&place, "etcd"));
        assert!(!file.exists());
        child.wait().unwrap();
    }
}

//! `krt local up --detach`: the home in a session and process of its own; the one that starts it waits until it serves
//! or has failed, and says so.
//!
//! The two talk over the home's stdout: a line when it is ready, or the lines of the failure. stderr is the log file.

use super::ready_made::ReadyMade;
use super::{Ready, data_dir, welcome};
use crate::failure::Failure;
use crate::serve::lifeline_is_on;
use crate::table;
use kruntimes_rules::reaper::Times;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The home serves with all its pods.
const READY: &str = "ready";
/// The home serves, and its pods are late.
const WITHOUT_PODS: &str = "without-pods";
/// Starts a line of a failure.
const FAILED: &str = "failed: ";
/// Bytes of the log file; what it holds then moves to `home.log.old`.
const LOG_BYTES: u64 = 4 << 20;

/// The log of a home in the background.
pub(super) fn log_file(dir: &Path) -> PathBuf {
    dir.join("home.log")
}

/// Starts the home and waits until it serves.
pub(super) fn up(
    dir: &Path,
    port: u16,
    filter: &str,
    runtimes: &[ReadyMade],
    times: Times,
) -> Result<(), Failure> {
    data_dir::create(dir)?;
    let log = log_file(dir);
    let stderr =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&log).map_err(|error| {
            Failure::new(format!("can't write the log {}: {error}", log.display()))
        })?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["local", "up", "--detached", "--port", &port.to_string(), "--log", filter])
        .arg(format!("--fence-after-seconds={}", times.fence_after.as_secs()))
        .arg(format!("--reap-after-seconds={}", times.reap_after.as_secs()))
        .arg(format!(
            "--runtimes={}",
            runtimes.iter().map(|one| one.name()).collect::<Vec<_>>().join(",")
        ))
        .arg("--data-dir")
        .arg(dir)
        // A lifeline goes on to the home: it ends with whoever holds the other end.
        .stdin(if lifeline_is_on() { Stdio::inherit() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut home = command.spawn()?;
    let mut said = BufReader::new(home.stdout.take().ok_or_else(no_pipe)?);
    let mut line = String::new();
    let mut failures = Vec::new();
    while said.read_line(&mut line)? > 0 {
        let end = format!("`krt local down` stops it; its log is {}.", log.display());
        match line.trim_end() {
            READY => return table::print(&welcome(dir, Ready::All, &end)),
            WITHOUT_PODS => return table::print(&welcome(dir, Ready::WithoutPods, &end)),
            other => failures.extend(other.strip_prefix(FAILED).map(str::to_owned)),
        }
        line.clear();
    }
    let status = home.wait()?;
    if failures.is_empty() {
        failures.push(format!(
            "the local home ended before it was ready ({status}): its log is {}",
            log.display()
        ));
    }
    Err(Failure { lines: failures, ..Failure::new("") })
}

fn no_pipe() -> Failure {
    Failure::new("internal error: the home has no stdout")
}

/// Makes this process the home in the background: a session of its own, and a log file that stays small.
pub(super) fn settle(dir: &Path, filter: &str) -> Result<(), Failure> {
    // An error means that it leads a session already.
    rustix::process::setsid().ok();
    Ok(kruntimes_daemon::logs::install_in_file(filter, &log_file(dir), LOG_BYTES)?)
}

/// Tells whoever waits that the home serves.
pub(super) fn say_ready(ready: Ready) -> Result<(), Failure> {
    let word = match ready {
        Ready::All => READY,
        Ready::WithoutPods => WITHOUT_PODS,
    };
    table::print(&format!("{word}\n"))
}

/// Tells whoever waits why there is no home.
pub(super) fn say_failure(failure: &Failure) {
    let lines: String = failure.lines.iter().map(|line| format!("{FAILED}{line}\n")).collect();
    // Nobody may be left to hear it; the log has it too.
    drop(table::print(&lines));
}

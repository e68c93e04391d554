//! The local home: API server, scheduler, controller and pods on this machine, without a cluster or a container engine.

pub(crate) mod api;
pub(crate) mod data_dir;
mod detach;
pub(crate) mod disk;
pub(crate) mod ephemeral;
mod home;
pub(crate) mod janitor;
mod pods;
pub(crate) mod ready_made;
mod reset;
mod status;

use crate::cli::LocalCommand;
use crate::client::on_threads;
use crate::failure::Failure;
use crate::serve::fire_at_the_end;
use crate::signals::Signals;
use crate::table;
use home::{LocalHome, Options};
use kruntimes_daemon::Shutdown;
use kruntimes_rules::reaper::Times;
use ready_made::ReadyMade;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::path::{Path, PathBuf};

/// Pods of the ready-made Runtime of bash, which is waited for.
const BASH_PODS: i32 = 2;
/// And of others.
const OTHER_PODS: i32 = 1;
/// How long a home may take to stop.
const STOP_SECONDS: i64 = 30;

/// `krt local`; the answer is the exit code.
pub(crate) fn start(command: LocalCommand, verbose: bool) -> Result<u8, Failure> {
    match command {
        LocalCommand::Up {
            dir,
            port,
            log,
            detach,
            detached,
            runtimes,
            fence_after_seconds,
            reap_after_seconds,
        } => {
            let times = Times::checked(fence_after_seconds, reap_after_seconds)
                .map_err(|error| Failure::new(error.to_string()))?;
            let dir = data_dir::chosen(&dir)?;
            let log = if verbose { "info".to_owned() } else { log };
            if detach {
                return detach::up(&dir, port, &log, &runtimes, times).map(|()| 0);
            }
            let report = if detached { Report::Pipe } else { Report::Terminal };
            match report {
                Report::Pipe => detach::settle(&dir, &log)?,
                Report::Terminal => kruntimes_daemon::logs::install(&log),
            }
            let end = on_threads(Box::pin(up(dir, port, log, runtimes, times, report)));
            if let (Report::Pipe, Err(failure)) = (report, &end) {
                detach::say_failure(failure);
            }
            end.map(|()| 0)
        }
        LocalCommand::Down(dir) => down(&data_dir::chosen(&dir)?).map(|()| 0),
        LocalCommand::Status { dir, output } => status::status(&data_dir::chosen(&dir)?, output),
        LocalCommand::Reset { dir, yes } => {
            let confirm = if yes { reset::Confirm::Given } else { reset::Confirm::Ask };
            reset::reset(&data_dir::chosen(&dir)?, confirm).map(|()| 0)
        }
        LocalCommand::Kubeconfig(dir) => {
            let dir = data_dir::chosen(&dir)?;
            let path = data_dir::kubeconfig(&dir);
            if !path.exists() {
                return Err(Failure::new(format!(
                    "there is no local home on {}: `krt local up` makes it",
                    dir.display()
                )));
            }
            table::print(&format!("{}\n", path.display())).map(|()| 0)
        }
    }
}

/// Who hears how the start of a home went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// The user, on stdout and stderr.
    Terminal,
    /// The `krt local up --detach` at the other end of stdout.
    Pipe,
}

async fn up(
    dir: PathBuf,
    port: u16,
    log: String,
    runtimes: Vec<ReadyMade>,
    times: Times,
    report: Report,
) -> Result<(), Failure> {
    let (trigger, mut shutdown) = Shutdown::new();
    tokio::spawn(fire_at_the_end(Signals::listen()?, None, trigger));
    let lock = data_dir::lock(&dir)?;
    let runtimes = with_pods(&runtimes);
    let options = Options { dir: &dir, durable: true, port, runtimes: &runtimes, log: &log, times };
    let mut home = LocalHome::start(options).await?;
    data_dir::write_private(&data_dir::kubeconfig(&dir), home.kubeconfig())?;
    let pods = home.ready();
    let end = tokio::select! {
        end = async {
            let ready = if pods.await { Ready::All } else { Ready::WithoutPods };
            lock.ready()?;
            match report {
                Report::Terminal => table::print(&welcome(&dir, ready, "Ctrl-C stops it."))?,
                Report::Pipe => detach::say_ready(ready)?,
            }
            std::future::pending::<Result<(), Failure>>().await
        } => end,
        failure = home.failed() => Err(failure),
        () = shutdown.wait() => Ok(()),
    };
    home.stop().await;
    end
}

/// Those of the Runtimes that this machine can serve, bash first.
fn with_pods(wanted: &[ReadyMade]) -> Vec<(ReadyMade, i32)> {
    let path = home::search_path();
    let pods = [(ReadyMade::Bash, BASH_PODS), (ReadyMade::Python, OTHER_PODS)];
    let served = pods.into_iter().filter(|(runtime, _)| wanted.contains(runtime));
    served
        .filter(|(runtime, _)| match runtime.missing(&path) {
            None => true,
            Some(why) => {
                tracing::info!("no Runtime {:?}: {why}", runtime.name());
                false
            }
        })
        .collect()
}

/// What serves once the home says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// All of it.
    All,
    /// The pods take too long.
    WithoutPods,
}

fn welcome(dir: &Path, ready: Ready, end: &str) -> String {
    let path = data_dir::kubeconfig(dir);
    let state = match ready {
        Ready::All => "The local home is ready.",
        Ready::WithoutPods => "The local home is up; its pods are not ready yet.",
    };
    format!(
        "{state} To use it:\n\n  export KUBECONFIG={}\n\nThen try:\n\n  krt run -- echo hello\n  krt list\n  \
         kubectl get runs,runtimes\n\n{end}\n",
        shell_quoted(&path.to_string_lossy())
    )
}

fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn down(dir: &Path) -> Result<(), Failure> {
    let not_running = || Failure::new(format!("no local home runs on {}", dir.display()));
    let running = data_dir::running(dir)?.ok_or_else(not_running)?;
    let pid = Pid::from_raw(running.pid).ok_or_else(not_running)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
    pidfd_send_signal(&process, Signal::TERM)
        .map_err(|error| Failure::new(format!("can't stop process {}: {error}", running.pid)))?;
    let limit = Timespec { tv_sec: STOP_SECONDS, tv_nsec: 0 };
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut fds, Some(&limit)) {
        Ok(1..) => Ok(()),
        Ok(0) => Err(Failure::new(format!(
            "process {} has not ended after {STOP_SECONDS} s",
            running.pid
        ))),
        Err(error) => Err(Failure::new(format!("can't wait for process {}: {error}", running.pid))),
    }
}

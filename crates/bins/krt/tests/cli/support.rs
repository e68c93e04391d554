//! Starts krt with an environment of its own, and waits for processes by their pidfds, never by sleeping.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use tempfile::TempDir;

/// Nothing that a test waits for takes this long, even on a busy machine.
const LIMIT_SECONDS: i64 = 90;

/// The environment of one user: no kubeconfig, its own home directory and place for temporary files.
pub(crate) struct User {
    dir: TempDir,
}

/// A process that ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn out(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {} stderr: {}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }
}

impl User {
    pub(crate) fn new() -> Self {
        let user = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(user.temporary()).unwrap();
        user
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where krt makes temporary directories.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    pub(crate) fn temporary_is_empty(&self) -> bool {
        std::fs::read_dir(self.temporary()).unwrap().next().is_none()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn krt(&self, args: &[&str]) -> Command {
        krt(args, self.dir.path(), &self.path("data"), &self.temporary())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        finish(&mut self.krt(args))
    }

    /// Starts `krt local up` on this user's default data directory.
    pub(crate) fn up(&self, args: &[&str]) -> Up {
        Up::start(self.krt(&[&["local", "up"], args].concat()))
    }

    /// As [`Self::up`], by Python code that executes its arguments.
    pub(crate) fn up_by(&self, code: &str) -> Up {
        let krt = self.krt(&["local", "up"]);
        let mut command = Command::new("python3");
        command.args(["-c", code]).arg(krt.get_program()).args(krt.get_args());
        for (name, value) in krt.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Up::start(command)
    }

    /// As [`Self::up`], with what the home logs in a file.
    pub(crate) fn up_logged(&self, args: &[&str], log: &Path) -> Up {
        let mut command = self.krt(&[&["local", "up"], args].concat());
        command.stderr(std::fs::File::create(log).unwrap());
        Up::start(command)
    }
}

fn krt(args: &[&str], home: &Path, data: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krt"));
    command
        .args(args)
        .env_remove("KUBECONFIG")
        .env_remove("KRUNTIMES_LIFELINE")
        .env("HOME", home)
        .env("XDG_DATA_HOME", data)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ended {
    collect(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Runs a command that reads `input`.
pub(crate) fn finish_with_input(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    collect(child)
}

/// Waits for a child and what it writes.
pub(crate) fn collect(mut child: Child) -> Ended {
    let read = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                stream.read_to_end(&mut bytes).unwrap();
            }
            bytes
        })
    };
    let stdout = read(child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>));
    let stderr = read(child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>));
    if !ends(&pidfd(child.id())) {
        child.kill().unwrap();
        panic!("krt did not end");
    }
    let code = child.wait().unwrap().code();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    Ended { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

pub(crate) fn pidfd(pid: u32) -> OwnedFd {
    try_pidfd(pid).expect("the process lives")
}

pub(crate) fn try_pidfd(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()
}

/// Whether the process ends in time.
pub(crate) fn ends(process: &OwnedFd) -> bool {
    let limit = Timespec { tv_sec: LIMIT_SECONDS, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)) {
            Ok(count) => return count == 1,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

/// All processes below `pid`, held by pidfds so that their ids can't be mistaken.
pub(crate) fn descendants(pid: u32) -> Vec<(u32, OwnedFd)> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let after_name = stat.rsplit_once(") ")?.1;
            Some((pid, after_name.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, own)| *own == parent).map(|(child, _)| *child));
        at += 1;
    }
    found[1..].iter().filter_map(|pid| Some((*pid, try_pidfd(*pid)?))).collect()
}

/// Processes with `text` in their command line.
pub(crate) fn processes_with(text: &str) -> Vec<(u32, OwnedFd)> {
    let pids = std::fs::read_dir("/proc").unwrap();
    pids.filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let process = try_pidfd(pid)?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&line).contains(text).then_some((pid, process))
    })
    .collect()
}

/// The process of a Run whose command line holds `text`, as that of `krt` itself does: the Run may call it otherwise.
pub(crate) fn process_of_run(text: &str, krt: &Child) -> OwnedFd {
    let mut found = processes_with(text).into_iter().filter(|(pid, _)| *pid != krt.id());
    found.next().expect("the Run has begun").1
}

/// Reads lines of a child until one that `wanted` accepts.
pub(crate) fn read_until(
    stdout: &mut BufReader<ChildStdout>,
    wanted: impl Fn(&str) -> bool,
) -> String {
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if wanted(line.trim_end()) {
            return line.trim_end().to_owned();
        }
        line.clear();
    }
    panic!("the output ended without the line");
}

/// A running `krt local up`; it ends with this process, however that ends.
pub(crate) struct Up {
    pub(crate) child: Child,
    /// Open, so that the home can write.
    _stdout: BufReader<ChildStdout>,
    lifeline: Option<ChildStdin>,
}

impl Up {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .env("KRUNTIMES_LIFELINE", "stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lifeline = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let line = read_until(&mut stdout, |line| line.starts_with("The local home is"));
        assert_eq!(line, "The local home is ready. To use it:");
        Self { child, _stdout: stdout, lifeline }
    }

    /// Ends it by a signal; the answer is its exit code.
    pub(crate) fn stop(mut self, signal: Signal) -> Option<i32> {
        send(&self.child, signal);
        self.ended()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        assert!(ends(&pidfd(self.child.id())), "krt local up did not end");
        self.child.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        drop(self.child.wait());
    }
}

/// The kubeconfig of a cluster that stands in for the shared local home.
const CLUSTER: &str = "KRUNTIMES_TEST_KUBECONFIG";

/// The home that most tests share.
pub(crate) struct Shared {
    dir: PathBuf,
    kubeconfig: PathBuf,
    /// None on a cluster.
    up: Option<Mutex<Up>>,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    // A static is never dropped, so its directory stands where the next test run replaces it.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared-home");
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(dir.join("tmp")).unwrap();
    if let Some(kubeconfig) = std::env::var_os(CLUSTER) {
        return Shared { dir, kubeconfig: kubeconfig.into(), up: None };
    }
    let up = Up::start(krt(&["local", "up"], &dir, &dir.join("data"), &dir.join("tmp")));
    let kubeconfig = dir.join("data/kruntimes/kubeconfig");
    Shared { dir, kubeconfig, up: Some(Mutex::new(up)) }
});

/// A user beside the shared home.
pub(crate) fn shared() -> &'static Shared {
    &SHARED
}

impl Shared {
    pub(crate) fn krt(&self, args: &[&str]) -> Command {
        let mut command = krt(args, &self.dir, &self.dir.join("data"), &self.dir.join("tmp"));
        if self.up.is_none() {
            command.env("KUBECONFIG", &self.kubeconfig);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        finish(&mut self.krt(args))
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Creates a Run from a manifest on stdin; the manifest needs a name of its own.
    pub(crate) fn apply(&self, manifest: &str) -> Ended {
        finish_with_input(&mut self.krt(&["run", "-f", "-"]), manifest.as_bytes())
    }
}

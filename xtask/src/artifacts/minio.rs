//! MinIO, built from its Go module once, on a loopback port, with its data in a directory that can be looked into.

use crate::cluster::place::Place;
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A commit: the releases of the module have no semantic versions.
const VERSION: &str = "v0.0.0-20260212201848-7aac2a2c5b7c";
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Nothing tells that it listens: this often it is asked.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) const BUCKET: &str = "artifacts";
pub(crate) const KEY_ID: &str = "kruntimes";
pub(crate) const SECRET_KEY: &str = "kruntimes-secret";

/// A running MinIO.
#[derive(Debug)]
pub(crate) struct Minio {
    program: PathBuf,
    child: Child,
    data: tempfile::TempDir,
    address: SocketAddr,
}

impl Minio {
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// On another address of this machine.
    pub(crate) fn start_on(address: IpAddr) -> anyhow::Result<Self> {
        let program = program()?;
        let data = tempfile::tempdir()?;
        std::fs::create_dir(data.path().join(BUCKET))?;
        let address = TcpListener::bind((address, 0))?.local_addr()?;
        let child = spawn(&program, data.path(), address)?;
        Ok(Self { program, child, data, address })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As SIGKILL from outside.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.program, self.data.path(), self.address)?;
        Ok(())
    }

    /// Where the bucket's objects are: each is a directory with the file `xl.meta`.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.data.path().join(BUCKET)
    }

    /// Where uploads in parts are: one directory a key.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.data.path().join(".minio.sys/multipart")
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

fn spawn(program: &Path, data: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    let mut child = Command::new(program)
        .arg("server")
        .arg(data)
        .args(["--quiet", "--address", &address.to_string()])
        .envs([("MINIO_ROOT_USER", KEY_ID), ("MINIO_ROOT_PASSWORD", SECRET_KEY)])
        .envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let begun = Instant::now();
    while !is_ready(address) {
        ensure!(child.try_wait()?.is_none(), "MinIO ended before it was ready");
        ensure!(begun.elapsed() < READY_WITHIN, "MinIO is not ready within {READY_WITHIN:?}");
        std::thread::sleep(LOOK);
    }
    Ok(child)
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /minio/health/cluster HTTP/1.0\r\nHost: minio\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(" 200 "))
}

/// The program, built when the cache lacks it.
fn program() -> anyhow::Result<PathBuf> {
    let directory = Place::find()?.cache(&format!("minio-{VERSION}"));
    let program = directory.join("minio");
    if program.exists() {
        return Ok(program);
    }
    println!("   building MinIO (5 minutes on two cores)");
    let partial = directory.join("partial");
    std::fs::create_dir_all(&partial)?;
    let status = Command::new("go")
        .args(["install", "-trimpath", "-ldflags", "-s -w"])
        .arg(format!("github.com/minio/minio@{VERSION}"))
        .envs([("GOFLAGS", ""), ("GOWORK", "off"), ("CGO_ENABLED", "0")])
        .env("GOBIN", &partial)
        .status()
        .context("start go, which is needed to build MinIO")?;
    ensure!(status.success(), "MinIO did not build");
    std::fs::rename(partial.join("minio"), &program)?;
    std::fs::remove_dir(&partial)?;
    Ok(program)
}

//! Settings of a Runtime Server: flags as the public API fixes them, the pod's places from the environment.

use std::net::IpAddr;
use std::path::PathBuf;

/// Where a Runtime Server listens, and where its pod's places are.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Port to listen on, on the loopback address only
    #[arg(long, default_value_t = 9091)]
    pub port: u16,
    /// Directory below which executions without a working directory get one
    #[arg(long, default_value = "/workspace")]
    pub work_dir: PathBuf,
    /// Loopback address of the pod
    #[arg(long, env = "KRUNTIMES_LOOPBACK", default_value = "127.0.0.1", hide = true)]
    pub loopback: IpAddr,
    /// Directory that stands for /workspace
    #[arg(long, env = "KRUNTIMES_WORKSPACE", hide = true)]
    pub workspace: Option<PathBuf>,
    /// Directory of the control token
    #[arg(long, env = "KRUNTIMES_CONTROL", default_value = "/var/run/kruntimes", hide = true)]
    pub control: PathBuf,
}

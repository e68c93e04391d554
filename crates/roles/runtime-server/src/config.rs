//! Settings of the Runtime Server for bash.

use crate::confine::Settings;
use std::ffi::OsString;

/// Settings of `krt serve runtime-bash`.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Where it listens, and where the pod's places are.
    #[command(flatten)]
    pub server: kruntimes_runtime_server::Config,
    /// How Runs are kept apart.
    #[command(flatten)]
    pub confine: Settings,
    /// Where bash is looked for beside the usual directories
    #[arg(long, env = "PATH", default_value = "", hide = true, hide_env_values = true)]
    pub search_path: OsString,
}

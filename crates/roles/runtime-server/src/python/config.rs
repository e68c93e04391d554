//! Settings of the Runtime Server for Python.

use crate::Settings;
use std::ffi::OsString;

/// Settings of `krt serve runtime-python`.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Where it listens, and where the pod's places are.
    #[command(flatten)]
    pub server: kruntimes_runtime_server::Config,
    /// How Runs are kept apart.
    #[command(flatten)]
    pub confine: Settings,
    /// Modules to import once, before any Run
    #[arg(long, value_name = "MODULES", value_delimiter = ',', value_parser = module)]
    pub preload: Vec<String>,
    /// The interpreter, as a name or a path; default: python3, else the newest python3.N
    #[arg(long, value_name = "PATH")]
    pub python: Option<OsString>,
    /// Where the interpreter is looked for
    #[arg(long, env = "PATH", default_value = "", hide = true, hide_env_values = true)]
    pub search_path: OsString,
}

fn module(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) || name.contains(['/', '\0']) {
        return Err(
            "not the name of a module: list them with commas, for example json,numpy".to_owned()
        );
    }
    Ok(name.to_owned())
}

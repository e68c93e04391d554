//! `krt`: the user's command line and, as `krt serve …`, every role.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap fails the test"))]

mod artifact;
mod cli;
mod client;
mod conformance;
mod doctor;
mod duration;
mod explain;
mod failure;
mod files;
mod home;
mod kubeconfig;
mod local;
mod logs;
mod memory;
mod names;
mod objects;
mod operate;
mod output;
mod pod_channel;
mod progress;
mod reference;
mod run;
mod serve;
mod show;
mod signals;
mod table;
mod through;
mod usage;
mod workflow;

use clap::{CommandFactory, Parser};
use failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = kruntimes_confine::supervise() {
        return code.into();
    }
    if cfg!(debug_assertions)
        && let Some(directory) = std::env::var_os(kruntimes_daemon::crash::VARIABLE)
    {
        kruntimes_daemon::crash::arm(directory.into());
    }
    let args: Vec<OsString> = std::env::args_os().collect();
    let answer = match cli::Cli::try_parse_from(&args) {
        Ok(cli) => client::start(cli),
        Err(error) => match usage::line(&error, &cli::Cli::command(), &args) {
            Some(line) => Err(Failure::usage(line)),
            None => help(&error),
        },
    };
    match answer {
        Ok(code) => ExitCode::from(code),
        Err(Failure { lines, code }) => {
            let progress = progress::Progress::new(false);
            for line in lines {
                progress.say(&format!("error: {line}"));
            }
            ExitCode::from(code)
        }
    }
}

/// Help and the version go to stdout: somebody asked for them.
fn help(error: &clap::Error) -> Result<u8, Failure> {
    table::print(&error.render().to_string()).map(|()| 0)
}

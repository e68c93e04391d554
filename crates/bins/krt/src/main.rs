//! `krt`: the user's command line and, as `krt serve …`, every role.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap fails the test"))]

mod cli;
mod client;
mod duration;
mod explain;
mod failure;
mod home;
mod local;
mod logs;
mod names;
mod objects;
mod output;
mod progress;
mod reference;
mod run;
mod serve;
mod show;
mod signals;
mod table;

use clap::Parser;
use cli::Command;
use failure::{Failure, SYSTEM};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let usual = match &cli.command {
        Command::Run(_) => SYSTEM,
        Command::Get(_)
        | Command::List(_)
        | Command::Cancel(_)
        | Command::Logs(_)
        | Command::Runtime(_)
        | Command::Local(_)
        | Command::Reference
        | Command::Version
        | Command::Explain { .. }
        | Command::Completion { .. }
        | Command::Serve(_) => 1,
    };
    match client::start(cli) {
        Ok(code) => ExitCode::from(code),
        Err(Failure { lines, code }) => {
            let progress = progress::Progress::new(false);
            for line in lines {
                progress.say(&format!("error: {line}"));
            }
            ExitCode::from(code.unwrap_or(usual))
        }
    }
}

//! The command line of `krt logs`; the flags are kubectl's where it has them.

use crate::{duration, names};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// `krt logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Name of the Run
    #[arg(value_parser = names::object)]
    pub(crate) name: String,
    /// Follow the output to its end
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the last lines of each stream; 0 is all
    #[arg(long, default_value_t = 0, value_name = "LINES", value_parser = crate::cli::whole::<usize>)]
    pub(crate) tail: usize,
    /// Only what was written since so long ago: 90, 5m, 1h30m
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "since_time")]
    pub(crate) since: Option<Duration>,
    /// Only what was written since this time: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since_time: Option<jiff::Timestamp>,
    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// The attempt whose output is wanted, from 1; by default the newest
    #[arg(long, value_name = "NUMBER", value_parser = attempt)]
    pub(crate) attempt: Option<i32>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "raw", conflicts_with = "timestamps")]
    pub(crate) output: LogFormat,
}

/// Formats of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// The bytes that the Run wrote, on stdout and stderr.
    Raw,
    /// A JSON object a line, all on stdout.
    Json,
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse().map_err(|_| "it takes a time like 2026-01-31T12:00:00Z".to_owned())
}

fn attempt(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|number| *number >= 1);
    number.ok_or_else(|| "attempts are counted from 1".to_owned())
}

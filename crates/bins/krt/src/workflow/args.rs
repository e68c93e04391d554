//! The command line of `krt workflow`.

use crate::cli::{GetArgs, NameArgs, Output};
use crate::names;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `krt workflow`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowCommand {
    /// Create a Workflow and follow it to its end: exit code 0 when it succeeds, 1 when it fails
    Run(RunArgs),
    /// Create a Workflow, print its name and leave
    Create(CreateArgs),
    /// List Workflows
    List(ListArgs),
    /// Show a Workflow with its jobs and steps
    Get(GetArgs),
    /// Follow a Workflow to its end
    Watch(NameArgs),
    /// Draw which job needs which
    Graph(GraphArgs),
    /// Print what the steps of a Workflow wrote
    Logs(LogsArgs),
    /// Cancel a Workflow
    Cancel(NameArgs),
    /// Let jobs start that wait for an approval; without names all of them
    Approve(ApproveArgs),
    /// Start nothing new of a Workflow; what runs goes on
    Suspend(NameArgs),
    /// Let a suspended Workflow go on
    Resume(NameArgs),
    /// Run a Workflow again, as a new one
    Rerun(RerunArgs),
    /// Delete a Workflow with its Runs
    Delete(NameArgs),
}

/// Which Workflow to create.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A Workflow manifest, or a file in GitHub's workflow syntax; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its name [default: the manifest's, else one that begins with wf-]
    #[arg(long, value_parser = names::object)]
    pub(crate) name: Option<String>,
    /// Value of an input; repeat it for more
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Have the API server check it; nothing is created
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Output format
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

/// `krt workflow run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to create.
    #[command(flatten)]
    pub(crate) create: CreateArgs,
    /// Create the Workflow, print its name and leave
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `krt workflow list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// `krt workflow graph`.
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Name of a Workflow
    #[arg(value_parser = names::object, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) name: Option<String>,
    /// A file instead of a Workflow that exists
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: GraphFormat,
}

/// Formats of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Lines for a terminal.
    Text,
    /// A picture for a browser.
    Svg,
}

/// `krt workflow logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Name of the Workflow
    #[arg(value_parser = names::object)]
    pub(crate) name: String,
    /// Follow it to its end
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the steps of this job
    #[arg(long)]
    pub(crate) job: Option<String>,
}

/// `krt workflow approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Name of the Workflow
    #[arg(value_parser = names::object)]
    pub(crate) name: String,
    /// Names of jobs [default: all that wait]
    pub(crate) jobs: Vec<String>,
}

/// `krt workflow rerun`.
#[derive(Debug, Args)]
pub(crate) struct RerunArgs {
    /// Name of the Workflow
    #[arg(value_parser = names::object)]
    pub(crate) name: String,
    /// Keep the jobs that succeeded
    #[arg(long, conflicts_with = "from")]
    pub(crate) failed: bool,
    /// Run this job again, and those that need it; keep the others that succeeded
    #[arg(long, value_name = "JOB")]
    pub(crate) from: Option<String>,
    /// Create the Workflow, print its name and leave
    #[arg(long)]
    pub(crate) no_wait: bool,
}

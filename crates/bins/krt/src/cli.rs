//! The command line: every command and flag, and nothing of what they do.

use crate::artifact::ArtifactCommand;
use crate::local::ready_made::ReadyMade;
use crate::logs::LogsArgs;
use crate::workflow::WorkflowCommand;
use crate::{duration, names};
use clap::{Args, Parser, Subcommand, ValueEnum};
use kruntimes_api::{Phase, limits};
use std::path::PathBuf;
use std::time::Duration;

/// Runs short work on warm pods.
#[derive(Debug, Parser)]
#[command(name = "krt", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Which home to talk to.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Say on stderr what happens.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which home to talk to; the flags are kubectl's.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The local home: the running one, or for `run` one that lives as long as the Run.
    #[arg(long, global = true, conflicts_with_all = ["kubeconfig", "context", "cluster", "user", "server", "token"])]
    pub(crate) local: bool,
    /// Path of the kubeconfig file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, global = true)]
    pub(crate) context: Option<String>,
    /// Cluster of the kubeconfig.
    #[arg(long, global = true)]
    pub(crate) cluster: Option<String>,
    /// User of the kubeconfig.
    #[arg(long, global = true)]
    pub(crate) user: Option<String>,
    /// Namespace; by default that of the context, else `default`.
    #[arg(short, long, global = true, value_parser = names::namespace)]
    pub(crate) namespace: Option<String>,
    /// Address of the API server instead of the kubeconfig's.
    #[arg(short, long, global = true, value_name = "URL", value_parser = url)]
    pub(crate) server: Option<http::Uri>,
    /// Bearer token instead of the kubeconfig's user.
    #[arg(long, global = true)]
    pub(crate) token: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Execute a command, a script or a Run manifest, and follow it to its end
    Run(Box<RunArgs>),
    /// Show a Run
    Get(GetArgs),
    /// List Runs
    List(ListArgs),
    /// Cancel a Run
    Cancel(NameArgs),
    /// Print what a Run wrote
    Logs(LogsArgs),
    /// List and download what Runs have left in `$KRUNTIME_ARTIFACTS_DIR`
    #[command(subcommand)]
    Artifact(ArtifactCommand),
    /// Run jobs of steps, each step a Run
    #[command(subcommand, alias = "wf")]
    Workflow(WorkflowCommand),
    /// Show Runtimes
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// A home on this machine: API server, scheduler and pods as local processes
    #[command(subcommand)]
    Local(LocalCommand),
    /// Check what krt needs of this machine and of the kubeconfig: exit code 1 when something needed is missing
    Doctor {
        /// Where a local home is or would be.
        #[command(flatten)]
        dir: DataDir,
        /// Output format
        #[arg(short, long, value_enum, default_value = "table")]
        output: Report,
    },
    /// Say where the time of a Run went or what it waits for, or what a reason means: `krt explain NoCapacity`
    Explain {
        /// A Run, or a reason of a Run or a pod; without one all reasons are listed
        #[arg(value_name = "RUN|REASON")]
        subject: Option<String>,
    },
    /// Print every command, flag and environment variable as Markdown
    Reference,
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Be one of the roles
    #[command(subcommand, hide = true)]
    Serve(Box<crate::serve::Role>),
}

/// Shells with completion.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// `krt run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Runtime to execute on [default: bash]
    #[arg(short, long, value_parser = names::runtime)]
    pub(crate) runtime: Option<String>,
    /// A Run manifest, or a script; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Git repository to fetch into the workspace, over https
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) repo_url: Option<String>,
    /// Branch, tag or full commit of the repository [default: its default branch]
    #[arg(long, value_name = "REVISION", requires = "repo_url", allow_hyphen_values = true)]
    pub(crate) commit_sha: Option<String>,
    /// File of the workspace to execute
    #[arg(long, value_name = "PATH")]
    pub(crate) entrypoint: Option<String>,
    /// Function to call, for Runtimes of Python
    #[arg(long, value_name = "MODULE.FUNCTION")]
    pub(crate) handler: Option<String>,
    /// Environment variable; repeat it for more
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Artifact of an earlier Run to put into the working directory, at PATH or its own name; repeat it for more
    #[arg(long, value_name = "NAME=RUN[:PATH]")]
    pub(crate) input: Vec<String>,
    /// End the attempt after this long: seconds, or a duration like 1m30s; 0 is no limit
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
    /// Attempts in all
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<i64>)]
    pub(crate) retry_attempts: Option<i64>,
    /// Wait before the second attempt, like 500ms; doubled for each further one
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub(crate) retry_backoff: Option<Duration>,
    /// Delete the Run this long after its end
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = duration::parse)]
    pub(crate) ttl: Option<Duration>,
    /// Create the Run, print its name and leave
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// Have the API server check the Run, print its name and leave; nothing is created
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Accepted for old scripts: waiting is the default
    #[arg(long, hide = true)]
    pub(crate) wait: bool,
    /// Output of --no-wait or --dry-run
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
    /// Command with its arguments, or with -f the script's arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people.
    Table,
    /// JSON, as the API server holds it.
    Json,
    /// YAML, as the API server holds it.
    Yaml,
    /// Only the names.
    Name,
}

/// Formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// Lines for people.
    Table,
    /// JSON for programs.
    Json,
    /// YAML for programs.
    Yaml,
}

/// `krt get`, `krt runtime get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Its name
    #[arg(value_parser = names::object)]
    pub(crate) name: String,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// `krt cancel`.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name
    #[arg(value_parser = names::object)]
    pub(crate) name: String,
}

/// `krt list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only Runs of this Runtime
    #[arg(long, value_parser = names::runtime)]
    pub(crate) runtime: Option<String>,
    /// Only Runs in this phase
    #[arg(long, value_parser = phase)]
    pub(crate) phase: Option<Phase>,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// `krt runtime`.
#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// List Runtimes
    List {
        /// In all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Output format
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Show a Runtime
    Get(GetArgs),
    /// Try every rule of the guide on a Runtime Server: exit code 1 when one is broken
    Conformance(ConformanceArgs),
}

/// `krt runtime conformance`.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// Where the server listens [default with --command: a free port of 127.0.0.1]
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "command")]
    pub(crate) endpoint: Option<String>,
    /// Shell command that starts the server; --port and --work-dir are put behind it
    #[arg(long)]
    pub(crate) command: Option<String>,
    /// File with the control token of a server that runs already
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) token_file: Option<PathBuf>,
    /// The --work-dir of a server that runs already, on this machine
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) work_dir: Option<PathBuf>,
    /// How to ask for each work: bash, python, command (arguments are a command), or a JSON file
    #[arg(long, value_name = "WORKS", default_value = "bash")]
    pub(crate) works: String,
    /// Only the rules whose id begins so
    #[arg(long, value_name = "RULE", default_value = "", hide_default_value = true)]
    pub(crate) only: String,
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Report,
}

/// `krt local`.
#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Start the local home, in the foreground unless --detach is given
    #[command(alias = "start")]
    Up {
        /// Where the home is and what it serves.
        #[command(flatten)]
        dir: DataDir,
        /// Port of the API server; 0 picks a free one
        #[arg(long, default_value_t = 0, value_parser = port)]
        port: u16,
        /// Return once it is ready, and leave it running in the background
        #[arg(short, long)]
        detach: bool,
        /// Be the home that `--detach` has started: say on stdout how the start went
        #[arg(long, hide = true)]
        detached: bool,
        /// Ready-made Runtimes; python is left out where there is no Python
        #[arg(long, value_enum, value_delimiter = ',', default_value = "bash,python")]
        runtimes: Vec<ReadyMade>,
        /// What to log: a level, or targets with levels
        #[arg(long, env = "KRUNTIMES_LOG", default_value = "warn", hide_short_help = true)]
        log: String,
        /// A pod that could not renew its Lease for so long kills what it executes
        #[arg(long, default_value_t = limits::FENCE_AFTER_SECONDS, hide = true)]
        fence_after_seconds: u64,
        /// A pod whose Lease stood unchanged for so long loses its Runs
        #[arg(long, default_value_t = limits::REAP_AFTER_SECONDS, hide = true)]
        reap_after_seconds: u64,
    },
    /// Stop the running local home
    #[command(alias = "stop")]
    Down(DataDir),
    /// Print the path of the local home's kubeconfig
    Kubeconfig(DataDir),
    /// Say whether the local home is up, since when and with what: exit code 1 when it is not
    Status {
        /// Where the home is.
        #[command(flatten)]
        dir: DataDir,
        /// Output format
        #[arg(short, long, value_enum, default_value = "table")]
        output: Report,
    },
    /// Delete all that a local home that is not running has kept: Runs, Runtimes, credentials, logs
    Reset {
        /// Where the home is.
        #[command(flatten)]
        dir: DataDir,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Where a local home keeps its state.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DataDir {
    /// Data directory [default: $XDG_DATA_HOME/kruntimes or ~/.local/share/kruntimes]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// A number without a sign.
pub(crate) fn whole<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "it takes a whole number".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 1 to 65535, or 0 for a free one".to_owned())
}

fn url(text: &str) -> Result<http::Uri, String> {
    let parsed: Option<http::Uri> = text.parse().ok();
    let usable = |url: &http::Uri| {
        url.authority().is_some() && matches!(url.scheme_str(), Some("http" | "https"))
    };
    parsed.filter(usable).ok_or_else(|| "it takes a URL like https://host:6443".to_owned())
}

fn phase(text: &str) -> Result<Phase, String> {
    Phase::ALL
        .into_iter()
        .find(|phase| phase.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| format!("the phases are {}", Phase::ALL.map(Phase::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_after_the_dashes_belong_to_the_command() {
        let cli =
            Cli::try_parse_from(["krt", "run", "--local", "--", "ls", "-f", "--local"]).unwrap();
        assert!(cli.connection.local);
        let super::Command::Run(run) = cli.command else { panic!("not a run") };
        assert_eq!(run.command, ["ls", "-f", "--local"]);
        assert_eq!(run.file, None);
    }

    #[test]
    fn local_and_a_kubeconfig_exclude_each_other() {
        assert!(Cli::try_parse_from(["krt", "--local", "--context", "x", "list"]).is_err());
    }
}

//! `krt artifact`: what Runs have left in `$KRUNTIME_ARTIFACTS_DIR`, listed and downloaded.

mod download;
mod part;
mod receive;

use crate::cli::Output;
use crate::failure::Failure;
use crate::home::Home;
use crate::names;
use crate::table::{columns, print, structured};
use kruntimes_api::{ArtifactRef, Run};
use kube::Api;
use std::path::PathBuf;

/// `krt artifact`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ArtifactCommand {
    /// List the artifacts of a Run
    List {
        /// Name of the Run
        #[arg(value_parser = names::object)]
        run: String,
        /// Output format
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Download an artifact of a Run; its size and digest are checked
    Download(DownloadArgs),
}

/// `krt artifact download`.
#[derive(Debug, clap::Args)]
pub(crate) struct DownloadArgs {
    /// Name of the Run
    #[arg(value_parser = names::object)]
    pub(crate) run: String,
    /// Name of the artifact
    pub(crate) artifact: String,
    /// Where to put it [default: its name, with .tar.gz for a directory]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Unpack a directory, into a new one of its name or that of --output
    #[arg(long)]
    pub(crate) extract: bool,
}

/// Does it.
pub(crate) async fn artifact(home: &Home, command: ArtifactCommand) -> Result<(), Failure> {
    match command {
        ArtifactCommand::List { run, output } => list(home, &run, output).await,
        ArtifactCommand::Download(args) => download::download(home, &args).await,
    }
}

async fn list(home: &Home, name: &str, output: Output) -> Result<(), Failure> {
    let refs = find(home, name).await?.status.unwrap_or_default().artifact_refs;
    if output == Output::Name {
        return print(&refs.iter().map(|one| format!("{}\n", one.name)).collect::<String>());
    }
    let object = serde_json::to_value(&refs)
        .map_err(|error| Failure::new(format!("can't print: {error}")))?;
    if let Some(text) = structured(object, output, "")? {
        return print(&text);
    }
    if refs.is_empty() {
        crate::progress::Progress::new(false).say(&format!("{name} has no artifacts."));
        return Ok(());
    }
    let row = |one: &ArtifactRef| {
        vec![
            one.name.clone(),
            one.kind.as_str().to_owned(),
            one.size_bytes.to_string(),
            one.content_type.clone().unwrap_or_default(),
            one.digest.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = refs.iter().map(row).collect();
    print(&columns(&["NAME", "TYPE", "SIZE", "CONTENT-TYPE", "DIGEST"], &rows))
}

async fn find(home: &Home, name: &str) -> Result<Run, Failure> {
    let runs: Api<Run> = Api::namespaced(home.client.clone(), &home.namespace);
    Ok(runs.get(name).await?)
}

//! `krt workflow`: Workflows from a file to their end.

mod args;
mod build;
mod change;
mod follow;
mod graph;
mod logs;
mod rerun;
mod show;
mod tree;

pub(crate) use args::WorkflowCommand;
pub(crate) use build::workflow as describe;

use crate::cli::Output;
use crate::failure::Failure;
use crate::home::Home;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{objects, table};
use args::CreateArgs;
use serde_json::{Value, json};

/// Creates the Workflow, which [`describe`] has made of the arguments, and follows it unless told otherwise.
pub(crate) async fn run(
    home: &Home,
    args: &args::RunArgs,
    object: &Value,
    signals: &mut Signals,
    progress: &Progress,
) -> Result<u8, Failure> {
    let created = create(home, &args.create, object).await?;
    if args.no_wait || args.create.dry_run {
        return told(&args.create, created).map(|()| 0);
    }
    follow::follow(home, &named(&created), signals, progress).await
}

/// Does everything else.
pub(crate) async fn ask(home: &Home, command: WorkflowCommand) -> Result<u8, Failure> {
    match command {
        WorkflowCommand::Run(args) => {
            let object = describe(&args.create)?;
            let mut signals = Signals::listen()?;
            run(home, &args, &object, &mut signals, &Progress::new(false)).await
        }
        WorkflowCommand::Create(args) => {
            let created = create(home, &args, &describe(&args)?).await?;
            told(&args, created).map(|()| 0)
        }
        WorkflowCommand::List(args) => show::list(home, &args).await.map(|()| 0),
        WorkflowCommand::Get(args) => show::get(home, &args).await.map(|()| 0),
        WorkflowCommand::Watch(args) => {
            let mut signals = Signals::listen()?;
            follow::watch(home, &args.name, &mut signals, &Progress::new(false)).await
        }
        WorkflowCommand::Graph(args) => graph::graph(home, &args).await.map(|()| 0),
        WorkflowCommand::Logs(args) => Box::pin(logs::logs(home, &args)).await.map(|()| 0),
        WorkflowCommand::Cancel(args) => {
            change::spec(home, &args.name, json!({"cancelRequested": true}), "cancelled").await
        }
        WorkflowCommand::Suspend(args) => {
            change::spec(home, &args.name, json!({"suspend": true}), "suspended").await
        }
        WorkflowCommand::Resume(args) => {
            change::spec(home, &args.name, json!({"suspend": false}), "resumed").await
        }
        WorkflowCommand::Approve(args) => change::approve(home, &args).await,
        WorkflowCommand::Rerun(args) => rerun::rerun(home, &args).await,
        WorkflowCommand::Delete(args) => change::delete(home, &args.name).await,
    }
}

async fn create(home: &Home, args: &CreateArgs, object: &Value) -> Result<Value, Failure> {
    let namespace = home.namespace_of(object)?;
    let created = if args.dry_run {
        objects::check(&home.client, &namespace, PLURAL, object).await
    } else {
        objects::create(&home.client, &namespace, PLURAL, object).await
    };
    Ok(created?)
}

fn told(args: &CreateArgs, created: Value) -> Result<(), Failure> {
    let name = table::text(&created, "/metadata/name");
    let done = if args.dry_run { " (dry run)" } else { "" };
    let text = table::structured(created, args.output.unwrap_or(Output::Table), RESOURCE)?;
    table::print(&text.unwrap_or_else(|| format!("Workflow {name} created{done}\n")))
}

/// A Workflow that exists.
struct Named {
    namespace: String,
    name: String,
}

fn named(object: &Value) -> Named {
    Named {
        namespace: table::text(object, "/metadata/namespace"),
        name: table::text(object, "/metadata/name"),
    }
}

const PLURAL: &str = "workflows";
const RESOURCE: &str = "workflow.kruntimes.io";

//! Starts the command in the async runtime that it needs: one thread for a client, two for a home, and for a Runtime
//! Server one that begins after its zygote.

use crate::cli::{Cli, Command, Connection, RuntimeCommand, Shell};
use crate::explain::Subject;
use crate::failure::Failure;
use crate::home::{Ephemeral, Home};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::workflow::WorkflowCommand;
use crate::{
    artifact, conformance, doctor, explain, local, logs, memory, reference, run, serve, show,
    table, workflow,
};
use clap::CommandFactory;
use std::future::Future;
use tokio::runtime::Builder;

/// Threads of a process that holds a home.
const HOME_THREADS: usize = 2;

/// Does what the command line says; the answer is the exit code.
pub(crate) fn start(cli: Cli) -> Result<u8, Failure> {
    let Cli { connection, verbose, command } = cli;
    match command {
        Command::Version => {
            table::print(&format!("krt {}\n", env!("CARGO_PKG_VERSION"))).map(|()| 0)
        }
        Command::Explain { subject } => match Subject::of(subject.as_deref()) {
            Subject::Reason(reason) => explain::reasons(reason.as_deref()).map(|()| 0),
            Subject::Run(name) => {
                on_one_thread(ask(connection, async |home| explain::run(home, &name).await))
                    .map(|()| 0)
            }
        },
        Command::Completion { shell } => completion(shell).map(|()| 0),
        Command::Reference => table::print(&reference::markdown(Cli::command())).map(|()| 0),
        Command::Serve(role) => serve::start(*role).map(|()| 0),
        Command::Local(command) => local::start(command, verbose),
        Command::Doctor { dir, output } => doctor::doctor(&connection, &dir, output),
        Command::Run(args) => {
            // A command line that is wrong starts no home.
            let object = run::describe(&args)?;
            let work = async move {
                let mut signals = Signals::listen()?;
                let progress = Progress::new(verbose);
                let runtime = table::text(&object, "/spec/runtime");
                let home = Home::choose(&connection, Ephemeral::Start(&runtime)).await?;
                let code = run::run(&home, &args, object, &mut signals, &progress).await;
                let code = code.map_err(|failure| failure.of_server(&home.server));
                home.close().await;
                code
            };
            // `--local` may hold a whole home in this process.
            on_threads(work)
        }
        Command::Workflow(WorkflowCommand::Run(args)) => {
            let object = workflow::describe(&args.create)?;
            let work = async move {
                let mut signals = Signals::listen()?;
                let progress = Progress::new(verbose);
                let home = Home::choose(&connection, Ephemeral::Start("bash")).await?;
                let code = workflow::run(&home, &args, &object, &mut signals, &progress).await;
                let code = code.map_err(|failure| failure.of_server(&home.server));
                home.close().await;
                code
            };
            on_threads(work)
        }
        Command::Workflow(command) => {
            on_one_thread(ask(connection, async |home| workflow::ask(home, command).await))
        }
        Command::Runtime(RuntimeCommand::Conformance(args)) => conformance::start(args),
        command @ (Command::Get(_)
        | Command::List(_)
        | Command::Cancel(_)
        | Command::Logs(_)
        | Command::Artifact(_)
        | Command::Runtime(_)) => {
            on_one_thread(ask(connection, async |home| ask_home(home, command).await)).map(|()| 0)
        }
    }
}

async fn ask<T>(
    connection: Connection,
    work: impl AsyncFnOnce(&Home) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let home = Home::choose(&connection, Ephemeral::Refuse).await?;
    let end = work(&home).await;
    end.map_err(|failure| failure.of_server(&home.server))
}

async fn ask_home(home: &Home, command: Command) -> Result<(), Failure> {
    match command {
        Command::Get(args) => show::get_run(home, &args).await,
        Command::List(args) => show::list_runs(home, &args).await,
        Command::Cancel(args) => show::cancel(home, &args).await,
        Command::Logs(args) => logs::logs(home, &args).await,
        Command::Artifact(command) => artifact::artifact(home, command).await,
        Command::Runtime(RuntimeCommand::List { all_namespaces, output }) => {
            show::list_runtimes(home, all_namespaces, output).await
        }
        Command::Runtime(RuntimeCommand::Get(args)) => show::get_runtime(home, &args).await,
        Command::Run(_)
        | Command::Runtime(RuntimeCommand::Conformance(_))
        | Command::Local(_)
        | Command::Workflow(_)
        | Command::Reference
        | Command::Version
        | Command::Doctor { .. }
        | Command::Explain { .. }
        | Command::Completion { .. }
        | Command::Serve(_) => Ok(()),
    }
}

fn completion(shell: Shell) -> Result<(), Failure> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(generator, &mut command, "krt", &mut script);
    table::print(&String::from_utf8_lossy(&script))
}

/// For clients and small roles.
pub(crate) fn on_one_thread<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    install_tls();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(work);
    // A thread that still reads the lifeline or writes to a blocked stdout does not keep the process.
    runtime.shutdown_background();
    end
}

/// For a process that holds a home.
pub(crate) fn on_threads<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    install_tls();
    memory::limit();
    let runtime = Builder::new_multi_thread().worker_threads(HOME_THREADS).enable_all().build()?;
    runtime.spawn(memory::keep_trimmed());
    let work = runtime.spawn(work);
    let end =
        runtime.block_on(work).map_err(|error| Failure::new(format!("internal error: {error}")))?;
    runtime.shutdown_background();
    end
}

/// rustls has no provider of its own choice.
fn install_tls() {
    // An error means that one stands already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

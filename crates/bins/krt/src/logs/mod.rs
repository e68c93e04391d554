//! `krt logs`: what a Run wrote, from its pod, also after its end, and from the archive when its pod has it no more.

pub(crate) mod archive;
mod args;
mod lines;

pub(crate) use args::LogsArgs;

use crate::failure::{Failure, chain};
use crate::home::Home;
use crate::output::{OutputError, Patience, Piece, Reader, Target};
use jiff::Timestamp;
use kruntimes_api::{Phase, Run};
use kube::Api;
use kube::runtime::wait::await_condition;
use lines::Printer;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Without `--follow` a running Run's output ends where nothing comes for this long.
const QUIET: Duration = Duration::from_millis(300);
/// What was written before takes no longer than this to come from a pod on this machine.
const REPLAY: Duration = Duration::from_secs(2);
/// No limit.
const FOREVER: Duration = Duration::MAX;
/// How long the end of an attempt may take from its output's end to its status.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the pod may take to answer.
const FIRST: Duration = Duration::from_secs(10);

/// Prints the output of the newest attempt.
pub(crate) async fn logs(home: &Home, args: &LogsArgs) -> Result<(), Failure> {
    let runs: Api<Run> = Api::namespaced(home.client.clone(), &home.namespace);
    let mut run = runs.get(&args.name).await?;
    if args.follow && target(&run).is_none() && !run.phase().is_terminal() {
        let started = |run: Option<&Run>| {
            run.is_none_or(|run| target(run).is_some() || run.phase().is_terminal())
        };
        let found = await_condition(runs.clone(), &args.name, started).await;
        run = found
            .map_err(|error| Failure::new(chain(&error)))?
            .ok_or_else(|| Failure::new(format!("{} was deleted", args.name)))?;
    }
    let newest = run.status.as_ref().and_then(|status| status.attempt).unwrap_or(0);
    let attempt = args.attempt.unwrap_or(newest);
    if attempt > newest {
        let name = &args.name;
        return Err(Failure::new(format!(
            "{name} has no attempt {attempt}: the newest is {newest}"
        )));
    }
    match target(&run) {
        Some(target) if attempt == newest => of_pod(home, &runs, &run, target, args).await,
        None if newest == 0 => {
            let why = run.status.as_ref().and_then(|status| status.message.clone());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            Err(Failure::new(format!("{} has no pod, it is {}{why}", args.name, run.phase())))
        }
        Some(_) | None => {
            let printer = Printer::new(args, attempt, Timestamp::now());
            archive::print(home, &run, attempt, printer).await
        }
    }
}

/// The output of the newest attempt, as its pod has it.
async fn of_pod(
    home: &Home,
    runs: &Api<Run>,
    run: &Run,
    target: Target,
    args: &LogsArgs,
) -> Result<(), Failure> {
    let (ended, attempt) = (run.phase().is_terminal(), target.attempt);
    let patience = if ended { Patience::Once } else { Patience::Retry };
    let mut reader =
        Reader::new(Api::namespaced(home.client.clone(), &home.namespace), target, patience);
    let printer = Printer::new(args, attempt, Timestamp::now());
    match print(&mut reader, printer, args, ended).await {
        Ok(()) => {}
        Err(error) if ended && error.is_final() && reader.is_at_the_beginning() => {
            let printer = Printer::new(args, attempt, Timestamp::now());
            return archive::print(home, run, attempt, printer).await;
        }
        Err(error) => return Err(Failure::new(format!("{}: {error}", args.name))),
    }
    if args.follow && !ended {
        until_settled(runs.clone(), &args.name, attempt).await;
    }
    Ok(())
}

/// Waits until the end whose output was followed stands in the status: the next command is to see it. What keeps it
/// longer than [`SETTLED`] is nothing that a reader of logs waits for.
async fn until_settled(runs: Api<Run>, name: &str, attempt: i32) {
    let settled = |run: Option<&Run>| {
        run.is_none_or(|run| {
            let newest = run.status.as_ref().and_then(|status| status.attempt).unwrap_or(0);
            run.phase().is_terminal() || run.phase() == Phase::Pending || newest > attempt
        })
    };
    drop(timeout(SETTLED, await_condition(runs, name, settled)).await);
}

fn target(run: &Run) -> Option<Target> {
    Target::of(run.metadata.uid.as_deref().unwrap_or_default(), run.status.as_ref()?)
}

async fn print(
    reader: &mut Reader,
    mut printer: Printer,
    args: &LogsArgs,
    ended: bool,
) -> Result<(), OutputError> {
    let mut limit = FIRST;
    let mut dropped = 0;
    // What a running Run wrote before is here at the first silence, or at the latest then.
    let mut live_from = None;
    loop {
        let late = live_from.is_some_and(|time| Instant::now() >= time);
        let piece = if late { None } else { timeout(limit, reader.next()).await.ok() };
        match piece {
            None if live_from.is_none() && limit == FIRST && !args.follow => {
                return Err(OutputError::Other("its pod does not answer".to_owned()));
            }
            None if !args.follow => break,
            None => {
                printer.release().await;
                (limit, live_from) = (FOREVER, None);
            }
            Some(piece) => match piece? {
                None => break,
                Some(Piece::Connected) if ended || limit == FOREVER => limit = FOREVER,
                Some(Piece::Connected) => {
                    (limit, live_from) = (QUIET, Some(Instant::now() + REPLAY));
                }
                Some(Piece::Exited(exited)) => dropped = exited.dropped_bytes,
                Some(Piece::Output(bytes)) => printer.push(bytes).await,
            },
        }
    }
    printer.finish(dropped, Timestamp::now()).await;
    Ok(())
}

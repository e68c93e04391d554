//! `krt run`: creates a Run and follows it to its end.

mod build;
mod ending;
mod follow;
mod why;

use crate::cli::{Output, RunArgs};
use crate::failure::Failure;
use crate::home::Home;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{objects, table};
use serde_json::Value;

pub(crate) use build::run as describe;
pub(crate) use ending::CANCELLED;
pub(crate) use why::waits_for;

/// Creates the Run, which [`describe`] has made of the arguments; the answer is krt's exit code.
pub(crate) async fn run(
    home: &Home,
    args: &RunArgs,
    mut object: Value,
    signals: &mut Signals,
    progress: &Progress,
) -> Result<u8, Failure> {
    build::stamp(&mut object, jiff::Timestamp::now());
    let namespace = home.namespace_of(&object)?;
    let created = if args.dry_run {
        objects::check(&home.client, &namespace, "runs", &object).await
    } else {
        objects::create(&home.client, &namespace, "runs", &object).await
    };
    let created = created.map_err(|error| named(error, &object, &namespace))?;
    match (args.dry_run, args.no_wait) {
        (true, _) => show(created, args.output.unwrap_or(Output::Table), "created (dry run)"),
        (false, true) => show(created, args.output.unwrap_or(Output::Name), "created"),
        (false, false) => follow::follow(home, &namespace, &created, signals, progress).await,
    }
}

/// Prints a Run that is not followed.
fn show(created: Value, output: Output, done: &str) -> Result<u8, Failure> {
    let name = table::text(&created, "/metadata/name");
    let text = table::structured(created, output, objects::RUN_RESOURCE)?;
    table::print(&text.unwrap_or_else(|| format!("{}/{name} {done}\n", objects::RUN_RESOURCE)))?;
    Ok(0)
}

fn named(error: kube::Error, object: &Value, namespace: &str) -> Failure {
    if !matches!(&error, kube::Error::Api(status) if status.reason == "AlreadyExists") {
        return error.into();
    }
    let name = table::text(object, "/metadata/name");
    Failure::new(format!(
        "Run {name:?} already exists in namespace {namespace:?}: delete it, or use metadata.generateName"
    ))
}

//! The output of an attempt from the store of its Runtime, where its pod has put it when it had ended.

use super::lines::Printer;
use crate::failure::Failure;
use crate::home::Home;
use crate::output::{ATTEMPT_METADATA, Bytes, RUN_METADATA, time};
use crate::pod_channel::PodChannel;
use crate::through;
use jiff::Timestamp;
use kruntimes_api::Run;
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::runtime_events_client::RuntimeEventsClient;
use kruntimes_proto::executor::v1::{ExecutionEvent, WatchRequest};
use kruntimes_proto::{ARCHIVE_METADATA, TOKEN_METADATA};
use kube::ResourceExt;
use tonic::{Code, Request, Status, Streaming};

/// Prints what is kept of an attempt, through the first pod that has it.
pub(super) async fn print(
    home: &Home,
    run: &Run,
    attempt: i32,
    printer: Printer,
) -> Result<(), Failure> {
    let gone = |why: &str| {
        let name = run.name_any();
        Failure::new(format!("the output of attempt {attempt} of {name} can't be had: {why}"))
    };
    match open(home, run, attempt).await? {
        Ok(events) => follow(events, printer).await.map_err(|status| gone(status.message())),
        Err(why) => Err(gone(&why)),
    }
}

/// What is kept of an attempt, or why it can't be had.
pub(crate) async fn open(
    home: &Home,
    run: &Run,
    attempt: i32,
) -> Result<Result<Streaming<ExecutionEvent>, String>, Failure> {
    let runtime = &run.spec.runtime;
    let mut why = format!(
        "its pod has it no more, and no pod of the Runtime {runtime} is ready, through which its archive is read: `krt runtime get {runtime}` says what it lacks; if it is gone, \
         a Runtime of this name with the same spec.artifactStore gives it out again"
    );
    for sender in through::senders(home, run).await? {
        let channel = match sender.connect(home).await {
            Ok(channel) => channel,
            Err(error) => {
                why = format!("{sender}: {error}");
                continue;
            }
        };
        match ask(channel, home, run, attempt).await {
            Ok(events) => return Ok(Ok(events)),
            Err(status) => why = explained(&status, runtime),
        }
    }
    Ok(Err(why))
}

fn explained(status: &Status, runtime: &str) -> String {
    let (code, message) = (status.code(), status.message());
    if code == Code::NotFound {
        return format!(
            "its pod has it no more, and {message} in the artifact store: it has written nothing, or its pod ended before it could keep it"
        );
    }
    if code == Code::FailedPrecondition {
        return format!(
            "its pod has it no more, and {message}, which would keep it: see spec.artifactStore of the Runtime {runtime}"
        );
    }
    format!("{code:?}: {message}")
}

async fn ask(
    PodChannel { channel, token }: PodChannel,
    home: &Home,
    run: &Run,
    attempt: i32,
) -> Result<Streaming<ExecutionEvent>, Status> {
    let text = |text: &str| text.parse().map_err(|_| Status::internal("the Run's name is no text"));
    let mut request = Request::new(WatchRequest { resume_after: 0 });
    let metadata = request.metadata_mut();
    metadata.insert(TOKEN_METADATA, token);
    metadata.insert(ARCHIVE_METADATA, text(&format!("{}/{}", home.namespace, run.name_any()))?);
    metadata.insert(RUN_METADATA, text(run.metadata.uid.as_deref().unwrap_or_default())?);
    metadata.insert(ATTEMPT_METADATA, attempt.into());
    let events = RuntimeEventsClient::new(channel).watch(request).await?;
    Ok(events.into_inner())
}

async fn follow(mut events: Streaming<ExecutionEvent>, mut printer: Printer) -> Result<(), Status> {
    let mut dropped = 0;
    while let Some(event) = events.message().await? {
        let time = time(event.time_unix_nano);
        match event.event {
            Some(Event::Output(output)) => {
                printer.push(Bytes { stream: output.stream, time, data: output.data }).await;
            }
            Some(Event::Exited(exited)) => dropped = exited.dropped_bytes,
            Some(Event::Started(_)) | None => {}
        }
    }
    printer.finish(dropped, Timestamp::now()).await;
    Ok(())
}

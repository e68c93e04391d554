//! The server's process, and who may call it.

use super::calls::list;
use super::{Checked, Stop, ensure, refused};
use crate::server::END_WITHIN;
use crate::subject::{ANSWER_WITHIN, Answer, Subject, signed, within};
use kruntimes_proto::executor::v1::{
    CancelRequest, ExecuteRequest, ForgetRequest, HealthRequest, ListRequest, RenewRequest,
    StatusRequest, WatchRequest,
};
use rustix::process::Signal;
use std::time::Duration;
use tonic::{Code, Response, Status};

pub(super) async fn token(subject: &mut Subject) -> Checked {
    let Some(token) = subject.token.clone() else {
        return Err(Stop::Skip("it takes the token: give --token-file or --command".to_owned()));
    };
    let mut runtime = subject.runtime.clone();
    let open = runtime.health(signed(HealthRequest {}, None)).await;
    if open.is_ok() {
        return Err(Stop::Skip(
            "the server answers without a token: Runs of its pod may call it".to_owned(),
        ));
    }
    let half = &token[..token.len() / 2];
    let longer = format!("{token}x");
    for wrong in [None, Some(""), Some("wrong"), Some(half), Some(&longer)] {
        for (call, answer) in every_call(subject, wrong).await {
            let what = format!("{call} with the token {:?}", wrong.map(|_| "that is wrong"));
            refused(&what, answer, Code::Unauthenticated)?;
        }
    }
    Ok(())
}

/// What each call answers to this token.
async fn every_call(subject: &Subject, token: Option<&str>) -> Vec<(&'static str, Answer<()>)> {
    let (mut runtime, mut events) = (subject.runtime.clone(), subject.events.clone());
    let id = || "conformance".to_owned();
    let mut answers = Vec::new();
    macro_rules! call {
        ($client:ident.$call:ident($message:expr)) => {
            let request = signed($message, token);
            let call = $client.$call(request);
            answers.push((
                stringify!($call),
                nothing(within(stringify!($call), ANSWER_WITHIN, call).await),
            ));
        };
    }
    call!(runtime.health(HealthRequest {}));
    call!(runtime.execute(ExecuteRequest { id: id(), ..ExecuteRequest::default() }));
    call!(runtime.status(StatusRequest { id: id() }));
    call!(runtime.list(ListRequest {}));
    call!(runtime.cancel(CancelRequest { id: id() }));
    call!(runtime.forget(ForgetRequest { id: id() }));
    for (call, answer) in [
        (
            "watch",
            nothing(
                within(
                    "watch",
                    ANSWER_WITHIN,
                    events.watch(signed(WatchRequest::default(), token)),
                )
                .await,
            ),
        ),
        (
            "renew",
            nothing(
                within(
                    "renew",
                    ANSWER_WITHIN,
                    events.renew(signed(RenewRequest::default(), token)),
                )
                .await,
            ),
        ),
    ] {
        // What is not served guards nothing.
        if !matches!(&answer, Ok(Err(status)) if status.code() == Code::Unimplemented) {
            answers.push((call, answer));
        }
    }
    answers
}

fn nothing<T>(answer: Result<Result<Response<T>, Status>, Stop>) -> Answer<()> {
    answer.map(|answer| answer.map(|_| Response::new(())))
}

pub(super) async fn restarted(subject: &mut Subject) -> Checked {
    let ids = ended_and_running(subject).await?;
    if let Some(server) = &mut subject.server {
        server.end(Signal::KILL).await;
    }
    subject
        .start_server()
        .await
        .map_err(|error| Stop::Fail(format!("it does not start: {error}")))?;
    for id in &ids {
        refused("Status of a former execution", subject.try_status(id).await, Code::NotFound)?;
    }
    let entries = list(subject).await?;
    ensure(entries.is_empty(), || format!("List has {} entries", entries.len()))?;
    let work = subject.works.succeed.clone();
    let request = subject.request(work, "succeed")?;
    subject.run(&request).await.map(drop)
}

async fn ended_and_running(subject: &mut Subject) -> Result<[String; 2], Stop> {
    if subject.server.is_none() {
        return Err(no_command());
    }
    let (last, succeed) = (subject.works.last.clone(), subject.works.succeed.clone());
    let running = subject.request(last, "last")?;
    let ended = subject.request(succeed, "succeed")?;
    subject.execute(&running).await?;
    subject.run(&ended).await?;
    Ok([running.id, ended.id])
}

pub(super) async fn terminated(subject: &mut Subject) -> Checked {
    if subject.server.is_none() {
        return Err(no_command());
    }
    let work = subject.works.hold.clone();
    let alive = match work {
        Some(work) => {
            let request = subject.request(Some(work), "hold")?;
            let alive = subject.alive(&request)?;
            subject.execute(&request).await?;
            alive.held().await?;
            Some(alive)
        }
        None => None,
    };
    let Some(server) = &mut subject.server else { return Err(no_command()) };
    let ended = server.end(Signal::TERM).await;
    ensure(ended, || format!("it did not end within {END_WITHIN:?}"))?;
    match alive {
        Some(alive) => alive.dead(Duration::from_secs(1), "after the end of the server").await,
        None => Ok(()),
    }
}

fn no_command() -> Stop {
    Stop::Skip("the kit ends only a server that it has started: give --command".to_owned())
}

//! Execute, Status, List, Forget and Health, as long as nothing is wrong.

use super::{Checked, Stop, answered, ensure, refused};
use crate::subject::{ANSWER_WITHIN, Subject, has_ended, said, within};
use kruntimes_proto::executor::v1::{ExecutionState, HealthRequest, ListRequest, StatusResponse};
use std::time::Duration;
use tonic::Code;

const HEALTH_WITHIN: Duration = Duration::from_secs(2);
const KEPT: usize = 32;
const AT_ONCE: usize = 8;

pub(super) async fn health(subject: &mut Subject) -> Checked {
    if let Some(last) = subject.works.last.clone() {
        let request = subject.request(Some(last), "last")?;
        subject.execute(&request).await?;
    }
    let request = subject.sign(HealthRequest {});
    let answer = within("Health", HEALTH_WITHIN, subject.runtime.health(request)).await;
    let health = answered("Health", answer)?;
    ensure(health.healthy, || format!("it is not healthy: {}", health.message))
}

pub(super) async fn answers_at_once(subject: &mut Subject) -> Checked {
    let work = subject.works.last.clone();
    let request = subject.request(work, "last")?;
    subject.execute(&request).await
}

pub(super) async fn running(subject: &mut Subject) -> Checked {
    let work = subject.works.last.clone();
    let request = subject.request(work, "last")?;
    subject.execute(&request).await?;
    let first = subject.status(&request.id).await?;
    let early = matches!(first.state(), ExecutionState::Pending | ExecutionState::Running);
    ensure(early && first.id == request.id, || format!("at first it is {}", shown(&first)))?;
    let runs = |status: &StatusResponse| status.state() == ExecutionState::Running;
    subject.until(&request.id, "it is not RUNNING", runs).await.map(drop)
}

pub(super) async fn succeeded(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let request = subject.request(work, "succeed")?;
    let end = subject.run(&request).await?;
    let well = end.state() == ExecutionState::Succeeded
        && end.exit_code == 0
        && end.error_message.is_empty()
        && end.id == request.id;
    ensure(well, || format!("it ended as {}", shown(&end)))
}

pub(super) async fn failed(subject: &mut Subject) -> Checked {
    let work = subject.works.fail.clone();
    let code = work.as_ref().map_or(0, |work| work.exit_code);
    let request = subject.request(work, "fail")?;
    let end = subject.run(&request).await?;
    let well = end.state() == ExecutionState::Failed && end.exit_code == code;
    ensure(well, || format!("it ended as {}", shown(&end)))
}

pub(super) async fn unknown(subject: &mut Subject) -> Checked {
    let id = subject.fresh_id();
    refused("Status", subject.try_status(&id).await, Code::NotFound)?;
    refused("Cancel", subject.cancel(&id).await, Code::NotFound)?;
    refused("Forget", subject.forget(&id).await, Code::NotFound)
}

pub(super) async fn no_twins(subject: &mut Subject) -> Checked {
    let (hold, succeed) = (subject.works.hold.clone(), subject.works.succeed.clone());
    let former = subject.request(hold, "hold")?;
    let mut latter = subject.request(succeed, "succeed")?;
    latter.id.clone_from(&former.id);
    let alive = subject.alive(&former)?;
    subject.execute(&former).await?;
    alive.held().await?;
    match subject.try_execute(&latter).await? {
        Ok(_) => {
            alive.dead(Duration::from_secs(1), "after the next Execute was answered").await?;
            let end = subject.end(&latter.id).await?;
            let is_latter = end.state() == ExecutionState::Succeeded;
            ensure(is_latter, || format!("the id stands for the former: {}", shown(&end)))
        }
        Err(status) if status.code() == Code::AlreadyExists => {
            let first = subject.status(&former.id).await?;
            ensure(!has_ended(&first), || format!("the former was harmed: {}", shown(&first)))
        }
        Err(status) => Err(Stop::Fail(format!("the second was refused: {}", said(&status)))),
    }
}

pub(super) async fn id_again(subject: &mut Subject) -> Checked {
    let (fail, succeed) = (subject.works.fail.clone(), subject.works.succeed.clone());
    let first = subject.request(fail, "fail")?;
    let mut second = subject.request(succeed, "succeed")?;
    second.id.clone_from(&first.id);
    subject.run(&first).await?;
    answered("Forget", subject.forget(&first.id).await)?;
    let end = subject.run(&second).await?;
    ensure(end.state() == ExecutionState::Succeeded, || {
        format!("after Forget it ended as {}", shown(&end))
    })?;
    answered("Cancel", subject.cancel(&first.id).await)?;
    let end = subject.run(&first).await?;
    ensure(end.state() == ExecutionState::Failed, || {
        format!("after Cancel it ended as {}", shown(&end))
    })
}

pub(super) async fn many(subject: &mut Subject) -> Checked {
    let mut requests = Vec::new();
    for number in 0..AT_ONCE {
        let work = subject.works.talk.clone();
        let mut request = subject.request(work, "talk")?;
        request.env.insert("CONFORMANCE".to_owned(), number.to_string());
        subject.execute(&request).await?;
        requests.push(request);
    }
    for request in &requests {
        let ready = |status: &StatusResponse| status.stdout.trim() == "ready";
        let what = format!("one of {AT_ONCE} executions did not print \"ready\", once,");
        let status = subject.until(&request.id, &what, ready).await?;
        ensure(!has_ended(&status), || format!("one ended: {}", shown(&status)))?;
    }
    Ok(())
}

pub(super) async fn listed(subject: &mut Subject) -> Checked {
    let (last, succeed) = (subject.works.last.clone(), subject.works.succeed.clone());
    let running = subject.request(last, "last")?;
    let ended = subject.request(succeed, "succeed")?;
    subject.execute(&running).await?;
    subject.run(&ended).await?;
    let entries = list(subject).await?;
    let of = |id: &str| entries.iter().filter(|entry| entry.id == id).collect::<Vec<_>>();
    let (first, second) = (of(&running.id), of(&ended.id));
    ensure(first.len() == 1 && second.len() == 1, || {
        format!("the running one is there {} times, the ended one {}", first.len(), second.len())
    })?;
    ensure(!has_ended(first[0]) && has_ended(second[0]), || {
        format!("they are {} and {}", shown(first[0]), shown(second[0]))
    })
}

pub(super) async fn kept(subject: &mut Subject) -> Checked {
    let mut ids = Vec::new();
    for _ in 0..KEPT {
        let work = subject.works.succeed.clone();
        let request = subject.request(work, "succeed")?;
        subject.execute(&request).await?;
        ids.push(request.id);
    }
    for id in &ids {
        subject.end(id).await?;
    }
    for id in &ids {
        let end = subject.status(id).await?;
        ensure(end.state() == ExecutionState::Succeeded, || format!("one is {}", shown(&end)))?;
    }
    Ok(())
}

pub(super) async fn forget_running(subject: &mut Subject) -> Checked {
    let work = subject.works.last.clone();
    let request = subject.request(work, "last")?;
    subject.execute(&request).await?;
    refused("Forget", subject.forget(&request.id).await, Code::FailedPrecondition)?;
    let status = subject.status(&request.id).await?;
    ensure(!has_ended(&status), || format!("it ended: {}", shown(&status)))
}

pub(super) async fn forgotten(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let request = subject.request(work, "succeed")?;
    subject.run(&request).await?;
    answered("Forget", subject.forget(&request.id).await)?;
    gone(subject, &request.id).await
}

/// Neither Status nor List knows it.
pub(super) async fn gone(subject: &mut Subject, id: &str) -> Checked {
    refused("Status", subject.try_status(id).await, Code::NotFound)?;
    let entries = list(subject).await?;
    ensure(entries.iter().all(|entry| entry.id != id), || "List has it still".to_owned())
}

pub(super) async fn list(subject: &mut Subject) -> Result<Vec<StatusResponse>, Stop> {
    let request = subject.sign(ListRequest {});
    let answer = within("List", ANSWER_WITHIN, subject.runtime.list(request)).await;
    answered("List", answer).map(|list| list.entries)
}

/// A status in a few words.
pub(super) fn shown(status: &StatusResponse) -> String {
    let message: String = status.error_message.chars().take(100).collect();
    format!("{} with exit code {} and {message:?}", status.state().as_str_name(), status.exit_code)
}

//! Cancel, and what must be dead when it is answered.

use super::calls::{gone, list};
use super::{Checked, answered, ensure};
use crate::subject::Subject;
use kruntimes_proto::executor::v1::{HealthRequest, StatusResponse};
use std::time::Duration;
use tokio::time::Instant;

/// A call beside a Cancel; a server that does one at a time takes as long as the Cancel.
const BESIDE: Duration = Duration::from_secs(1);
const HEAD_START: Duration = Duration::from_millis(200);

pub(super) async fn dropped(subject: &mut Subject) -> Checked {
    let work = subject.works.last.clone();
    let request = subject.request(work, "last")?;
    subject.execute(&request).await?;
    answered("Cancel", subject.cancel(&request.id).await)?;
    gone(subject, &request.id).await
}

pub(super) async fn ended(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let request = subject.request(work, "succeed")?;
    subject.run(&request).await?;
    answered("Cancel", subject.cancel(&request.id).await)?;
    gone(subject, &request.id).await
}

pub(super) async fn stubborn(subject: &mut Subject) -> Checked {
    let id = start_stubborn(subject).await?;
    answered("Cancel", subject.cancel(&id).await)?;
    gone(subject, &id).await
}

pub(super) async fn tree(subject: &mut Subject) -> Checked {
    let work = subject.works.hold.clone();
    let request = subject.request(work, "hold")?;
    let alive = subject.alive(&request)?;
    subject.execute(&request).await?;
    alive.held().await?;
    answered("Cancel", subject.cancel(&request.id).await)?;
    alive.dead(Duration::from_millis(500), "after Cancel was answered").await
}

pub(super) async fn at_once(subject: &mut Subject) -> Checked {
    let id = start_stubborn(subject).await?;
    let mut other = subject.runtime.clone();
    let health = subject.sign(HealthRequest {});
    let beside = async {
        // The Cancel goes first; that it has begun shows in nothing.
        tokio::time::sleep(HEAD_START).await;
        let started = Instant::now();
        other.health(health).await.map(|_| started.elapsed())
    };
    let (cancelled, took) = tokio::join!(subject.cancel(&id), beside);
    answered("Cancel", cancelled)?;
    let took = answered("Health", Ok(took.map(tonic::Response::new)))?;
    ensure(took < BESIDE, || format!("Health took {took:?} beside a Cancel"))?;
    list(subject).await.map(drop)
}

async fn start_stubborn(subject: &mut Subject) -> Result<String, super::Stop> {
    let work = subject.works.stubborn.clone();
    let request = subject.request(work, "stubborn")?;
    subject.execute(&request).await?;
    let ready = |status: &StatusResponse| status.stdout.contains("ready");
    subject.until(&request.id, "it did not print \"ready\"", ready).await?;
    Ok(request.id)
}

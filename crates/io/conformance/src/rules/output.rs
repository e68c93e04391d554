//! What an execution prints, as Status and List show it.

use super::calls::{list, shown};
use super::{Checked, ensure};
use crate::subject::{Subject, has_ended};
use kruntimes_proto::executor::v1::{ExecutionState, StatusResponse};

/// Every server keeps at least this much of a stream.
const AT_LEAST: usize = 64 * 1024;
/// No server keeps more of one; a note that it goes on has room besides.
const AT_MOST: usize = 1024 * 1024 + 1024;
/// So many full outputs are more than a message holds.
const FLOODS: usize = 5;

pub(super) async fn streams(subject: &mut Subject) -> Checked {
    let work = subject.works.print.clone();
    let request = subject.request(work, "print")?;
    let end = subject.run(&request).await?;
    ensure(end.stdout.trim() == "out" && end.stderr.trim() == "err", || {
        format!("stdout is {:?} and stderr {:?}", start(&end.stdout), start(&end.stderr))
    })
}

pub(super) async fn live(subject: &mut Subject) -> Checked {
    let work = subject.works.talk.clone();
    let request = subject.request(work, "talk")?;
    subject.execute(&request).await?;
    let ready = |status: &StatusResponse| status.stdout.contains("ready");
    let status = subject
        .until(&request.id, "Status did not show \"ready\"", |status| {
            ready(status) || has_ended(status)
        })
        .await?;
    ensure(!has_ended(&status), || format!("it ended: {}", shown(&status)))
}

pub(super) async fn any_bytes(subject: &mut Subject) -> Checked {
    let work = subject.works.bytes.clone();
    let request = subject.request(work, "bytes")?;
    let end = subject.run(&request).await?;
    ensure(end.state() == ExecutionState::Succeeded, || format!("it ended as {}", shown(&end)))?;
    ensure(end.stdout.trim() == "a\u{fffd}b", || format!("stdout is {:?}", start(&end.stdout)))
}

pub(super) async fn bounded(subject: &mut Subject) -> Checked {
    let work = subject.works.flood.clone();
    let request = subject.request(work, "flood")?;
    let end = subject.run(&request).await?;
    ensure(end.state() == ExecutionState::Succeeded, || format!("it ended as {}", shown(&end)))?;
    let kept = end.stdout.len();
    ensure((AT_LEAST..=AT_MOST).contains(&kept), || format!("{kept} bytes are kept"))?;
    let first = end.stdout.bytes().take(AT_LEAST).all(|byte| byte == b'x');
    ensure(first, || format!("stdout begins with {:?}", start(&end.stdout)))
}

pub(super) async fn list_bounded(subject: &mut Subject) -> Checked {
    let mut ids = Vec::new();
    for _ in 0..FLOODS {
        let work = subject.works.flood.clone();
        let request = subject.request(work, "flood")?;
        subject.run(&request).await?;
        ids.push(request.id);
    }
    let entries = list(subject).await?;
    let there = ids.iter().all(|id| entries.iter().any(|entry| entry.id == *id));
    ensure(there, || "List has not all of them".to_owned())
}

fn start(text: &str) -> String {
    text.chars().take(60).collect()
}

//! RuntimeEvents: the optional service that pushes what Status would have to be polled for.

use super::calls::shown;
use super::{Checked, Stop, ensure, refused};
use crate::subject::{ANSWER_WITHIN, Subject, has_ended, said, within};
use kruntimes_proto::executor::v1::execution_event::Event;
use kruntimes_proto::executor::v1::{
    ExecutionEvent, ExecutionExited, RenewRequest, RenewResponse, WatchRequest,
};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Code, Streaming};

/// Bytes that one event may carry.
const PIECE: usize = 64 * 1024;
/// What the work `flood` prints at least.
const FLOOD: usize = 2 * 1024 * 1024;
/// A renewal that runs out while the kit waits.
const SHORT: Duration = Duration::from_millis(700);
/// One that outlasts the kit.
const LONG: Duration = Duration::from_hours(1);

pub(super) async fn optional(subject: &mut Subject) -> Checked {
    let watch = match open(subject, 0).await? {
        Ok(_) => true,
        Err(status) if status.code() == Code::Unimplemented => false,
        Err(status) => return Err(Stop::Fail(format!("Watch answered {}", said(&status)))),
    };
    // A time that is refused tells as much, and arms nothing.
    let renew = match renew(subject, 0).await? {
        Err(status) if status.code() == Code::Unimplemented => false,
        Ok(_) | Err(_) => true,
    };
    ensure(watch == renew, || "it has one of Watch and Renew, not both".to_owned())
}

pub(super) async fn told(subject: &mut Subject) -> Checked {
    let mut stream = watch(subject, 0).await?;
    let work = subject.works.print.clone();
    let request = subject.request(work, "print")?;
    subject.execute(&request).await?;
    let seen = read(subject, &mut stream, &request.id).await?;
    ensure(seen.started == 1, || format!("{} events tell of the start", seen.started))?;
    let (out, err) = (seen.text(0), seen.text(1));
    ensure(out.trim() == "out" && err.trim() == "err", || {
        format!("the events carry {out:?} and {err:?}")
    })?;
    ensure(seen.exited.exit_code == 0 && seen.exited.error_message.is_empty(), || {
        format!("the end was told as {:?}", seen.exited)
    })?;
    let status = subject.status(&request.id).await?;
    ensure(has_ended(&status), || format!("Status then says {}", shown(&status)))?;
    failed(subject, &mut stream, &request.id).await
}

/// What fails tells so; nothing comes of the former execution any more.
async fn failed(
    subject: &mut Subject,
    stream: &mut Streaming<ExecutionEvent>,
    former: &str,
) -> Checked {
    let Some(fail) = subject.works.fail.clone() else { return Ok(()) };
    let code = fail.exit_code;
    let request = subject.request(Some(fail), "fail")?;
    subject.execute(&request).await?;
    let seen = read(subject, stream, &request.id).await?;
    ensure(!seen.others.iter().any(|id| id == former), || {
        "an event of an execution came after its end".to_owned()
    })?;
    let exited = seen.exited;
    let well = exited.exit_code == code && !exited.error_message.is_empty();
    ensure(well, || format!("a failure with exit code {code} was told as {exited:?}"))
}

pub(super) async fn pieces(subject: &mut Subject) -> Checked {
    let mut stream = watch(subject, 0).await?;
    let work = subject.works.flood.clone();
    let request = subject.request(work, "flood")?;
    subject.execute(&request).await?;
    let seen = read(subject, &mut stream, &request.id).await?;
    let dropped = usize::try_from(seen.exited.dropped_bytes).unwrap_or(0);
    let all = seen.streams[0].len() + seen.streams[1].len() + dropped;
    ensure(all >= FLOOD, || format!("{all} bytes were told or counted of {FLOOD}"))?;
    let Some(bytes) = subject.works.bytes.clone() else { return Ok(()) };
    let request = subject.request(Some(bytes), "bytes")?;
    subject.execute(&request).await?;
    let seen = read(subject, &mut stream, &request.id).await?;
    ensure(seen.streams[0].trim_ascii() == b"a\xffb", || {
        format!("the bytes came as {:?}", seen.streams[0])
    })
}

pub(super) async fn resumed(subject: &mut Subject) -> Checked {
    let mut stream = watch(subject, 0).await?;
    let (fail, succeed) = (subject.works.fail.clone(), subject.works.succeed.clone());
    let first = subject.request(fail, "fail")?;
    let second = subject.request(succeed, "succeed")?;
    subject.execute(&first).await?;
    let end = read(subject, &mut stream, &first.id).await?.last;
    drop(stream);
    // Nobody watches this one.
    subject.run(&second).await?;
    let mut stream = watch(subject, end).await?;
    let seen = read(subject, &mut stream, &second.id).await?;
    ensure(seen.first > end, || format!("number {} came again after {end}", seen.first))?;
    ensure(!seen.others.contains(&first.id), || "what was read came again".to_owned())
}

pub(super) async fn renewed(subject: &mut Subject) -> Checked {
    if let Err(status) = renew(subject, 0).await?
        && status.code() == Code::Unimplemented
    {
        return Err(not_served());
    }
    refused("Renew of 0", renew(subject, 0).await, Code::InvalidArgument)?;
    refused("Renew of -1", renew(subject, -1).await, Code::InvalidArgument)?;
    let work = subject.works.last.clone();
    let request = subject.request(work, "last")?;
    taken(subject, LONG).await?;
    subject.execute(&request).await?;
    taken(subject, SHORT).await?;
    let end = subject
        .until_within(&request.id, SHORT + Duration::from_secs(5), "it was not ended", has_ended)
        .await;
    let late = subject.request(subject.works.succeed.clone(), "succeed");
    let late = match late {
        Ok(late) => Some(subject.try_execute(&late).await),
        Err(_) => None,
    };
    // The other rules need a server that takes work.
    taken(subject, LONG).await?;
    end?;
    match late {
        Some(answer) => {
            refused("Execute without a renewal", answer, Code::FailedPrecondition)?;
            let work = subject.works.succeed.clone();
            let request = subject.request(work, "succeed")?;
            subject.run(&request).await.map(drop)
        }
        None => Ok(()),
    }
}

async fn taken(subject: &mut Subject, time: Duration) -> Checked {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    super::answered("Renew", renew(subject, millis).await).map(drop)
}

async fn renew(subject: &mut Subject, ttl_millis: i64) -> crate::subject::Answer<RenewResponse> {
    let request = subject.sign(RenewRequest { ttl_millis });
    within("Renew", ANSWER_WITHIN, subject.events.renew(request)).await
}

async fn open(
    subject: &mut Subject,
    resume_after: i64,
) -> crate::subject::Answer<Streaming<ExecutionEvent>> {
    let request = subject.sign(WatchRequest { resume_after });
    within("Watch", ANSWER_WITHIN, subject.events.watch(request)).await
}

/// The stream of a server that has the service.
async fn watch(
    subject: &mut Subject,
    resume_after: i64,
) -> Result<Streaming<ExecutionEvent>, Stop> {
    match open(subject, resume_after).await? {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == Code::Unimplemented => Err(not_served()),
        Err(status) => Err(Stop::Fail(format!("Watch answered {}", said(&status)))),
    }
}

fn not_served() -> Stop {
    Stop::Skip("the server does not serve RuntimeEvents, which it may leave out".to_owned())
}

/// What the events told of one execution.
#[derive(Debug, Default)]
struct Seen {
    started: usize,
    streams: [Vec<u8>; 2],
    exited: ExecutionExited,
    /// Its first number.
    first: i64,
    /// Its last number.
    last: i64,
    /// Ids of other executions.
    others: Vec<String>,
}

impl Seen {
    fn text(&self, stream: usize) -> String {
        String::from_utf8_lossy(&self.streams[stream]).into_owned()
    }

    /// Takes an event in; whether it was the last one.
    fn take(&mut self, event: ExecutionEvent) -> Result<bool, Stop> {
        if self.first == 0 {
            self.first = event.sequence;
        }
        self.last = event.sequence;
        match event.event {
            Some(Event::Started(_)) => {
                let early = self.streams.iter().all(Vec::is_empty);
                ensure(early, || "the start was told after output".to_owned())?;
                self.started += 1;
            }
            Some(Event::Output(output)) => {
                ensure(self.started > 0, || "output was told before the start".to_owned())?;
                ensure(matches!(output.stream, 1 | 2), || {
                    format!("output of the stream {}", output.stream)
                })?;
                let stream = &mut self.streams[usize::from(output.stream == 2)];
                let (size, at) = (output.data.len(), stream.len());
                ensure(size <= PIECE, || format!("an event carries {size} bytes"))?;
                let fits = usize::try_from(output.offset) == Ok(at);
                ensure(fits, || format!("bytes at {} came after {at} bytes", output.offset))?;
                stream.extend(output.data);
            }
            Some(Event::Exited(exited)) => {
                self.exited = exited;
                return Ok(true);
            }
            // Of a later version.
            None => {}
        }
        Ok(false)
    }
}

/// Reads until the end of this execution.
async fn read(
    subject: &Subject,
    stream: &mut Streaming<ExecutionEvent>,
    id: &str,
) -> Result<Seen, Stop> {
    let mut seen = Seen::default();
    let mut last = 0;
    let all = async {
        loop {
            let event = match stream.message().await {
                Ok(Some(event)) => event,
                Ok(None) => return Err(Stop::Fail("the stream ended".to_owned())),
                Err(status) => {
                    return Err(Stop::Fail(format!("the stream broke: {}", said(&status))));
                }
            };
            ensure(event.sequence > last, || {
                format!("the number {} came after {last}", event.sequence)
            })?;
            last = event.sequence;
            if event.id != id {
                seen.others.push(event.id);
            } else if seen.take(event)? {
                return Ok(());
            }
        }
    };
    match timeout(subject.patience, all).await {
        Ok(end) => end.map(|()| seen),
        Err(_) => Err(Stop::Fail(format!("no event told the end within {:?}", subject.patience))),
    }
}

//! The bytes of an artifact, from whoever gives them: one who is busy, broken or gone is passed over for the next, who goes on where
//! the last one was cut.
//!
//! Invariant: what is whole here has the size and the digest that the Run's status says.

use super::part::{Part, unwritable};
use crate::failure::Failure;
use crate::progress::Progress;
use futures::{Stream, StreamExt};
use kruntimes_api::ArtifactRef;
use kruntimes_proto::artifact::v1::DownloadResponse;
use std::fmt::Display;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tonic::{Code, Status};

/// Who sends nothing for so long is passed over.
const SILENT: Duration = Duration::from_secs(60);
/// Between two looks of the bar.
const DRAWN_EVERY: Duration = Duration::from_millis(100);
const BAR: usize = 20;

/// What somebody sends: from this byte on.
pub(super) struct Answer<S> {
    pub(super) offset: u64,
    pub(super) frames: S,
}

/// One download.
pub(super) struct Receiving<'a> {
    pub(super) artifact: &'a ArtifactRef,
    pub(super) target: &'a Path,
    pub(super) progress: &'a Progress,
    /// What is said where there is nobody to ask.
    pub(super) nobody: String,
}

/// How it went with one of them.
enum Tried {
    Whole,
    /// Another one may do better.
    Failed(String),
}

impl Receiving<'_> {
    /// Fills `part`, from one after the other as long as more comes. `ask` is told how much is there.
    pub(super) async fn take_from_any<C: Display, S>(
        &self,
        part: &mut Part,
        senders: impl AsyncFn() -> Result<Vec<C>, Failure>,
        ask: impl AsyncFn(&C, u64) -> Result<Answer<S>, Status>,
    ) -> Result<(), Failure>
    where
        S: Stream<Item = Result<DownloadResponse, Status>>,
    {
        let mut whys = vec![self.nobody.clone()];
        loop {
            let before = part.length();
            for (number, sender) in senders().await?.into_iter().enumerate() {
                let tried = match timeout(SILENT, ask(&sender, part.length())).await {
                    Ok(Ok(answer)) => self.take_from_one(part, answer).await?,
                    Ok(Err(status)) => Tried::Failed(status.message().to_owned()),
                    Err(_) => Tried::Failed("it does not answer".to_owned()),
                };
                match tried {
                    Tried::Whole => {
                        self.progress.hush();
                        return Ok(());
                    }
                    Tried::Failed(why) => {
                        if number == 0 {
                            whys.clear();
                        }
                        whys.push(format!("{sender}: {why}"));
                    }
                }
            }
            if part.length() <= before {
                break;
            }
        }
        self.progress.hush();
        part.keep();
        let came = match part.length() {
            0 => String::new(),
            length => format!(
                "; {length} of {} bytes came, and the same command goes on from there",
                self.artifact.size_bytes
            ),
        };
        let name = &self.artifact.name;
        Err(Failure::new(format!("{name:?} can't be downloaded: {}{came}", whys.join("; "))))
    }

    fn is_whole(&self, part: &Part) -> bool {
        u64::try_from(self.artifact.size_bytes) == Ok(part.length())
            && part.has(self.artifact.digest.as_deref())
    }

    async fn take_from_one<S>(&self, part: &mut Part, answer: Answer<S>) -> Result<Tried, Failure>
    where
        S: Stream<Item = Result<DownloadResponse, Status>>,
    {
        let written = |error: std::io::Error| unwritable(self.target, &error);
        if answer.offset != part.length() {
            part.restart().map_err(written)?;
        }
        let resumed = part.length();
        let size = u64::try_from(self.artifact.size_bytes).unwrap_or_default();
        let failed = |why: &str| Ok(Tried::Failed(why.to_owned()));
        let mut frames = pin!(answer.frames);
        let mut bar = Bar::new(resumed);
        let mut first = true;
        loop {
            let frame = match timeout(SILENT, frames.next()).await {
                Err(_) => return failed("it sends nothing any more"),
                Ok(None) => break,
                Ok(Some(Err(status))) => {
                    if status.code() == Code::DataLoss {
                        // What came before is of the same broken file.
                        part.restart().map_err(written)?;
                    } else if self.is_whole(part) {
                        break;
                    }
                    return failed(status.message());
                }
                Ok(Some(Ok(frame))) => frame,
            };
            if std::mem::take(&mut first) {
                let named = frame.metadata.filter(|_| frame.data.is_empty());
                if named.is_none_or(|metadata| metadata.name != self.artifact.name) {
                    return failed("it answers with something else");
                }
                continue;
            }
            if part.length() + frame.data.len() as u64 > size {
                part.restart().map_err(written)?;
                return failed("it sends more than the Run has left");
            }
            part.write(&frame.data).map_err(written)?;
            if let Some(line) = bar.line(part.length(), size, Instant::now()) {
                self.progress.stage(&format!("{}  {line}", self.artifact.name));
            }
        }
        if first || part.length() < size {
            return failed(&format!("it ended after {} of {size} bytes", part.length()));
        }
        if !self.is_whole(part) {
            part.restart().map_err(written)?;
            return failed("what came is not what the Run has left: its digest differs");
        }
        Ok(Tried::Whole)
    }
}

/// What a terminal shows.
struct Bar {
    from: u64,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    fn new(from: u64) -> Self {
        Self { from, begun: Instant::now(), drawn: None }
    }

    /// The line, where it is time for one.
    fn line(&mut self, done: u64, size: u64, now: Instant) -> Option<String> {
        if self.drawn.is_some_and(|drawn| now - drawn < DRAWN_EVERY) || size == 0 {
            return None;
        }
        self.drawn = Some(now);
        let seconds = (now - self.begun).as_secs_f64().max(0.001);
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let filled = usize::try_from(done * BAR as u64 / size).unwrap_or(BAR).min(BAR);
        Some(format!(
            "[{}{}] {:3} %  {:.1} of {:.1} MiB  {:.1} MiB/s",
            "=".repeat(filled),
            " ".repeat(BAR - filled),
            done * 100 / size,
            mebibytes(done),
            mebibytes(size),
            mebibytes(done.saturating_sub(self.from)) / seconds,
        ))
    }
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;

//! One execution as the rest of the server sees it: its output, its end, and the wish to end it.

use crate::events::{Events, PIECE_BYTES};
use crate::kept::{Kept, STREAM_LIMIT, Stream};
use crate::outcome::{Outcome, Why};
use kruntimes_proto::executor::v1::{ExecutionState, StatusResponse};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared between the table, the task that runs the process, and the events.
#[derive(Debug)]
pub(crate) struct Execution {
    id: Arc<str>,
    started: AtomicBool,
    record: Mutex<Record>,
    why: watch::Sender<Option<Why>>,
    ended: watch::Sender<bool>,
    /// Held while output goes to the record and to the events: both have it in one order.
    writing: Mutex<Writing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    Closed,
}

#[derive(Debug, Default)]
struct Record {
    stdout: Kept,
    stderr: Kept,
    outcome: Option<Outcome>,
}

impl Execution {
    pub(crate) fn new(id: &str) -> Arc<Self> {
        Arc::new(Self {
            id: id.into(),
            started: AtomicBool::new(false),
            record: Mutex::default(),
            why: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            writing: Mutex::new(Writing::Open),
        })
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Tells the start, once.
    pub(crate) fn note_started(&self, events: &Events) {
        let writing = self.writing();
        if *writing == Writing::Open {
            self.tell_start(events);
        }
    }

    /// Keeps what fits of `data` and announces it. Output proves the start too. Nothing comes after the end.
    pub(crate) fn print(self: &Arc<Self>, events: &Events, stream: Stream, data: &[u8]) {
        let writing = self.writing();
        if *writing == Writing::Closed || data.is_empty() {
            return;
        }
        self.tell_start(events);
        for piece in data.chunks(PIECE_BYTES) {
            if let Some((place, last)) = self.keep(stream, piece) {
                let sequence = events.output(self, stream, place, last);
                self.set_last_event(stream, sequence);
            }
        }
    }

    fn tell_start(&self, events: &Events) {
        if !self.started.swap(true, Ordering::Relaxed) {
            events.started(&self.id);
        }
    }

    /// Wishes the end. The first reason stays.
    pub(crate) fn end(&self, why: Why) {
        self.why.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(why);
            first
        });
    }

    /// Resolves when an end was wished.
    pub(crate) async fn wish(&self) -> Why {
        let mut wishes = self.why.subscribe();
        // The sender lives as long as `self`.
        let wish = wishes.wait_for(Option::is_some).await.map_or(None, |why| *why);
        wish.unwrap_or(Why::ShuttingDown)
    }

    /// Why the server ended it, if it did.
    pub(crate) fn why(&self) -> Option<Why> {
        *self.why.borrow()
    }

    pub(crate) fn has_outcome(&self) -> bool {
        self.lock().outcome.is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Resolves once every process is gone and the end is in the table.
    pub(crate) async fn wait_until_ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        *self.writing() = Writing::Closed;
        let mut record = self.lock();
        record.stdout.seal();
        record.stderr.seal();
        record.outcome = Some(outcome);
    }

    pub(crate) fn announce_end(&self) {
        self.ended.send_replace(true);
    }

    /// Keeps what fits of `data`: its place, and the event that carries the bytes before it. Nothing if nothing fits.
    pub(crate) fn keep(&self, stream: Stream, data: &[u8]) -> Option<((usize, usize), i64)> {
        let mut record = self.lock();
        let kept = record.stream(stream);
        let (offset, length) = kept.take(data);
        (length > 0).then_some(((offset, length), kept.last_event))
    }

    pub(crate) fn set_last_event(&self, stream: Stream, sequence: i64) {
        self.lock().stream(stream).last_event = sequence;
    }

    pub(crate) fn piece(&self, stream: Stream, offset: usize, length: usize) -> Option<Vec<u8>> {
        let mut record = self.lock();
        record.stream(stream).bytes().get(offset..offset + length).map(<[u8]>::to_vec)
    }

    pub(crate) fn dropped_bytes(&self) -> u64 {
        let record = self.lock();
        record.stdout.dropped() + record.stderr.dropped()
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        let record = self.lock();
        record.stdout.bytes().len() + record.stderr.bytes().len()
    }

    /// A snapshot with at most `limit` bytes of each stream.
    pub(crate) fn status(&self, limit: usize) -> StatusResponse {
        let record = self.lock();
        let limit = limit.min(STREAM_LIMIT);
        let state = match &record.outcome {
            None => ExecutionState::Running,
            Some(outcome) if outcome.succeeded() => ExecutionState::Succeeded,
            Some(_) => ExecutionState::Failed,
        };
        StatusResponse {
            id: self.id.as_ref().to_owned(),
            state: state.into(),
            exit_code: record.outcome.as_ref().map_or(0, |outcome| outcome.exit_code),
            stdout: record.stdout.text(limit),
            stderr: record.stderr.text(limit),
            error_message: record.outcome.as_ref().map(|o| o.message.clone()).unwrap_or_default(),
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn stream(&mut self, stream: Stream) -> &mut Kept {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

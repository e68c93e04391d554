//! The events of all executions, for `RuntimeEvents.Watch`: a bounded ring that every watcher reads at its own pace.
//!
//! Output stands here as a place in the execution's kept bytes, never as a copy: it costs nothing more. All events of an
//! execution go when it is forgotten, so that the rings stay as short as what is known is few. Unread output of a stream grows in place, so a slow watcher gets fewer, larger pieces. Starts
//! and ends have a ring of their own, which output cannot push out.

use crate::execution::Execution;
use crate::kept::Stream;
use crate::outcome::Outcome;
use kruntimes_proto::executor::v1::{
    ExecutionEvent, ExecutionExited, ExecutionOutput, ExecutionStarted, execution_event::Event,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Starts and ends that are kept for watchers.
const MARKS_LIMIT: usize = 4096;
/// Pieces of output that are kept for watchers.
const PIECES_LIMIT: usize = 8192;
/// Executions that were dropped and whose events are kept still.
const DISCARDED_LIMIT: usize = 64;
/// Bytes in one output event.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Events {
    ring: Mutex<Ring>,
    latest: watch::Sender<i64>,
}

#[derive(Debug)]
struct Ring {
    next: i64,
    /// The newest event that any watcher has taken.
    read: i64,
    marks: VecDeque<Mark>,
    pieces: VecDeque<Piece>,
    /// Ids of dropped executions, the oldest in front; each is the very one of its execution.
    discarded: VecDeque<Arc<str>>,
    closed: bool,
}

#[derive(Debug)]
struct Mark {
    sequence: i64,
    id: Arc<str>,
    time_unix_nano: i64,
    event: Event,
}

#[derive(Debug)]
struct Piece {
    sequence: i64,
    execution: Weak<Execution>,
    time_unix_nano: i64,
    stream: Stream,
    offset: usize,
    length: usize,
}

/// One reader of the ring.
#[derive(Debug)]
pub(crate) struct Watcher {
    events: Arc<Events>,
    latest: watch::Receiver<i64>,
    after: i64,
}

impl Events {
    /// Sequences begin at the time, so that those of a restarted server are above those of its former life.
    pub(crate) fn new() -> Arc<Self> {
        let first = now() / 1000;
        let ring = Ring {
            next: first,
            read: first - 1,
            marks: VecDeque::new(),
            pieces: VecDeque::new(),
            discarded: VecDeque::new(),
            closed: false,
        };
        Arc::new(Self { ring: Mutex::new(ring), latest: watch::Sender::new(first - 1) })
    }

    pub(crate) fn started(&self, id: &Arc<str>) {
        self.mark(id, Event::Started(ExecutionStarted {}));
    }

    pub(crate) fn exited(&self, id: &Arc<str>, outcome: &Outcome, dropped: u64) {
        self.mark(
            id,
            Event::Exited(ExecutionExited {
                exit_code: outcome.exit_code,
                signal: outcome.signal,
                error_message: outcome.message.clone(),
                dropped_bytes: i64::try_from(dropped).unwrap_or(i64::MAX),
            }),
        );
    }

    /// Announces bytes that were kept, and returns the event that carries them. `last` is the stream's event before.
    pub(crate) fn output(
        &self,
        execution: &Arc<Execution>,
        stream: Stream,
        (offset, length): (usize, usize),
        last: i64,
    ) -> i64 {
        let mut ring = self.lock();
        if ring.grow(last, offset, length) {
            return last;
        }
        let sequence = ring.take_sequence();
        push(
            &mut ring.pieces,
            PIECES_LIMIT,
            Piece {
                sequence,
                execution: Arc::downgrade(execution),
                time_unix_nano: now(),
                stream,
                offset,
                length,
            },
        );
        drop(ring);
        self.latest.send_replace(sequence);
        sequence
    }

    /// The execution is forgotten, and with it its events: nobody may ask for it any more.
    pub(crate) fn forget(&self, execution: &Arc<Execution>) {
        self.lock().forget(execution.id());
    }

    /// The execution was ended and dropped: its end is of interest for a while yet.
    pub(crate) fn discard(&self, execution: &Arc<Execution>) {
        let mut ring = self.lock();
        ring.discarded.push_back(Arc::clone(execution.id()));
        if ring.discarded.len() > DISCARDED_LIMIT
            && let Some(oldest) = ring.discarded.pop_front()
        {
            ring.forget(&oldest);
        }
    }

    /// Ends every watcher once it has read all.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        // A change without news wakes them.
        self.latest.send_modify(|_| {});
    }

    /// A reader of all that comes after `resume_after`, from what is still here. A number from the future is from
    /// another life of the server: that reader gets everything.
    pub(crate) fn watch(self: &Arc<Self>, resume_after: i64) -> Watcher {
        let latest = self.latest.subscribe();
        let after = if resume_after < self.lock().next { resume_after } else { 0 };
        Watcher { events: Arc::clone(self), latest, after }
    }

    pub(crate) fn watchers(&self) -> usize {
        self.latest.receiver_count()
    }

    fn mark(&self, id: &Arc<str>, event: Event) {
        let mut ring = self.lock();
        let sequence = ring.take_sequence();
        let mark = Mark { sequence, id: Arc::clone(id), time_unix_nano: now(), event };
        push(&mut ring.marks, MARKS_LIMIT, mark);
        drop(ring);
        self.latest.send_replace(sequence);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// The next event; nothing when the server closes.
    pub(crate) async fn next(&mut self) -> Option<ExecutionEvent> {
        loop {
            self.latest.borrow_and_update();
            let (event, closed) = {
                let mut ring = self.events.lock();
                (ring.after(self.after), ring.closed)
            };
            match event {
                Some(event) => {
                    self.after = event.sequence;
                    return Some(event);
                }
                None if closed => return None,
                None => self.latest.changed().await.ok()?,
            }
        }
    }
}

impl Ring {
    /// Drops the events of the execution that owns this very id, not those of its successor.
    fn forget(&mut self, id: &Arc<str>) {
        self.marks.retain(|mark| !Arc::ptr_eq(&mark.id, id));
        self.pieces.retain(|piece| {
            piece.execution.upgrade().is_some_and(|execution| !Arc::ptr_eq(execution.id(), id))
        });
    }

    fn take_sequence(&mut self) -> i64 {
        let sequence = self.next;
        self.next += 1;
        sequence
    }

    /// Adds bytes to the piece `last` if nobody has read it yet and they continue it.
    fn grow(&mut self, last: i64, offset: usize, length: usize) -> bool {
        if last <= self.read {
            return false;
        }
        let Ok(at) = self.pieces.binary_search_by_key(&last, |piece| piece.sequence) else {
            return false;
        };
        let piece = &mut self.pieces[at];
        let fits = piece.offset + piece.length == offset && piece.length + length <= PIECE_BYTES;
        if fits {
            piece.length += length;
        }
        fits
    }

    /// The first event behind `after`, passing over output of forgotten executions.
    fn after(&mut self, mut after: i64) -> Option<ExecutionEvent> {
        loop {
            let mark = self.marks.get(self.marks.partition_point(|mark| mark.sequence <= after));
            let piece =
                self.pieces.get(self.pieces.partition_point(|piece| piece.sequence <= after));
            let event = match (mark, piece) {
                (None, None) => return None,
                (Some(mark), None) => Some(mark.event()),
                (Some(mark), Some(piece)) if mark.sequence < piece.sequence => Some(mark.event()),
                (_, Some(piece)) => {
                    after = piece.sequence;
                    piece.event()
                }
            };
            if let Some(event) = event {
                self.read = self.read.max(event.sequence);
                return Some(event);
            }
        }
    }
}

impl Mark {
    fn event(&self) -> ExecutionEvent {
        ExecutionEvent {
            sequence: self.sequence,
            id: self.id.as_ref().to_owned(),
            time_unix_nano: self.time_unix_nano,
            event: Some(self.event.clone()),
        }
    }
}

impl Piece {
    fn event(&self) -> Option<ExecutionEvent> {
        let execution = self.execution.upgrade()?;
        let data = execution.piece(self.stream, self.offset, self.length)?;
        let output = ExecutionOutput {
            stream: self.stream.number(),
            offset: i64::try_from(self.offset).ok()?,
            data,
        };
        Some(ExecutionEvent {
            sequence: self.sequence,
            id: execution.id().as_ref().to_owned(),
            time_unix_nano: self.time_unix_nano,
            event: Some(Event::Output(output)),
        })
    }
}

fn push<T>(queue: &mut VecDeque<T>, limit: usize, item: T) {
    if queue.len() == limit {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;

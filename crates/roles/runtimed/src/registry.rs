//! Where events of the Runtime Server go: one feed for each attempt that executes here.

use crate::lines::Lines;
use crate::spool::{Log, Stream};
use jiff::Timestamp;
use kruntimes_proto::executor::v1::ExecutionEvent;
use kruntimes_proto::executor::v1::execution_event::Event as Wire;
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::outcome::Exit;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// What an execution's own messages are cut to before anything else is done with them.
const ERROR_MESSAGE_BYTES: usize = 4096;

/// How runtimed learns that an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not known yet, or the stream is broken.
    Disconnected,
    /// The server pushes events. The number rises with every new stream.
    Events(u64),
    /// The server has no events.
    Polling,
}

/// One attempt.
#[derive(Debug)]
struct Feed {
    log: Arc<Log>,
    lines: Lines,
    sender: mpsc::UnboundedSender<Event>,
    /// Events up to this sequence belong to an earlier attempt.
    after: i64,
    started: bool,
    exited: bool,
}

#[derive(Debug, Default)]
struct Inner {
    feeds: BTreeMap<String, Feed>,
    last_sequence: i64,
}

/// All attempts that execute here.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    inner: Arc<Mutex<Inner>>,
    mode: Arc<watch::Sender<Mode>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), mode: Arc::new(watch::Sender::new(Mode::Disconnected)) }
    }

    /// Must be called before Execute. A feed sends at most one Started and one Exited.
    pub(crate) fn register(
        &self,
        uid: &str,
        log: Arc<Log>,
        lines: Lines,
        sender: mpsc::UnboundedSender<Event>,
    ) {
        let mut inner = self.lock();
        let after = inner.last_sequence;
        let feed = Feed { log, lines, sender, after, started: false, exited: false };
        inner.feeds.insert(uid.to_owned(), feed);
    }

    /// An attempt that may have events from before this runtimed started.
    pub(crate) fn adopt(&self, uid: &str) {
        if let Some(feed) = self.lock().feeds.get_mut(uid) {
            feed.after = 0;
        }
    }

    pub(crate) fn unregister(&self, uid: &str) {
        self.lock().feeds.remove(uid);
    }

    pub(crate) fn last_sequence(&self) -> i64 {
        self.lock().last_sequence
    }

    /// The server restarted: its sequences begin again, and so do the floors of the attempts.
    pub(crate) fn server_restarted(&self) {
        let mut inner = self.lock();
        inner.last_sequence = 0;
        for feed in inner.feeds.values_mut() {
            feed.after = 0;
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn mode(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// Takes one event of the stream. What belongs to no attempt here is ignored.
    pub(crate) fn deliver(&self, event: ExecutionEvent) {
        let mut inner = self.lock();
        inner.last_sequence = inner.last_sequence.max(event.sequence);
        let Some(feed) = inner.feeds.get_mut(&event.id) else { return };
        if event.sequence <= feed.after || feed.exited {
            return;
        }
        let at = timestamp(event.time_unix_nano);
        match event.event {
            Some(Wire::Started(_)) => feed.start(at),
            Some(Wire::Output(output)) => {
                if let (Some(stream), Ok(offset)) =
                    (Stream::from_wire(output.stream), u64::try_from(output.offset))
                {
                    feed.output(stream, offset, event.time_unix_nano, &output.data);
                }
            }
            Some(Wire::Exited(exited)) => {
                let exit = Exit {
                    exit_code: exited.exit_code,
                    signal: exited.signal,
                    error_message: cut(exited.error_message),
                    stderr_tail: String::new(),
                };
                let dropped = u64::try_from(exited.dropped_bytes).unwrap_or(0);
                feed.exit(exit, dropped, at);
            }
            None => {}
        }
    }

    /// Takes what Status says of an execution that runs. Its output counts only where no events bring it.
    pub(crate) fn running(&self, uid: &str, stdout: &str, stderr: &str) {
        if let Some(feed) = self.lock().feeds.get_mut(uid).filter(|feed| !feed.exited) {
            let now = Timestamp::now();
            feed.start(now);
            feed.output(Stream::Stdout, 0, nanoseconds(now), stdout.as_bytes());
            feed.output(Stream::Stderr, 0, nanoseconds(now), stderr.as_bytes());
        }
    }

    /// Takes the end that Status reports.
    pub(crate) fn ended(&self, uid: &str, mut exit: Exit) {
        if let Some(feed) = self.lock().feeds.get_mut(uid).filter(|feed| !feed.exited) {
            exit.error_message = cut(exit.error_message);
            feed.exit(exit, 0, Timestamp::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    fn start(&mut self, at: Timestamp) {
        if !self.started {
            self.started = true;
            self.log.started();
            self.send(Event::Started(at));
        }
    }

    fn output(&mut self, stream: Stream, offset: u64, time: i64, data: &[u8]) {
        let new = self.log.append(stream, offset, time, data);
        self.lines.push(stream, time, new);
    }

    fn exit(&mut self, mut exit: Exit, dropped: u64, at: Timestamp) {
        self.exited = true;
        self.lines.finish();
        self.log.exited(&exit, dropped, nanoseconds(at));
        if exit.error_message.is_empty() {
            exit.stderr_tail = self.log.stderr_tail();
        }
        self.send(Event::Exited(exit, at));
    }

    /// The receiver is gone when the attempt is: nobody waits for the event then.
    fn send(&self, event: Event) {
        drop(self.sender.send(event));
    }
}

/// A time of the wire.
pub(crate) fn timestamp(unix_nano: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(unix_nano)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A time as on the wire.
pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn cut(mut message: String) -> String {
    let end = (0..=ERROR_MESSAGE_BYTES.min(message.len()))
        .rev()
        .find(|&at| message.is_char_boundary(at))
        .unwrap_or(0);
    message.truncate(end);
    message
}

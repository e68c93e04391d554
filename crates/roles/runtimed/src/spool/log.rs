//! The log of one attempt: written by the one who gets its output, read by any number of readers at their own pace.

use kruntimes_artifacts::{Frame, HEADER_BYTES, PIECE_BYTES, Stream};
use kruntimes_rules::run::outcome::Exit;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What is kept of one stream.
pub(crate) const STREAM_BYTES: u64 = 1024 * 1024;
/// The largest file, headers included: a stream of single bytes must not cost more.
const FILE_BYTES: u64 = kruntimes_artifacts::LOG_BYTES;
/// What is remembered of stderr for the message of a failure.
const TAIL_BYTES: usize = 2048;

/// Where an attempt stands, for its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Waiting,
    Started,
    Ended,
}

/// What is on the disk, and where it would go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    place: Place,
    /// Bytes of the file.
    pub(super) length: u64,
    /// Per stream: the next offset, and how much is kept.
    next: [u64; 2],
    kept: [u64; 2],
    dropped: u64,
}

#[derive(Debug)]
struct State {
    /// Open while something may still be written.
    file: Option<File>,
    rest: Rest,
    stderr_tail: Vec<u8>,
    exit: Option<Frame>,
}

/// Whether there is a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Nothing,
    Disk,
    Removed,
}

/// The log of one attempt. Invariant: once no more output comes it holds no descriptor.
#[derive(Debug)]
pub(crate) struct Log {
    uid: String,
    /// Number of the attempt.
    attempt: i32,
    path: PathBuf,
    state: Mutex<State>,
    changed: watch::Sender<(u64, Stage)>,
}

impl Log {
    pub(super) fn new(directory: &Path, uid: &str, attempt: i32) -> Self {
        let rest =
            Rest { place: Place::Nothing, length: 0, next: [0; 2], kept: [0; 2], dropped: 0 };
        Self::at(directory, uid, attempt, rest, None, Stage::Waiting)
    }

    /// A log whose attempt has ended.
    pub(super) fn ended(
        directory: &Path,
        uid: &str,
        attempt: i32,
        rest: Rest,
        exit: Option<Frame>,
    ) -> Self {
        Self::at(directory, uid, attempt, rest, exit, Stage::Ended)
    }

    fn at(
        directory: &Path,
        uid: &str,
        attempt: i32,
        rest: Rest,
        exit: Option<Frame>,
        stage: Stage,
    ) -> Self {
        Self {
            uid: uid.to_owned(),
            attempt,
            path: directory.join(format!("{uid}.{attempt}")),
            state: Mutex::new(State { file: None, rest, stderr_tail: Vec::new(), exit }),
            changed: watch::Sender::new((rest.length, stage)),
        }
    }

    /// Reads a file of an earlier life; a torn last frame is cut.
    pub(super) fn load(directory: &Path, uid: &str, attempt: i32) -> io::Result<Self> {
        let log = Self::new(directory, uid, attempt);
        let file = fs::OpenOptions::new().read(true).write(true).open(&log.path)?;
        {
            let mut state = log.lock();
            while let Some((frame, after)) = Frame::read(&file, state.rest.length)? {
                if let Frame::Output { stream, offset, data, .. } = &frame {
                    let index = stream.index();
                    state.rest.kept[index] += data.len() as u64;
                    state.rest.next[index] = offset.saturating_add(data.len() as u64);
                } else {
                    state.exit = Some(frame);
                }
                state.rest.length = after;
            }
            file.set_len(state.rest.length)?;
            state.rest.place = Place::Disk;
            log.changed.send_replace((state.rest.length, Stage::Ended));
        }
        Ok(log)
    }

    /// What stays of it when its attempt has ended.
    pub(super) fn rest(&self) -> (Rest, Option<Frame>) {
        let state = self.lock();
        (state.rest, state.exit.clone())
    }

    pub(super) fn attempt(&self) -> i32 {
        self.attempt
    }

    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether it is of an attempt before `attempt`.
    pub(crate) fn is_before(&self, attempt: i32) -> bool {
        self.attempt < attempt
    }

    pub(crate) fn stage(&self) -> Stage {
        self.changed.borrow().1
    }

    /// How it ended, if its command did.
    pub(crate) fn exit(&self) -> Option<Exit> {
        match &self.lock().exit {
            Some(Frame::Exited { exit, .. }) => Some(exit.clone()),
            Some(Frame::Output { .. }) | None => None,
        }
    }

    /// The end of stderr.
    pub(crate) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.lock().stderr_tail).into_owned()
    }

    pub(crate) fn started(&self) {
        self.changed.send_if_modified(|(_, stage)| {
            let waits = *stage == Stage::Waiting;
            if waits {
                *stage = Stage::Started;
            }
            waits
        });
    }

    /// Takes a piece of output and gives back what of it is new: a stream that is resumed repeats pieces.
    pub(crate) fn append<'a>(
        &self,
        stream: Stream,
        offset: u64,
        time: i64,
        data: &'a [u8],
    ) -> &'a [u8] {
        if self.stage() == Stage::Ended {
            return &[];
        }
        let mut state = self.lock();
        let next = state.rest.next[stream.index()];
        let known = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(new) = data.get(known..).filter(|new| !new.is_empty()) else { return &[] };
        let offset = offset.max(next);
        state.rest.next[stream.index()] = offset.saturating_add(new.len() as u64);
        if stream == Stream::Stderr {
            state.stderr_tail.extend(&new[new.len().saturating_sub(TAIL_BYTES)..]);
            let surplus = state.stderr_tail.len().saturating_sub(TAIL_BYTES);
            state.stderr_tail.drain(..surplus);
        }
        self.store(&mut state, stream, (offset, time), new);
        let length = state.rest.length;
        drop(state);
        self.changed.send_modify(|(published, stage)| {
            *published = length;
            if *stage == Stage::Waiting {
                *stage = Stage::Started;
            }
        });
        new
    }

    fn store(&self, state: &mut State, stream: Stream, (offset, time): (u64, i64), data: &[u8]) {
        let mut at = offset;
        for piece in data.chunks(PIECE_BYTES) {
            let room = STREAM_BYTES.saturating_sub(state.rest.kept[stream.index()]);
            let kept = &piece[..piece.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
            let cost = (HEADER_BYTES + kept.len()) as u64;
            let fits = !kept.is_empty() && state.rest.length + cost <= FILE_BYTES;
            let frame = Frame::Output { stream, offset: at, time, data: kept.to_vec() };
            if fits && self.write(state, &frame) {
                state.rest.kept[stream.index()] += kept.len() as u64;
                state.rest.dropped += (piece.len() - kept.len()) as u64;
            } else {
                state.rest.dropped += piece.len() as u64;
            }
            at = at.saturating_add(piece.len() as u64);
        }
    }

    fn write(&self, state: &mut State, frame: &Frame) -> bool {
        let bytes = frame.encode();
        if state.file.is_none() {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true).mode(0o600);
            state.file = options.open(&self.path).ok();
            if state.file.is_some() {
                state.rest.place = Place::Disk;
            }
        }
        let Some(file) = &state.file else { return false };
        if file.write_all_at(&bytes, state.rest.length).is_err() {
            return false;
        }
        state.rest.length += bytes.len() as u64;
        true
    }

    /// The command ended; what comes later is ignored.
    pub(crate) fn exited(&self, exit: &Exit, dropped_by_server: u64, time: i64) {
        let mut state = self.lock();
        if self.stage() == Stage::Ended || state.exit.is_some() {
            return;
        }
        let dropped = state.rest.dropped.saturating_add(dropped_by_server);
        let frame = Frame::Exited { exit: exit.clone(), dropped, time };
        if state.file.is_some() {
            self.write(&mut state, &frame);
        }
        state.file = None;
        state.exit = Some(frame);
        let length = state.rest.length;
        drop(state);
        self.changed.send_replace((length, Stage::Ended));
    }

    /// No more output comes.
    pub(super) fn end(&self) {
        self.lock().file = None;
        self.changed.send_if_modified(|(_, stage)| {
            let ends = *stage != Stage::Ended;
            *stage = Stage::Ended;
            ends
        });
    }

    /// Goes on after a restart. False when its command had ended, or nothing was kept.
    pub(super) fn reopen(&self) -> bool {
        let mut state = self.lock();
        if state.exit.is_some() || state.rest.place != Place::Disk {
            return false;
        }
        let Ok(file) = fs::OpenOptions::new().read(true).write(true).open(&self.path) else {
            return false;
        };
        state.file = Some(file);
        self.changed.send_modify(|(_, stage)| *stage = Stage::Started);
        true
    }

    /// Bytes of its file.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().rest.length
    }

    /// Gives the file a second name. False: there is no file, or it has one already.
    pub(crate) fn link_to(&self, directory: &Path) -> io::Result<bool> {
        let state = self.lock();
        if state.rest.place != Place::Disk {
            return Ok(false);
        }
        let name = self.path.file_name().unwrap_or_default();
        match fs::hard_link(&self.path, directory.join(name)) {
            // An earlier life has begun it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    }

    /// Removes the file. Who reads it already reads on.
    pub(super) fn remove(&self) {
        let mut state = self.lock();
        if state.rest.place == Place::Disk {
            drop(fs::remove_file(&self.path));
        }
        state.rest.place = Place::Removed;
    }

    /// A descriptor for a reader. Of a removed log there is none.
    fn open(&self) -> io::Result<Option<File>> {
        let state = self.lock();
        match (&state.file, state.rest.place) {
            (Some(file), _) => file.try_clone().map(Some),
            (None, Place::Disk) => match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                opened => opened.map(Some),
            },
            (None, Place::Nothing | Place::Removed) => Ok(None),
        }
    }

    /// A reader from the beginning.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader {
        let changed = self.changed.subscribe();
        Reader { log: Arc::clone(self), file: None, position: 0, exit_told: false, changed }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// UID and attempt of a file's name.
pub(crate) fn parts(name: &str) -> (&str, i32) {
    let parts = name.rsplit_once('.').and_then(|(uid, number)| Some((uid, number.parse().ok()?)));
    parts.unwrap_or((name, 0))
}

/// What a reader finds next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Frame(Frame),
    /// Nothing for now.
    Later,
    /// Nothing any more.
    End,
}

/// Reads a log at its own pace.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<Log>,
    file: Option<File>,
    position: u64,
    exit_told: bool,
    changed: watch::Receiver<(u64, Stage)>,
}

impl Reader {
    /// What is there now.
    pub(crate) fn try_next(&mut self) -> io::Result<Next> {
        let (length, stage) = *self.changed.borrow_and_update();
        while self.position < length {
            if self.file.is_none() {
                self.file = self.log.open()?;
            }
            let Some(file) = &self.file else { break };
            let Some((frame, after)) = Frame::read(file, self.position)? else { break };
            self.position = after;
            if matches!(frame, Frame::Output { .. }) {
                return Ok(Next::Frame(frame));
            }
        }
        if stage != Stage::Ended {
            return Ok(Next::Later);
        }
        let exit = self.log.lock().exit.clone();
        match exit {
            Some(frame) if !self.exit_told => {
                self.exit_told = true;
                Ok(Next::Frame(frame))
            }
            _ => Ok(Next::End),
        }
    }

    /// The stage that [`Self::try_next`] last saw.
    pub(crate) fn stage(&self) -> Stage {
        self.changed.borrow().1
    }

    /// Resolves when there may be more.
    pub(crate) async fn wait(&mut self) {
        // An error means that the log is gone, which `try_next` finds as its end.
        drop(self.changed.changed().await);
    }
}

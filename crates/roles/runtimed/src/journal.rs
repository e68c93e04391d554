//! Which attempts may have started: written before Execute, with fdatasync where the pod outlives its machine's restart.
//!
//! One file of fixed size: a line `boot <id>`, then lines `<uid> <attempt> <received, wall clock µs> <the same, CLOCK_BOOTTIME
//! µs> <open|ended|void>`, filled up with zeros: a record overwrites blocks that are there already. A torn last line was
//! never acknowledged. Runs that ended are remembered for a while: an assignment that is seen again is not executed again.

use jiff::Timestamp;
use kruntimes_rules::run::received::Received;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Size of the file: more than 2,000 entries.
const FILE_BYTES: usize = 256 * 1024;
/// How many ended Runs are remembered.
const ENDED_RUNS: usize = 500;
/// A longer UID is none that a pod takes.
const UID_BYTES: usize = 64;

/// An attempt that may have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) attempt: i32,
    pub(crate) received: Received,
}

/// What an acknowledged entry outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Durability {
    /// A crash of the machine: a pod on a cluster has the same UID and volumes afterwards.
    #[default]
    Machine,
    /// The end of this process: for pods that end with their machine, as those of the local home.
    Process,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    boot: String,
    durability: Durability,
    file: File,
    length: usize,
    entries: Entries,
    is_new: bool,
}

#[derive(Debug)]
struct Entries {
    open: BTreeMap<String, Entry>,
    /// In one piece that is there from the start: what stays for long must not lie scattered among what a Run needs for
    /// a moment, for each piece of it keeps a page from being given back.
    ended: VecDeque<Ended>,
}

#[derive(Debug)]
struct Ended {
    /// Filled up with zeros, which no UID has.
    uid: [u8; UID_BYTES],
    entry: Entry,
}

/// The journal of this pod.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Mutex<Inner>>);

impl Journal {
    /// Opens `<control>/journal`, or makes it. The machine was booted as `boot`.
    pub(crate) fn open(control: &Path, durability: Durability, boot: &str) -> io::Result<Self> {
        let path = control.join("journal");
        let (entries, is_new) = match fs::read(&path) {
            Ok(content) => (parse(&content, boot), false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Entries::new(), true),
            Err(error) => return Err(error),
        };
        let (file, length) = rewrite(&path, boot, &entries)?;
        let boot = boot.to_owned();
        let inner = Inner { path, boot, durability, file, length, entries, is_new };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Whether no earlier life of this runtimed has opened it.
    pub(crate) fn is_new(&self) -> bool {
        self.lock().is_new
    }

    /// The entry of a Run.
    pub(crate) fn find(&self, uid: &str) -> Option<Entry> {
        self.lock().entries.find(uid)
    }

    /// All Runs that have not ended.
    pub(crate) fn open_uids(&self) -> Vec<String> {
        self.lock().entries.open.keys().cloned().collect()
    }

    /// Writes an entry; when this returns it is as durable as the journal was opened for.
    pub(crate) async fn record(&self, uid: &str, entry: Entry) -> io::Result<()> {
        let durability = self.lock().durability;
        match durability {
            Durability::Machine => self.record_elsewhere(uid, entry).await,
            // One write to blocks in the page cache is shorter than the way to another thread.
            Durability::Process => self.lock().record(uid, entry),
        }
    }

    async fn record_elsewhere(&self, uid: &str, entry: Entry) -> io::Result<()> {
        let (journal, uid) = (self.clone(), uid.to_owned());
        let written = tokio::task::spawn_blocking(move || journal.lock().record(&uid, entry));
        written.await.map_err(io::Error::other)?
    }

    /// The attempt is over. This is not waited for: after a crash it is found unknown to the server.
    pub(crate) fn ended(&self, uid: &str) {
        self.lock().end(uid);
    }

    /// The attempt was not sent to the server after all: it may be given to this pod once more.
    pub(crate) fn void(&self, uid: &str) {
        self.lock().void(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn record(&mut self, uid: &str, entry: Entry) -> io::Result<()> {
        self.entries.begin(uid, entry);
        self.append(&line(uid, &entry, Word::Open))?;
        match self.durability {
            Durability::Machine => self.file.sync_data(),
            Durability::Process => Ok(()),
        }
    }

    fn end(&mut self, uid: &str) {
        if let Some(entry) = self.entries.end(uid) {
            self.note(uid, &entry, Word::Ended);
        }
    }

    fn void(&mut self, uid: &str) {
        if let Some(entry) = self.entries.open.remove(uid) {
            self.note(uid, &entry, Word::Void);
        }
    }

    fn note(&mut self, uid: &str, entry: &Entry, word: Word) {
        if let Err(error) = self.append(&line(uid, entry, word)) {
            tracing::warn!(uid, %error, "the journal could not be written");
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.length + line.len() > FILE_BYTES {
            // The map holds the line already.
            (self.file, self.length) = rewrite(&self.path, &self.boot, &self.entries)?;
            return Ok(());
        }
        self.file.write_all_at(line.as_bytes(), self.length as u64)?;
        self.length += line.len();
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Open,
    Ended,
    Void,
}

fn line(uid: &str, entry: &Entry, word: Word) -> String {
    let state = match word {
        Word::Open => "open",
        Word::Ended => "ended",
        Word::Void => "void",
    };
    let boot =
        entry.received.boot.map_or(-1, |boot| i128::try_from(boot.as_micros()).unwrap_or(-1));
    format!("{uid} {} {} {boot} {state}\n", entry.attempt, entry.received.wall.as_microsecond())
}

impl Entries {
    fn new() -> Self {
        Self { open: BTreeMap::new(), ended: VecDeque::with_capacity(ENDED_RUNS) }
    }

    fn find(&self, uid: &str) -> Option<Entry> {
        let ended = || self.ended.iter().find(|ended| ended.uid() == uid.as_bytes());
        self.open.get(uid).copied().or_else(|| Some(ended()?.entry))
    }

    fn begin(&mut self, uid: &str, entry: Entry) {
        self.ended.retain(|ended| ended.uid() != uid.as_bytes());
        self.open.insert(uid.to_owned(), entry);
    }

    /// Ends an open one.
    fn end(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.open.remove(uid)?;
        if self.ended.len() == ENDED_RUNS {
            self.ended.pop_front();
        }
        self.ended.extend(Ended::new(uid, entry));
        Some(entry)
    }

    fn lines(&self) -> String {
        let ended = self
            .ended
            .iter()
            .map(|ended| line(&String::from_utf8_lossy(ended.uid()), &ended.entry, Word::Ended));
        ended.chain(self.open.iter().map(|(uid, entry)| line(uid, entry, Word::Open))).collect()
    }
}

impl Ended {
    fn new(uid: &str, entry: Entry) -> Option<Self> {
        let mut bytes = [0; UID_BYTES];
        bytes.get_mut(..uid.len())?.copy_from_slice(uid.as_bytes());
        Some(Self { uid: bytes, entry })
    }

    fn uid(&self) -> &[u8] {
        let end = self.uid.iter().position(|byte| *byte == 0).unwrap_or(UID_BYTES);
        &self.uid[..end]
    }
}

/// What was received before the machine was booted as `boot` has no time of its CLOCK_BOOTTIME.
fn parse(content: &[u8], boot: &str) -> Entries {
    let end = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&content[..end]);
    let same_boot = text.lines().next().and_then(|line| line.strip_prefix("boot ")) == Some(boot);
    let entry = |line: &str| {
        let mut words = line.split(' ');
        let uid = words.next()?.to_owned();
        let attempt = words.next()?.parse().ok()?;
        let wall = Timestamp::from_microsecond(words.next()?.parse().ok()?).ok()?;
        let since = words.next()?.parse().ok().map(Duration::from_micros).filter(|_| same_boot);
        let received = Received { wall, boot: since };
        let word = match words.next()? {
            "open" => Word::Open,
            "void" => Word::Void,
            _ => Word::Ended,
        };
        Some((uid, Entry { attempt, received }, word))
    };
    let mut entries = Entries::new();
    for (uid, entry, word) in text.lines().filter_map(entry) {
        entries.begin(&uid, entry);
        match word {
            Word::Open => {}
            Word::Ended => drop(entries.end(&uid)),
            Word::Void => drop(entries.open.remove(&uid)),
        }
    }
    entries
}

/// Writes a new file beside the old one and puts it in its place.
fn rewrite(path: &Path, boot: &str, entries: &Entries) -> io::Result<(File, usize)> {
    let mut content = format!("boot {boot}\n{}", entries.lines());
    let length = content.len();
    if length > FILE_BYTES / 2 {
        return Err(io::Error::other("the journal is full of Runs that have not ended"));
    }
    content.push_str(&"\0".repeat(FILE_BYTES - length));
    let made = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&made)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&made, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attempt: i32) -> Entry {
        let wall = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        Entry { attempt, received: Received { wall, boot: Some(Duration::from_micros(77)) } }
    }

    #[tokio::test]
    async fn an_entry_is_there_after_a_restart() {
        for durability in [Durability::Machine, Durability::Process] {
            is_there_after_a_restart(durability).await;
        }
    }

    async fn is_there_after_a_restart(durability: Durability) {
        let directory = crate::testing::directory(&format!("journal-restart-{durability:?}"));
        let journal = Journal::open(&directory, durability, "b1").unwrap();
        assert!(journal.is_new());
        journal.record("a", entry(1)).await.unwrap();
        journal.record("b", entry(3)).await.unwrap();
        journal.record("a", entry(2)).await.unwrap();
        let again = Journal::open(&directory, durability, "b1").unwrap();
        assert!(!again.is_new());
        assert_eq!(again.find("a"), Some(entry(2)));
        assert_eq!(again.find("b"), Some(entry(3)));
        assert_eq!(again.find("c"), None);
    }

    #[tokio::test]
    async fn another_boot_makes_the_boot_clock_say_nothing() {
        let directory = crate::testing::directory("journal-boot");
        let journal = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        journal.record("a", entry(1)).await.unwrap();
        for _ in 0..2 {
            let again = Journal::open(&directory, Durability::Machine, "b2").unwrap();
            let Entry { received, .. } = entry(1);
            let want = Entry { attempt: 1, received: Received { boot: None, ..received } };
            assert_eq!(again.find("a"), Some(want));
        }
    }

    #[tokio::test]
    async fn what_was_not_sent_leaves_no_trace() {
        let directory = crate::testing::directory("journal-void");
        let journal = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        journal.record("a", entry(1)).await.unwrap();
        journal.void("a");
        assert_eq!(journal.find("a"), None);
        let again = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        assert_eq!((again.find("a"), again.open_uids()), (None, vec![]));
    }

    #[tokio::test]
    async fn a_torn_line_counts_for_nothing() {
        let directory = crate::testing::directory("journal-torn");
        let journal = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        journal.record("a", entry(1)).await.unwrap();
        let length = journal.lock().length as u64;
        journal.lock().file.write_all_at(b"b 1 17000", length).unwrap();
        let again = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        assert_eq!(again.open_uids(), ["a"]);
    }

    #[tokio::test]
    async fn a_full_file_drops_what_has_ended_and_nothing_else() {
        let directory = crate::testing::directory("journal-full");
        let journal = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        journal.record("kept", entry(7)).await.unwrap();
        let long = "u".repeat(UID_BYTES - 4);
        for index in 0..1600 {
            let uid = format!("{long}{index}");
            journal.lock().record(&uid, entry(1)).unwrap();
            journal.ended(&uid);
        }
        journal.record("last", entry(9)).await.unwrap();
        let again = Journal::open(&directory, Durability::Machine, "b1").unwrap();
        assert_eq!(again.find("kept"), Some(entry(7)));
        assert_eq!(again.find("last"), Some(entry(9)));
        assert_eq!(again.find(&format!("{long}1599")), Some(entry(1)), "ended just before");
        assert_eq!(again.find(&format!("{long}0")), None);
        assert_eq!(again.open_uids(), ["kept", "last"]);
        assert_eq!(fs::metadata(directory.join("journal")).unwrap().len(), FILE_BYTES as u64);
    }
}

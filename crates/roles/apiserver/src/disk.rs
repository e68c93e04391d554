//! The durable store: one redb file, one durable commit a batch.
//!
//! Without room on the disk a commit fails and the database is closed; before the next one it is opened again, and so all
//! goes on as soon as there is room. Only then it shows whether the disk holds the failed commit: wholly or not at all.
//! Any other failure, of fsync above all, is final.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use kruntimes_objects::state::Change;
use kruntimes_objects::stored::Key;
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, TableDefinition,
};

use crate::fault::{Fault, Noted, Watched};

const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const VERSION: &str = "resourceVersion";
const FORMAT: &str = "format";
/// The format of the data below; a store with another one is refused.
const FORMAT_NUMBER: u64 = 1;
const FILE: &str = "objects.redb";
/// Objects are in memory; redb needs little of its own.
const CACHE_BYTES: usize = 1024 * 1024;

/// Opens the file below the store; tests put one with faults there.
pub(crate) type Opener = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send>;

/// The store.
pub(crate) struct Disk {
    directory: PathBuf,
    opener: Opener,
    /// `None` after a commit found no room.
    open: Option<Open>,
    /// The version of the newest durable change.
    version: u64,
    /// The commit that found no room: what of it is on the disk is not known before the next opening.
    unsettled: Vec<Change>,
}

struct Open {
    database: Database,
    fault: Noted,
}

/// Why a commit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommitError {
    /// There is no room; nothing changed.
    #[error("the disk of {} is full ({why})", directory.display())]
    Full { directory: PathBuf, why: String },
    /// What the disk holds is unknown.
    #[error("{0}")]
    Broken(String),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The directory cannot be made, read or written.
    #[error("cannot use the data directory {}: {source}", path.display())]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data directory {} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The file is not a store, or damaged.
    #[error("the store {} is corrupt: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What a store holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) objects: Vec<(Arc<Key>, Arc<[u8]>)>,
    pub(crate) version: u64,
}

impl Disk {
    /// Opens or makes the store in `directory` and reads it.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Contents), DiskError> {
        let fail = |source| DiskError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(fail)?;
        std::fs::read_dir(directory).map_err(fail)?;
        let file = directory.join(FILE);
        let opener = move || -> io::Result<Box<dyn StorageBackend>> {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(&file)?;
            Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
        };
        Self::open_on(directory, Box::new(opener))
    }

    /// `open` on any backend; `directory` is for messages.
    pub(crate) fn open_on(directory: &Path, opener: Opener) -> Result<(Self, Contents), DiskError> {
        let file = directory.join(FILE);
        let corrupt = |why: String| DiskError::Corrupt { path: file.clone(), why };
        let open = open(&opener).map_err(|(error, _)| classify(error, directory, &file))?;
        let contents = read(&open.database).map_err(|e| corrupt(e.to_string()))?;
        let contents = contents.map_err(corrupt)?;
        let version = contents.version;
        Ok((
            Self {
                directory: directory.to_owned(),
                opener,
                open: Some(open),
                version,
                unsettled: Vec::new(),
            },
            contents,
        ))
    }

    /// Opens the store again if the last commit found no room; returns that commit if the disk holds it after all.
    pub(crate) fn settle(&mut self) -> Result<Vec<Change>, CommitError> {
        if self.open.is_some() {
            return Ok(Vec::new());
        }
        let open = open(&self.opener).map_err(|(error, fault)| self.failure(&fault, &error))?;
        let found =
            stored_version(&open.database).map_err(|error| self.failure(&open.fault, &error))?;
        let unsettled = std::mem::take(&mut self.unsettled);
        let durable = if found == self.version {
            Vec::new()
        } else if unsettled.last().is_some_and(|last| last.version == found) {
            unsettled
        } else {
            return Err(CommitError::Broken(format!(
                "after a write without room the store stands at {found} instead of {}",
                self.version
            )));
        };
        self.version = found;
        self.open = Some(open);
        Ok(durable)
    }

    /// Writes the changes, durably, all or none; the store is settled.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), CommitError> {
        let Some(open) = self.open.take() else {
            return Err(CommitError::Broken("the store is not open".to_owned()));
        };
        match write(&open.database, changes) {
            Ok(()) => {
                self.open = Some(open);
                self.version = changes.last().map_or(self.version, |last| last.version);
                Ok(())
            }
            Err(error) => {
                self.unsettled = changes.to_vec();
                Err(self.failure(&open.fault, &error))
            }
        }
    }

    fn failure(&self, fault: &Noted, error: &dyn std::error::Error) -> CommitError {
        match fault.first() {
            Some(Fault::Full(why)) => CommitError::Full { directory: self.directory.clone(), why },
            Some(Fault::Broken(why)) => CommitError::Broken(why),
            None => CommitError::Broken(error.to_string()),
        }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn open(opener: &Opener) -> Result<Open, (DatabaseError, Noted)> {
    let fault = Noted::default();
    let storage = |error: io::Error| DatabaseError::Storage(StorageError::Io(error));
    let inner = opener().map_err(|error| (storage(error), fault.clone()))?;
    let backend = Watched::new(inner, fault.clone());
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend);
    match opened {
        Ok(database) => Ok(Open { database, fault }),
        Err(error) => Err((error, fault)),
    }
}

fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut numbers = transaction.open_table(NUMBERS)?;
        for change in changes {
            match (&change.new, &change.old) {
                (Some(new), _) => {
                    objects.insert(new.key.encode().as_slice(), &*new.json)?;
                }
                (None, Some(old)) => {
                    objects.remove(old.key.encode().as_slice())?;
                }
                (None, None) => {}
            }
        }
        if let Some(last) = changes.last() {
            numbers.insert(VERSION, last.version)?;
        }
        numbers.insert(FORMAT, FORMAT_NUMBER)?;
    }
    transaction.commit()?;
    Ok(())
}

fn stored_version(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(NUMBERS) {
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
        numbers => Ok(numbers?.get(VERSION)?.map_or(0, |n| n.value())),
    }
}

fn classify(error: DatabaseError, directory: &Path, file: &Path) -> DiskError {
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        return DiskError::Locked { path: directory.to_owned() };
    }
    let damaged = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
    if let DatabaseError::Storage(StorageError::Io(source)) = error
        && !damaged.contains(&source.kind())
    {
        return DiskError::Directory { path: file.to_owned(), source };
    }
    DiskError::Corrupt { path: file.to_owned(), why: "it is no store, or damaged".to_owned() }
}

type Read = Result<Contents, String>;

fn read(database: &Database) -> Result<Read, redb::Error> {
    let transaction = database.begin_read()?;
    let numbers = match transaction.open_table(NUMBERS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Ok(Contents::default())),
        other => other?,
    };
    let format = numbers.get(FORMAT)?.map(|n| n.value());
    if format != Some(FORMAT_NUMBER) {
        return Ok(Err(format!("its format is {format:?}, this program reads {FORMAT_NUMBER}")));
    }
    let version = numbers.get(VERSION)?.map_or(0, |n| n.value());
    let mut objects = Vec::new();
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (key, json) = row?;
        let Some(key) = Key::decode(key.value()) else {
            return Ok(Err("a key is malformed".to_owned()));
        };
        objects.push((Arc::new(key), json.value().into()));
    }
    Ok(Ok(Contents { objects, version }))
}

//! The durable store: one redb file, one durable commit a batch.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kruntimes_objects::state::Change;
use kruntimes_objects::stored::Key;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};

const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
const VERSION: &str = "resourceVersion";
const FORMAT: &str = "format";
/// The format of the data below; a store with another one is refused.
const FORMAT_NUMBER: u64 = 1;
const FILE: &str = "objects.redb";
/// Objects are in memory; redb needs little of its own.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The open store.
#[derive(Debug)]
pub(crate) struct Disk {
    database: Database,
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
        let corrupt = |why: String| DiskError::Corrupt { path: file.clone(), why };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&file)
            .map_err(|error| classify(error, directory, &file))?;
        let contents = read(&database).map_err(|e| corrupt(e.to_string()))?;
        Ok((Self { database }, contents.map_err(corrupt)?))
    }

    /// Writes the changes, durably, all or none.
    pub(crate) fn commit(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
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

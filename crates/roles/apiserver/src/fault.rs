//! What went wrong below the database, which itself tells only that something did.
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

/// Why an operation on the file failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room for more.
    Full(String),
    /// Anything else.
    Broken(String),
}

/// The fault of one opened file: the first, unless a worse one came after it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted(Arc<Mutex<Option<Fault>>>);

impl Noted {
    pub(crate) fn first(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, fault: Fault) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*noted, Some(Fault::Broken(_))) && (noted.is_none() || is_broken(&fault)) {
            *noted = Some(fault);
        }
    }
}

fn is_broken(fault: &Fault) -> bool {
    matches!(fault, Fault::Broken(_))
}

/// A backend whose faults are noted.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Box<dyn StorageBackend>,
    fault: Noted,
}

impl Watched {
    pub(crate) fn new(inner: Box<dyn StorageBackend>, fault: Noted) -> Self {
        Self { inner, fault }
    }

    /// For operations that need room: a disk that is full is no broken one.
    fn growing<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
            let why = error.to_string();
            let full = full.contains(&error.kind());
            self.fault.note(if full { Fault::Full(why) } else { Fault::Broken(why) });
        }
        result
    }

    fn other<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.fault.note(Fault::Broken(format!("{what} failed: {error}")));
        }
        result
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.other("reading the length", self.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.other("reading", self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.growing(self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.other("fsync", self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.growing(self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

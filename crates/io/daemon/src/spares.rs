//! Directories that are made once and used again: one that nobody has touched is as good as a new one.
//!
//! ext4 passes over every inode that was deleted within the last minutes when it looks for a free one, so a directory made and
//! removed for each Run costs more the more Runs there are. Invariant: what is taken is empty and as newly made: whoever
//! had it before has left nothing in it, nor in its mode, owner, attributes or extended attributes.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, RenameFlags, StatxAttributes, StatxFlags, flistxattr,
    ioctl_getflags, mkdirat, openat, renameat_with, statx, unlinkat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many wait at most.
const MOST: usize = 64;
const PREFIX: &str = ".spare-";
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a directory is made with.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Permission bits.
    pub mode: u32,
    /// Name and permission bits of each directory in it.
    pub inner: &'static [(&'static str, u32)],
}

/// The directories of one place.
#[derive(Debug)]
pub struct Spares {
    root: PathBuf,
    layout: Layout,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Spare>,
    next: u64,
    /// What is in use and was not touched when it was handed out.
    sealed: HashMap<String, Vec<Print>>,
}

/// One that waits, as it was when it was put aside.
#[derive(Debug)]
struct Spare {
    name: String,
    prints: Vec<Print>,
}

/// What any change of a directory changes.
#[derive(Debug, PartialEq, Eq)]
struct Print {
    inode: (u32, u32, u64),
    mode: u16,
    owner: (u32, u32),
    links: u32,
    attributes: StatxAttributes,
    /// As `chattr` sets them; 0 where the file system has none.
    flags: u32,
    /// A change of an entry, of the mode, of an attribute: each moves it, to the tick of the kernel's clock.
    changed: (i64, u32),
    /// Bytes of the names of its extended attributes.
    extended: usize,
}

impl Spares {
    /// Directories below `root` of this layout. What an earlier life kept ready is removed.
    #[must_use]
    pub fn new(root: &Path, layout: Layout) -> Self {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let old = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
        let spares = Self { root: root.to_owned(), layout, state: Mutex::default() };
        old.for_each(|entry| spares.discard(&entry.file_name().to_string_lossy()));
        spares
    }

    /// A directory of this name, which must not be there yet.
    ///
    /// # Errors
    /// What the kernel says of the step that failed.
    pub fn take(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let root = self.open_root()?;
        let spare = self.lock().free.pop();
        if let Some(spare) = spare {
            if let Ok(own) = self.reuse(&root, &spare, name) {
                return Ok(own);
            }
            self.discard(&spare.name);
        }
        mkdirat(&root, name, Mode::from_raw_mode(self.layout.mode))?;
        let own = openat(&root, name, DIRECTORY, Mode::empty())?;
        for (inner, mode) in self.layout.inner {
            mkdirat(&own, *inner, Mode::from_raw_mode(*mode))?;
        }
        Ok(own)
    }

    fn reuse(&self, root: &OwnedFd, spare: &Spare, name: &str) -> rustix::io::Result<OwnedFd> {
        let own = openat(root, &spare.name, DIRECTORY, Mode::empty())?;
        if self.prints(&own)? != spare.prints {
            return Err(Errno::STALE);
        }
        renameat_with(root, &spare.name, root, name, RenameFlags::NOREPLACE)?;
        Ok(own)
    }

    fn discard(&self, spare: &str) {
        let path = self.root.join(spare);
        if let Err(error) = crate::remove_tree(&path) {
            tracing::warn!(path = %path.display(), %error, "a spare directory stays");
        }
    }

    /// From here on somebody else uses it: a change that is seen at the end was theirs.
    pub fn seal(&self, name: &str, own: &OwnedFd) {
        // Without it the directory is removed as any other.
        if let Ok(prints) = self.prints(own) {
            self.lock().sealed.insert(name.to_owned(), prints);
        }
    }

    /// Nobody will give it back: it is removed.
    pub fn forget(&self, name: &str) {
        self.lock().sealed.remove(name);
    }

    /// Keeps a directory for the next one that asks, when it was left untouched. `file` is what stood in one of its
    /// directories when it was sealed. False: it is still there, and to be removed.
    pub fn give_back(&self, name: &str, file: Option<(&str, &str)>) -> bool {
        let Some(prints) = self.lock().sealed.remove(name) else { return false };
        self.keep(name, file, &prints).unwrap_or(false)
    }

    fn keep(
        &self,
        name: &str,
        file: Option<(&str, &str)>,
        prints: &[Print],
    ) -> rustix::io::Result<bool> {
        let root = self.open_root()?;
        let own = openat(&root, name, DIRECTORY, Mode::empty())?;
        if self.prints(&own)? != prints {
            return Ok(false);
        }
        if let Some((inner, file)) = file {
            // What is deeper stands in directories of which there is no print: they may be links by now.
            if file.contains('/') {
                return Ok(false);
            }
            let inner = openat(&own, inner, DIRECTORY, Mode::empty())?;
            unlinkat(&inner, file, AtFlags::empty())?;
        }
        // Within one tick a change leaves no trace in the time.
        for (inner, _) in self.layout.inner {
            let inner = openat(&own, *inner, DIRECTORY, Mode::empty())?;
            if entries(&inner)? != 0 {
                return Ok(false);
            }
        }
        if entries(&own)? != self.layout.inner.len() {
            return Ok(false);
        }
        let Some(spare) = self.next_name() else { return Ok(false) };
        renameat_with(&root, name, &root, &spare, RenameFlags::NOREPLACE)?;
        match self.prints(&own) {
            Ok(prints) => self.lock().free.push(Spare { name: spare, prints }),
            Err(_) => self.discard(&spare),
        }
        Ok(true)
    }

    fn next_name(&self) -> Option<String> {
        let mut state = self.lock();
        state.next += 1;
        (state.free.len() < MOST).then(|| format!("{PREFIX}{}", state.next))
    }

    fn prints(&self, own: &OwnedFd) -> rustix::io::Result<Vec<Print>> {
        let mut prints = vec![Print::of(own)?];
        for (inner, _) in self.layout.inner {
            prints.push(Print::of(&openat(own, *inner, DIRECTORY, Mode::empty())?)?);
        }
        Ok(prints)
    }

    fn open_root(&self) -> rustix::io::Result<OwnedFd> {
        openat(CWD, &self.root, DIRECTORY & !OFlags::NOFOLLOW, Mode::empty())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Print {
    fn of(directory: &OwnedFd) -> rustix::io::Result<Self> {
        let seen = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let extended = match flistxattr(directory, &mut [] as &mut [u8]) {
            Err(Errno::OPNOTSUPP) => 0,
            length => length?,
        };
        let flags = match ioctl_getflags(directory) {
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => 0,
            flags => flags?.bits(),
        };
        Ok(Self {
            flags,
            inode: (seen.stx_dev_major, seen.stx_dev_minor, seen.stx_ino),
            mode: seen.stx_mode,
            owner: (seen.stx_uid, seen.stx_gid),
            links: seen.stx_nlink,
            attributes: seen.stx_attributes,
            changed: (seen.stx_ctime.tv_sec, seen.stx_ctime.tv_nsec),
            extended,
        })
    }
}

/// How many entries it has; beyond a few the number does not matter.
fn entries(directory: impl AsFd) -> rustix::io::Result<usize> {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut listing = RawDir::new(directory, &mut buffer);
    let mut count = 0;
    while let Some(entry) = listing.next() {
        count += usize::from(!matches!(entry?.file_name().to_bytes(), b"." | b".."));
        if count > 8 {
            break;
        }
    }
    Ok(count)
}

#[cfg(test)]
#[path = "spares_tests.rs"]
mod tests;

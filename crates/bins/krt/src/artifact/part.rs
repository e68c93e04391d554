//! An artifact on its way: a hidden file beside its place, named for the content that it will have. What a cut or Ctrl-C leaves of it
//! the same command goes on with; nobody takes it for the whole, which has another name.

use crate::failure::{Failure, without_number};
use kruntimes_api::ArtifactRef;
use kruntimes_rules::artifact::Hash;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Hexadecimal digits of the digest in its name.
const DIGITS: usize = 16;
/// As any file that its user makes.
const MODE: u32 = 0o666;
/// Another one may take its place or remove it between two looks.
const TRIES: usize = 5;

/// What came so far.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    hash: Hash,
    length: u64,
    /// It stays for the same command.
    stays: bool,
}

impl Part {
    /// The one of this artifact beside `target`, with what an earlier command has left in it.
    pub(super) fn open(target: &Path, artifact: &ArtifactRef) -> Result<Self, Failure> {
        let path = path(target, artifact);
        let unwritable = |error: &io::Error| unwritable(target, error);
        for _ in 0..TRIES {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(MODE);
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
            let file = options.open(&path).map_err(|error| unwritable(&error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::new(format!(
                        "{} is downloaded to {} by another krt",
                        artifact.name,
                        target.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(unwritable(&error)),
            }
            let own = file.metadata().map_err(|error| unwritable(&error))?;
            let is_there = fs::symlink_metadata(&path).is_ok_and(|there| there.ino() == own.ino());
            if is_there && own.is_file() {
                let mut part = Self { file, path, hash: Hash::new(), length: 0, stays: false };
                part.take_up(artifact).map_err(|error| unwritable(&error))?;
                return Ok(part);
            }
        }
        Err(Failure::new(format!("can't write {}: somebody else does", path.display())))
    }

    /// Reads what is there. What can't be the beginning of the artifact goes.
    fn take_up(&mut self, artifact: &ArtifactRef) -> io::Result<()> {
        let size = u64::try_from(artifact.size_bytes).unwrap_or_default();
        if self.file.metadata()?.len() > size {
            return self.restart();
        }
        let mut chunk = vec![0; 1 << 20];
        loop {
            match self.file.read(&mut chunk)? {
                0 => return Ok(()),
                length => {
                    self.hash.update(&chunk[..length]);
                    self.length += length as u64;
                }
            }
        }
    }

    /// How much came.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// More came.
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        self.hash.update(data);
        self.length += data.len() as u64;
        Ok(())
    }

    /// Nothing of it is any good.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.hash, self.length) = (Hash::new(), 0);
        Ok(())
    }

    /// Whether it has this digest.
    pub(super) fn has(&self, digest: Option<&str>) -> bool {
        digest == Some(self.hash.clone().finish().as_str())
    }

    /// The same command will go on with it.
    pub(super) fn keep(&mut self) {
        self.stays = self.length > 0;
    }

    /// All of it, from the beginning.
    pub(super) fn content(&mut self) -> io::Result<File> {
        self.file.rewind()?;
        self.file.try_clone()
    }

    /// It takes its place.
    pub(super) fn persist(mut self, target: &Path) -> Result<(), Failure> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.path, target));
        done.map_err(|error| unwritable(target, &error))?;
        // What has its path now is not this any more.
        self.stays = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.stays {
            // It is removed before it is unlocked: who waits for it looks whether it is there.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn path(target: &Path, artifact: &ArtifactRef) -> PathBuf {
    let digest = artifact.digest.as_deref().unwrap_or_default();
    let digits: String = digest.chars().filter(char::is_ascii_alphanumeric).collect();
    let digits = digits.strip_prefix("sha256").unwrap_or(&digits);
    let digits: String = digits.chars().take(DIGITS).collect();
    parent(target).join(format!("{}{digits}", prefix(target)))
}

/// What the names of unfinished files begin with.
pub(super) fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!(".{}.part-", name.chars().take(60).collect::<String>())
}

/// Where it is.
pub(super) fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// For people.
pub(super) fn unwritable(target: &Path, error: &io::Error) -> Failure {
    let why = without_number(&error.to_string());
    Failure::new(format!("can't write {}: {why}", target.display()))
}

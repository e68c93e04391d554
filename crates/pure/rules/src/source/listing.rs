//! The listing of a commit (`git ls-tree -r -l -z`), read piece by piece: refused before a file is written.
//!
//! A few kilobytes of history may stand for terabytes of files, and for listings that never end.

use kruntimes_api::limits;
use thiserror::Error;

/// One entry: mode, kind, hash, size and path. A path is shorter than this wherever it can be written.
const ENTRY_BYTES: usize = 8192;

/// Why a listing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ListingError {
    /// Above the limit of bytes, which the caller knows.
    #[error("larger than its limit")]
    Bytes,
    /// Too many files.
    #[error("more than {} files", limits::SOURCE_FILES)]
    Files,
    /// A file too far down.
    #[error("a file below more than {} directories", limits::SOURCE_DEPTH)]
    Depth,
    /// Nothing that git writes.
    #[error("a listing that can't be read")]
    Malformed,
}

/// What a listing amounts to so far.
#[derive(Debug)]
pub struct Listing {
    bytes_left: u64,
    files: u64,
    entry: Vec<u8>,
}

impl Listing {
    /// Files of at most `bytes_left` bytes in all.
    #[must_use]
    pub fn new(bytes_left: u64) -> Self {
        Self { bytes_left, files: 0, entry: Vec::new() }
    }

    /// Takes the next piece, cut anywhere.
    ///
    /// # Errors
    /// As soon as a limit is passed.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), ListingError> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            self.extend(&rest[..end])?;
            let entry = std::mem::take(&mut self.entry);
            self.add(&entry)?;
            rest = &rest[end + 1..];
        }
        self.extend(rest)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), ListingError> {
        self.entry.extend_from_slice(part);
        if self.entry.len() > ENTRY_BYTES { Err(ListingError::Malformed) } else { Ok(()) }
    }

    fn add(&mut self, entry: &[u8]) -> Result<(), ListingError> {
        let tab = entry.iter().position(|byte| *byte == b'\t').ok_or(ListingError::Malformed)?;
        let (head, path) = (&entry[..tab], &entry[tab + 1..]);
        let head = std::str::from_utf8(head).map_err(|_| ListingError::Malformed)?;
        let size = match head.split_ascii_whitespace().nth(3) {
            // A submodule: an empty directory here.
            Some("-") => 0,
            Some(size) => size.parse().map_err(|_| ListingError::Malformed)?,
            None => return Err(ListingError::Malformed),
        };
        self.files += 1;
        if self.files > limits::SOURCE_FILES {
            return Err(ListingError::Files);
        }
        if path.iter().filter(|byte| **byte == b'/').count() > limits::SOURCE_DEPTH {
            return Err(ListingError::Depth);
        }
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or(ListingError::Bytes)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: &str, path: &str) -> Vec<u8> {
        format!("100644 blob 8b137891791fe96927ad78e64b0aad7bded08bdc {size:>7}\t{path}\0").into()
    }

    fn read(limit: u64, text: &[u8]) -> Result<(), ListingError> {
        // Whole, and byte by byte: a pipe cuts anywhere.
        let whole = Listing::new(limit).read(text);
        let mut listing = Listing::new(limit);
        let pieces = text.chunks(1).try_for_each(|piece| listing.read(piece));
        assert_eq!(whole, pieces);
        whole
    }

    #[test]
    fn files_add_up_to_the_limit_and_not_beyond() {
        let two = [entry("40", "a"), entry("60", "b c/ü\td\n")].concat();
        assert_eq!(read(100, &two), Ok(()));
        assert_eq!(read(99, &two), Err(ListingError::Bytes));
        let huge = entry("18446744073709551615", "a");
        assert_eq!(read(100, &huge), Err(ListingError::Bytes));
        let submodule = b"160000 commit 8b137891791fe96927ad78e64b0aad7bded08bdc       -\tsub\0";
        assert_eq!(read(0, submodule), Ok(()));
    }

    #[test]
    fn files_are_counted_and_depth_is_bounded() {
        let mut listing = Listing::new(0);
        let empty = entry("0", "a");
        for _ in 0..limits::SOURCE_FILES {
            listing.read(&empty).unwrap();
        }
        assert_eq!(listing.read(&empty), Err(ListingError::Files));
        let below = |directories: usize| entry("0", &format!("{}f", "d/".repeat(directories)));
        assert_eq!(read(0, &below(limits::SOURCE_DEPTH)), Ok(()));
        assert_eq!(read(0, &below(limits::SOURCE_DEPTH + 1)), Err(ListingError::Depth));
    }

    #[test]
    fn what_git_never_writes_is_refused_without_being_kept() {
        for text in ["\0", "100644 blob x\0", "100644 blob x y\tz\0", "100644 blob x -1\tz\0"] {
            assert_eq!(read(9, text.as_bytes()), Err(ListingError::Malformed), "{text:?}");
        }
        let mut listing = Listing::new(9);
        listing.read(&vec![b'x'; ENTRY_BYTES]).unwrap();
        assert_eq!(listing.read(b"x"), Err(ListingError::Malformed));
    }
}
